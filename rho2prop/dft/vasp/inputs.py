"""Write VASP's inputs from a preset file; without a licence POTCAR.spec instead of POTCAR."""

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pymatgen.core import SETTINGS, Structure
from pymatgen.io.vasp import sets
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar, PotcarSingle
from tqdm import tqdm

from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import read_structure
from rho2prop.dft.failures import EngineError, SetupError, job_failure
from rho2prop.dft.vasp.settings import VaspSettings

PRESETS = Path(str(files("rho2prop.dft"))) / "presets"
KEYS = {"potcar_functional", "potcar_map", "magmom_table", "protocol_tags", "incar", "steps", "unpaired_electrons"}
STEPS = ("relax", "static", "atom")


@dataclass(frozen=True)
class Preset:
    """A protocol: the content of a preset file.

    Parameters
    ----------
    potcar_functional, potcar_map
        Set of POTCARs and pymatgen's table (name of its YAML file) from element to POTCAR.
    magmom_table
        pymatgen's input set whose starting moments are used.
    protocol_tags
        INCAR tags that define the result: a change is flagged.
    incar
        Tags of every step.
    steps
        Tags of each step of ``STEPS``.
    unpaired_electrons
        2S of the free neutral atom, by element.
    """

    potcar_functional: str
    potcar_map: str
    magmom_table: str
    protocol_tags: list[str]
    incar: dict
    steps: dict[str, dict]
    unpaired_electrons: dict[str, int]


@lru_cache
def load_preset(name: str) -> Preset:
    """Read a preset: a name of this package's folder ``presets`` or the path of a YAML file."""
    path = PRESETS / f"{name}.yaml" if not name.endswith((".yaml", ".yml")) else Path(name)
    if not path.is_file():
        fix = f"Set it to {', '.join(sorted(file.stem for file in PRESETS.glob('*.yaml')))} or the path of a .yaml file"
        raise SetupError("dft.vasp.preset", f"there is no preset {name!r}", fix)
    fix = "Start from a copy of latentmatfusion.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(path, f"cannot be read as YAML ({error})", fix) from error
    if not isinstance(content, dict) or set(content) != KEYS:
        found = sorted(content) if isinstance(content, dict) else content
        raise SetupError(path, f"has the keys {found}, expected {sorted(KEYS)}", fix)
    if set(content["steps"]) != set(STEPS):
        raise SetupError(path, f"has the steps {sorted(content['steps'])}, expected {sorted(STEPS)}", fix)
    for step, tags in {"incar": content["incar"], **content["steps"]}.items():
        texts = [tag for tag, value in tags.items() if isinstance(value, str) and value[:1] in "+-.0123456789"]
        if texts:
            problem = f"{step}.{texts[0]} is {tags[texts[0]]!r}, a text for YAML, expected a number"
            raise SetupError(path, problem, "Write 1.0e-5, not 1e-5")
    return Preset(**content)


def incar_tags(structure: Structure, preset: Preset, step: str, settings: VaspSettings) -> Incar:
    """The INCAR of one step.

    Parameters
    ----------
    structure
        Crystal, or the atom in its box (step "atom").
    preset, step
        Protocol and one of ``STEPS``.
    settings
        Settings of the engine, of which ``spin`` and ``machine.parallel`` (tags like KPAR and NCORE) count.
    """
    return _incar(_input_set(structure, preset, step, settings))


def write_inputs(
    structure: Structure,
    folder: Path | str,
    preset: Preset,
    step: str,
    settings: VaspSettings,
    potcar_spec: bool | None = None,
) -> Incar:
    """Write INCAR, POSCAR, KPOINTS (atom) and POTCAR or POTCAR.spec; needs neither VASP nor its licence.

    Parameters
    ----------
    structure, preset, step, settings
        As in ``incar_tags``. The sites are written sorted by electronegativity, each element in one block.
    folder
        Where to; made if it is not there.
    potcar_spec
        Write only the names of the POTCARs; None: where PMG_VASP_PSP_DIR is not set.

    Returns
    -------
    Incar
        As written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    inputs = _input_set(structure, preset, step, settings)
    library = potcar_library()
    symbols = _potcar_symbols(inputs, preset)
    if potcar_spec or (potcar_spec is None and library is None):
        (folder / "POTCAR.spec").write_text("\n".join(symbols) + "\n", encoding="utf-8")
    elif library is None:
        fix = "Set it to the folder of your POTCARs, laid out as pymatgen wants it (pmg config -p)"
        raise SetupError("PMG_VASP_PSP_DIR", "is not set in the environment", fix)
    else:
        potcar = "".join(str(_potcar_single(symbol, preset.potcar_functional, library)) for symbol in symbols)
        (folder / "POTCAR").write_text(potcar, encoding="utf-8")
    incar = _incar(inputs)
    incar.write_file(folder / "INCAR")
    # all digits, or a relaxed cell would be rounded
    Poscar(inputs.poscar.structure).write_file(folder / "POSCAR", significant_figures=16)
    if inputs.kpoints is not None:
        inputs.kpoints.write_file(folder / "KPOINTS")
    return incar


def write_inputs_of_all(
    structures: Mapping[str, Path | str],
    out_dir: Path | str,
    settings: VaspSettings,
    threads: int = 1,
) -> dict[str, str]:
    """Write the inputs of all materials for inspection or another machine: ``<out_dir>/<id>/<step>/``, never POTCARs.

    Parameters
    ----------
    structures
        Structure file of each material, by id.
    out_dir
        Folder to write to. The POSCAR of ``static`` is the structure as given: put CONTCAR of ``relax`` in its place.
    settings
        Settings of the engine, of which ``preset``, ``relax`` and ``spin`` count: no tags of this machine are written.
    threads
        Processes to use.

    Returns
    -------
    dict[str, str]
        Why materials have no inputs, by id.
    """
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    load_preset(settings.preset)  # a wrong one is not the materials' fault
    settings = replace(settings, machine=replace(settings.machine, parallel={}))
    failures = {}
    with ProcessPoolExecutor(max_workers=threads) as pool:
        jobs = {
            name: pool.submit(_write_inputs_of_one, Path(path), Path(out_dir) / name, settings)
            for name, path in structures.items()
        }
        for name, job in tqdm(jobs.items(), desc="VASP inputs", unit="material"):
            if reason := job.result():
                failures[name] = reason
    return failures


def potcar_library() -> str | None:
    """Folder of the POTCARs, or None where PMG_VASP_PSP_DIR is not set; pymatgen takes the current environment."""
    if "PMG_VASP_PSP_DIR" in os.environ:  # pymatgen reads it once, when it is imported
        SETTINGS["PMG_VASP_PSP_DIR"] = os.environ["PMG_VASP_PSP_DIR"]
    return SETTINGS.get("PMG_VASP_PSP_DIR")


class _ProtocolSet(sets.VaspInputSet):
    """pymatgen's input set; the tables of the preset come in as its configuration."""


def _input_set(structure: Structure, preset: Preset, step: str, settings: VaspSettings) -> _ProtocolSet:
    tags = {**preset.incar, **preset.steps[step], **settings.machine.parallel}
    magmom = _magmom_table(preset.magmom_table)
    kpoints: Any = {}  # what pymatgen takes for "none"
    if step == "atom":
        symbol = structure[0].specie.symbol
        if symbol not in preset.unpaired_electrons:
            fix = "Add it to unpaired_electrons in a preset of your own"
            raise SetupError("dft.vasp.preset", f"does not say how many unpaired electrons an atom {symbol} has", fix)
        tags["NUPDOWN"] = preset.unpaired_electrons[symbol]
        magmom = {symbol: preset.unpaired_electrons[symbol]}
        kpoints = Kpoints.gamma_automatic((1, 1, 1))
    else:
        tags["ISPIN"] = 2 if settings.spin == "materials_project" else 1
    config = {
        "INCAR": {**tags, "MAGMOM": magmom},
        "POTCAR": _potcar_map(preset.potcar_map),
        "POTCAR_FUNCTIONAL": preset.potcar_functional,
    }
    return _ProtocolSet(structure=structure, config_dict=config, user_kpoints_settings=kpoints)


def _incar(inputs: _ProtocolSet) -> Incar:
    with warnings.catch_warnings():
        # known and meant: Gaussian smearing of metals, the Materials Project's low-spin Co
        warnings.simplefilter("ignore", sets.BadInputSetWarning)
        warnings.filterwarnings("ignore", message="Co without an oxidation state")
        return inputs.incar


def _potcar_symbols(inputs: _ProtocolSet, preset: Preset) -> list[str]:
    known = _potcar_map(preset.potcar_map)
    absent = [site for site in inputs.poscar.site_symbols if site not in known]
    if absent:
        problem = f"the preset's table of POTCARs ({preset.potcar_map}) has none for {', '.join(absent)}"
        raise EngineError(f"{problem}: leave the material out, or use another preset or engine")
    return inputs.potcar_symbols


@lru_cache
def _potcar_single(symbol: str, functional: str, library: str) -> PotcarSingle:
    try:
        return PotcarSingle.from_symbol_and_functional(symbol, functional)
    except (OSError, ValueError) as error:
        fix = "Add it, laid out as pymatgen wants it (pmg config -p), or set PMG_VASP_PSP_DIR to the right folder"
        raise SetupError(library, f"has no readable POTCAR {symbol} of {functional}", fix, code="potcar") from error


def _write_inputs_of_one(path: Path, folder: Path, settings: VaspSettings) -> str:
    """Reason for missing inputs; a text, because this error cannot be sent between processes."""
    try:
        structure = read_structure(path)
        preset = load_preset(settings.preset)
        for step in ("relax", "static") if settings.relax else ("static",):
            write_inputs(structure, folder / step, preset, step, settings, potcar_spec=True)
    except (EngineError, InputError) as error:
        if failure := job_failure(error, folder.name):
            raise failure from error
        return str(error)
    return ""


@lru_cache
def _potcar_map(name: str) -> dict[str, str]:
    path = Path(sets.__file__).parent / f"{name}.yaml"
    if not path.is_file():
        raise SetupError("dft.vasp.preset", f"potcar_map {name!r} is not a table of pymatgen", "Set it to PBE54Base")
    return yaml.safe_load(path.read_text(encoding="utf-8"))["POTCAR"]


@lru_cache
def _magmom_table(name: str) -> dict[str, float]:
    if not hasattr(sets, name):
        raise SetupError(
            "dft.vasp.preset", f"magmom_table {name!r} is not an input set of pymatgen", "Set it to MPRelaxSet"
        )
    return getattr(sets, name).CONFIG["INCAR"]["MAGMOM"]
