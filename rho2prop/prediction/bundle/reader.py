"""Reading model bundles and predicting with them. Nothing in a bundle can run code."""

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rho2prop.core.errors import InputError, escaped
from rho2prop.core.packages import how_to_install, is_installed, require
from rho2prop.core.targets import SPREAD, TARGETS, spread_of
from rho2prop.crystals.elasticity import derive_from_kg
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.densities.density import Density
from rho2prop.densities.grids import Grid
from rho2prop.evaluation.intervals import Calibration
from rho2prop.features.description import describe
from rho2prop.features.design_matrix import BlockData, Latents, load_design
from rho2prop.features.registry import BLOCKS, COHESIVE_ENERGY, reads_latents
from rho2prop.materials.splits import FINAL_FOLD, FINAL_SPLIT
from rho2prop.models.estimator import load
from rho2prop.models.registry import FROM_KG, MODELS
from rho2prop.prediction.applicability import Applicability, TrainingSpace
from rho2prop.prediction.bundle.checks import DECODER, ENCODER, INTERVALS, REFERENCE, TRAINING_SPACE, read_manifest
from rho2prop.prediction.bundle.parts import (
    check_regressor,
    check_weights,
    read_arrays,
    read_calibrations,
    read_training_space,
    readable,
)
from rho2prop.prediction.bundle.reference import check_reference, only_what_is_made, reference_arrays
from rho2prop.prediction.result import COLUMNS, Prediction

if TYPE_CHECKING:
    from rho2prop.autoencoder.decoding import Decoder
    from rho2prop.autoencoder.latent_record import LatentRecord
    from rho2prop.autoencoder.network import Autoencoder

_CALCULATING = threading.Lock()  # GPAW is not made for several threads
_CHECKING = threading.Lock()  # the reference once, whatever number of threads predict


@dataclass(frozen=True)
class Bundle:
    """A checked folder of trained models; each part is read when first needed.

    Parameters
    ----------
    folder
        Where it lies.
    manifest
        Content of ``manifest.json``: see docs/formats.md.
    """

    folder: Path
    manifest: dict

    @property
    def kind(self) -> str:
        """Kind of density that the models were trained on."""
        return self.manifest["density"]["kind"]

    @property
    def engine(self) -> str:
        """Program and version that computed the training densities."""
        return self.manifest["density"]["engine"]

    @property
    def grid(self) -> Grid:
        """Grid that the autoencoder reads."""
        return Grid(**self.manifest["grid"])

    @property
    def coverage(self) -> float:
        """Stated coverage of the intervals."""
        return self.manifest["intervals"]["coverage"]

    def predict(
        self, density: Density, name: str, allow_other_engine: bool = False, coverage: float | None = None
    ) -> Prediction:
        """Predict all properties of one material with all models of the bundle.

        Parameters
        ----------
        density
            Checked density of the bundle's kind and engine.
        name
            Of the material, for the table and for messages.
        allow_other_engine
            Turn the error on another engine into a warning.
        coverage
            Of the intervals; the bundle's own unless given.

        Raises
        ------
        InputError
            If the density is of another kind or engine than the training densities.
        """
        name = escaped(name)  # a path may hold control characters
        warnings = self.check_density(density, name, allow_other_engine)
        with _CHECKING:
            self._checked_reference  # noqa: B018
        coverage = self.coverage if coverage is None else coverage
        material = _material_row(name, density)
        density = self._with_atoms(density, warnings)
        usable = [one for one in self._regressors if density.has_promolecule or not one.needs_promolecule]
        if not usable:
            problem = f"has no promolecule, which all models of the bundle {self.folder.name} read"
            raise InputError(name, problem, "Give a density that is stored with it (.npz, key promolecule)")
        warnings += [
            f"{one['model']} ({one['features']}) is skipped: it needs PyTorch, {how_to_install('train')}"
            for one in self._listed(usable=False)
        ]
        warnings += [
            f"{one.model} ({one.features}) is skipped: it reads the promolecule, which the file does not have"
            for one in self._regressors
            if one not in usable
        ]
        blocks = self._blocks(density, name, usable)
        warnings += _without_zero(blocks)
        table = self._table(blocks, material, usable, coverage)
        warnings += _nonsense(table)
        return Prediction(name, material["formula"][0], table, self._applicability(density, blocks, name), warnings)

    def evaluate(self, density: Density, name: str) -> tuple[BlockData, pd.DataFrame, Applicability]:
        """Features, predictions and applicability of a density with its promolecule, without checks."""
        blocks = self._blocks(density, name, self._regressors)
        table = self._table(blocks, _material_row(name, density), self._regressors, self.coverage)
        return blocks, table, self._applicability(density, blocks, name)

    def _table(
        self, blocks: BlockData, material: pd.DataFrame, regressors: list["_Regressor"], coverage: float
    ) -> pd.DataFrame:
        name, formula = material["material_id"][0], material["formula"][0]
        frames = []
        for regressor in regressors:
            predicted = regressor.predict(blocks, name)
            derived = derive_from_kg(predicted, material)
            frames.append(self._rows(predicted, regressor.model, regressor.features, coverage))
            frames.append(self._rows(derived, regressor.model + FROM_KG, regressor.features, coverage))
        return pd.concat(frames, ignore_index=True).assign(name=name, formula=formula)[COLUMNS]

    def load(self) -> None:
        """Read all parts now."""
        for part in ("_training_space", "_calibrations", "_regressors"):
            getattr(self, part)
        if is_installed("torch"):
            self.autoencoder  # noqa: B018
        with _CHECKING:
            self._checked_reference  # noqa: B018

    def check_density(self, density: Density, name: str, allow_other_engine: bool = False) -> list[str]:
        """Warnings about a density; InputError if the models cannot be used for it."""
        trained = f"the models of the bundle {self.folder.name} were trained on {self.kind} densities of {self.engine}"
        if density.kind != self.kind:
            problem = f"is a density of kind {density.kind!r}, {trained}"
            raise InputError(name, problem, f"Give a {self.kind} density or another bundle")
        found, wanted = (" ".join(engine.split()) for engine in (density.engine, self.engine))
        if _program(found) == _program(wanted):
            return [*density.remarks] if found == wanted else [*density.remarks, f"computed by {found}; {trained}"]
        if not allow_other_engine:
            problem = f"is a density of the engine {found!r}, {trained}"
            fix = f"Compute it with {_program(wanted)}, use a bundle trained on {_program(found)} densities, or"
            raise InputError(name, problem, f"{fix} allow it (--allow-other-engine), accepting wrong values")
        return [*density.remarks, f"computed by {found}, but {trained}: values and intervals may be wrong"]

    def encode(self, density: Density) -> np.ndarray:
        """Latent of a density, float32, shape (16, s, s, s)."""
        from rho2prop.autoencoder.encoding import encode

        return encode(self.autoencoder, density, self.grid)

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """Density that a latent decodes to, e/Å³, shape (size, size, size), float32."""
        import torch

        expected = tuple(self.manifest["autoencoder"]["latent_shape"])
        if latent.shape != expected:
            raise InputError("latent", f"has shape {latent.shape}, expected {expected}", "Encode it with this bundle")
        with torch.no_grad():
            return self.autoencoder.decoder(torch.from_numpy(latent.astype(np.float32))[None])[0, 0].numpy()

    def encode_record(self, density: Density, name: str) -> "LatentRecord":
        """Latent of a density with everything needed to decode it to its own cell."""
        from rho2prop.autoencoder.latent_record import make_record

        return make_record(name, density, self.encode(density), self.grid, self.decoder.sha256)

    @cached_property
    def decoder(self) -> "Decoder":
        """Decoder for ``rho2prop.autoencoder.decoding.decode_record``."""
        from rho2prop.autoencoder.decoding import make_decoder

        return make_decoder(self.autoencoder, self.grid)

    @cached_property
    def autoencoder(self) -> "Autoencoder":
        """The trained network in evaluation mode."""
        require("torch", "train", f"the autoencoder of the bundle {self.folder.name}")
        import torch
        from safetensors.torch import load_file

        from rho2prop.autoencoder.network import AutoencoderConfig, build_autoencoder

        with readable(self.folder / "autoencoder"):
            config = AutoencoderConfig(**self.manifest["autoencoder"]["network"])
            with torch.device("meta"):  # its shapes only: those of the files must be the same
                shapes = build_autoencoder(config)
            check_weights(self.folder / ENCODER, shapes.encoder)
            check_weights(self.folder / DECODER, shapes.decoder)
            model = build_autoencoder(config)
            model.encoder.load_state_dict(load_file(self.folder / ENCODER))
            model.decoder.load_state_dict(load_file(self.folder / DECODER))
        return model.eval()

    @cached_property
    def _regressors(self) -> list["_Regressor"]:
        if not self._listed(usable=True):
            require("torch", "train", f"every model of the bundle {self.folder.name}")
        latent_shape = self.manifest["autoencoder"]["latent_shape"]
        return [_Regressor(self.folder / one["folder"], one, latent_shape) for one in self._listed(usable=True)]

    def _listed(self, usable: bool) -> list[dict]:
        """Records of the models that the installed libraries can, or cannot, evaluate."""
        here = is_installed("torch")
        return [one for one in self.manifest["regressors"] if (here or not _needs_torch(one)) == usable]

    @cached_property
    def _checked_reference(self) -> None:
        """Compare features and predictions of two built-in crystals with the bundle's, once."""
        path = self.folder / REFERENCE
        versions = self.manifest["features"]["reference"]["versions"]
        wanted = read_arrays(path)
        with readable(self.folder):  # parts that do not belong together fail anywhere
            made = reference_arrays(self)
        if self._listed(usable=False):
            wanted = only_what_is_made(wanted, made)
        check_reference(wanted, made, versions, path)

    @cached_property
    def _calibrations(self) -> dict[tuple[str, str, str], Calibration]:
        return read_calibrations(self.folder / INTERVALS, self.manifest["intervals"]["calibrations"])

    @cached_property
    def _training_space(self) -> TrainingSpace:
        return read_training_space(self.folder / TRAINING_SPACE, self.manifest["training"])

    def _blocks(self, density: Density, name: str, regressors: list["_Regressor"]) -> BlockData:
        """Feature blocks that a regressor or the distance to the training set needs."""
        wanted = {block for one in regressors for block in one.blocks} | {"magpie", "fingerprint"}
        crystal = CrystalDescription(density, name)
        tables = describe(crystal, name, wanted)
        if not reads_latents(wanted):
            return BlockData(tables)
        from rho2prop.autoencoder.encoding import encode_averaged

        latent = encode_averaged(self.autoencoder, crystal, self.grid)
        return BlockData(tables, {"all": Latents(np.array([name]), latent[None])})

    def _with_atoms(self, density: Density, warnings: list[str]) -> Density:
        """The density with its promolecule, if a model reads it and the engine's atoms are available."""
        wanted = not density.has_promolecule and any(one.needs_promolecule for one in self._regressors)
        settings = self.manifest["config"]["dft"].get("gpaw")
        if not wanted or settings is None or _program(density.engine) != "gpaw":
            return density
        from rho2prop.dft.base import load_engine

        try:
            engine: Any = load_engine("gpaw")  # with more than every engine has
            with _CALCULATING:
                return engine.with_promolecule(density, settings["ecut_ev"], settings["xc"])
        except MemoryError:
            raise
        except Exception as error:  # no GPAW here, a dataset missing, another grid: models without atoms still predict
            warnings.append(f"its promolecule could not be computed: {' '.join(str(error).split())}")
            return density

    def _rows(self, predicted: pd.DataFrame, model: str, features: str, coverage: float) -> pd.DataFrame:
        rows = []
        for target in (name for name in predicted if not name.endswith(SPREAD)):
            if (model, features, target) not in self._calibrations:  # not offered: rho2prop.evaluation.final_models
                continue
            value = float(predicted[target].iloc[0])
            spread = predicted[spread_of(target)].to_numpy() if spread_of(target) in predicted else None
            lower, upper = self._calibrations[model, features, target].bounds(np.array([value]), coverage, spread)
            row = {"target": target, "symbol": TARGETS[target].symbol, "unit": TARGETS[target].unit, "model": model}
            row |= {"features": features, "value": value, "lower": float(lower[0]), "upper": float(upper[0])}
            rows.append(row | {"coverage": coverage})
        return pd.DataFrame(rows)

    def _applicability(self, density: Density, blocks: BlockData, name: str) -> Applicability:
        from pymatgen.core import Element

        features = pd.concat([blocks.tables[block].loc[name] for block in ("magpie", "fingerprint")])
        return self._training_space.judge(features, {Element.from_Z(int(z)).symbol for z in density.numbers})


class _Regressor:
    """A fitted model and its feature preparation in memory."""

    def __init__(self, folder: Path, listed: dict, latent_shape: list[int]):
        record = check_regressor(folder, listed, latent_shape)
        self.model, self.features, self.targets = record["model"], record["features"], record["targets"]
        self.blocks = record["blocks"]
        self.needs_promolecule = any(BLOCKS[block].needs_promolecule for block in self.blocks)
        with readable(folder):
            self._design, self._predictor = load_design(folder), load(folder, self.model, self.targets, True)

    def predict(self, blocks: BlockData, name: str) -> pd.DataFrame:
        matrix = self._design.apply(blocks, FINAL_SPLIT, FINAL_FOLD, [name])
        return pd.DataFrame(self._predictor(matrix), index=pd.Index([name], name="material_id"))


def _needs_torch(listed: dict) -> bool:
    spec = MODELS.get(listed["model"])
    return spec is not None and (spec.needs_gpu or reads_latents(listed["blocks"]))


def _material_row(name: str, density: Density) -> pd.DataFrame:
    from pymatgen.core import Composition, Element

    symbols, counts = np.unique([Element.from_Z(int(z)).symbol for z in density.numbers], return_counts=True)
    formula = Composition(dict(zip(symbols.tolist(), counts.tolist(), strict=True))).reduced_formula
    volume = density.volume_ang3 / len(density.numbers)
    return pd.DataFrame([{"material_id": name, "formula": formula, "volume_per_atom_ang3": volume}])


def _without_zero(blocks: BlockData) -> list[str]:
    """Warning if the cohesive energy of an element, the zero of atomization energies, is unknown."""
    if COHESIVE_ENERGY not in blocks.tables or blocks.tables[COHESIVE_ENERGY].notna().all(axis=None):
        return []
    problem = "the cohesive energy of one of its elements is unknown, and the mean of the training set is used"
    return [f"{problem}: do not trust its atomization energy"]


def _nonsense(table: pd.DataFrame) -> list[str]:
    rows = table[(table["value"] < 0) & table["target"].map(lambda target: TARGETS[target].is_positive)]
    return [
        f"{row.model} predicts a negative {TARGETS[row.target].name} ({row.value:.3g} {row.unit})"
        for row in rows.itertuples()
    ]


def _program(engine: str) -> str:
    return engine.split(" ")[0].lower()


def load_bundle(folder: Path | str) -> Bundle:
    """Open a model bundle.

    Parameters
    ----------
    folder
        A folder that ``rho2prop.prediction.bundle.writer.write_bundle`` wrote.

    Raises
    ------
    InputError
        If it is not a bundle, was written by a newer version, is incomplete, or a file differs from its checksum.
    """
    return Bundle(Path(folder), read_manifest(Path(folder)))
