"""Jobs behind the pages, run in worker processes: functions of a bundle and plain values."""

from collections.abc import Callable
from pathlib import Path

from rho2prop.app.answers import Answer, Decoded
from rho2prop.app.unpacking import unpack
from rho2prop.app.view import DensityView, make_view
from rho2prop.autoencoder.decoding import decode_with_factor
from rho2prop.autoencoder.latent_database import LatentDatabase
from rho2prop.autoencoder.latent_record import LatentRecord
from rho2prop.core.errors import InputError
from rho2prop.densities.chgcar_writer import chgcar_bytes, write_chgcar
from rho2prop.densities.density import Density
from rho2prop.prediction.bundle.reader import Bundle
from rho2prop.prediction.inputs import is_structure, read_input
from rho2prop.prediction.outputs import as_csv

Progress = Callable[[str], None]
MOST_ATOMS = 2000  # that a browser still draws


def predict_file(
    bundle: Bundle, progress: Progress, path: Path, folder: Path, max_bytes: int, allow_other_engine: bool
) -> Answer:
    """Read a density file and predict with all models of the bundle.

    Parameters
    ----------
    bundle, progress
        Models; called with a line on what is going on.
    path
        The file; its name is what messages call it.
    folder
        Private folder for what it is decompressed to; removed again.
    max_bytes
        Most bytes after decompression.
    allow_other_engine
        Predict, with a warning, for a density of another engine than the training set's.
    """
    name = path.name
    progress("Checking the file")
    unpacked = unpack(path, folder, max_bytes, progress)
    try:
        if is_structure(unpacked):
            fix = "Give a charge density, or use `rho2prop predict` on the command line, which computes it first"
            raise InputError(name, "holds a crystal structure, not a density", fix)
        progress("Reading the density")
        density = read_input(unpacked, bundle)
    finally:
        if unpacked != path:
            unpacked.unlink(missing_ok=True)
    progress("Preparing the figures")
    view = _view(density, name)
    refusal = "" if allow_other_engine else _refusal(bundle, density, name)
    if refusal:
        return Answer(name, _formula(density), view, [], "", "", False, [], refusal)
    progress("Predicting")
    prediction = bundle.predict(density, name, allow_other_engine)
    return Answer(
        name=name,
        formula=prediction.formula,
        view=view,
        rows=prediction.table.to_dict("records"),
        csv=as_csv([prediction]),
        applicability=prediction.applicability.text,
        is_far=prediction.applicability.is_far,
        warnings=prediction.warnings,
        refusal="",
    )


def _view(density: Density, name: str) -> DensityView:
    if density.numbers.size > MOST_ATOMS:
        problem = f"has {density.numbers.size:,} atoms, the app accepts up to {MOST_ATOMS:,}"
        raise InputError(name, problem, "Use `rho2prop predict` or `rho2prop decode` on the command line")
    return make_view(density)


def _refusal(bundle: Bundle, density: Density, name: str) -> str:
    try:
        bundle.check_density(density, name)
    except InputError as error:
        bundle.check_density(density, name, allow_other_engine=True)  # raises what no user may insist on
        return f"{name} {error.problem}."
    return ""


def _formula(density: Density) -> str:
    from pymatgen.core import Composition, Element

    return Composition("".join(Element.from_Z(int(z)).symbol for z in density.numbers)).reduced_formula


def decode_latent(bundle: Bundle, progress: Progress, database: Path, material_id: str) -> Decoded:
    """Decode one material of the latent database."""
    progress("Decoding the latent")
    record, density, factor = _decode(bundle, database, material_id)
    latent_kb = record.latent.nbytes / 1000
    chgcar_mb = chgcar_bytes(record, record.shape) / 1e6
    remark = (
        f"Reconstructed by the autoencoder from {record.latent.size:,} numbers ({latent_kb:,.1f} kB; as CHGCAR "
        f"{chgcar_mb:,.2f} MB), so that details of the original are smoothed. The values were scaled by {factor:.4f} "
        f"to give {record.n_electrons:g} electrons."
    )
    return Decoded(material_id, record.formula, _view(density, material_id), remark)


def save_chgcar(bundle: Bundle, progress: Progress, database: Path, material_id: str, target: Path) -> Path:
    """Decode one material of the latent database to a CHGCAR file."""
    progress("Decoding the latent")
    _, density, _ = _decode(bundle, database, material_id)
    progress("Writing the CHGCAR")
    write_chgcar(density, target)
    return target


def _decode(bundle: Bundle, database: Path, material_id: str) -> tuple[LatentRecord, Density, float]:
    with LatentDatabase(database) as stored:
        record = stored.get(material_id)
    density, factor = decode_with_factor(bundle.decoder, record)
    return record, density, factor


JOBS = {job.__name__: job for job in (predict_file, decode_latent, save_chgcar)}
