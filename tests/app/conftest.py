"""A bundle, a real density, a database and a report, and the app that shows them."""

from dataclasses import replace
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from standins.app_server import MAX_UPLOAD_MB, running_app, running_browser, watched_page
from standins.bundle_run import CONFIG, finished_run
from standins.report_run import CONFIG as REPORT_CONFIG
from standins.report_run import write_run

from rho2prop.autoencoder.latent_database import LatentDatabase
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import Density, read_npz
from rho2prop.dft.base import run_material
from rho2prop.dft.gpaw.settings import GpawSettings
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.report import render


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    return finished_run(tmp_path_factory)[1]


@pytest.fixture(scope="session")
def real_density(tmp_path_factory) -> Path:
    """MgO by GPAW, coarse: a file in the project's own format."""
    folder = tmp_path_factory.mktemp("MgO")
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    structure.get_primitive_structure().to(str(folder / "MgO.vasp"), fmt="poscar")
    settings = GpawSettings(**CONFIG["dft"]["gpaw"] | {"ecut_ev": 300, "k_spacing_per_ang": 0.8})
    outcome = run_material("MgO", folder / "MgO.vasp", None, "gpaw", settings, folder / "dft")
    assert outcome.status == "converged", outcome.reason
    return folder / "dft" / "density.npz"


@pytest.fixture(scope="session")
def place(tmp_path_factory, bundle, real_density) -> Path:
    """Database, report and the folder that the app may read from."""
    folder = tmp_path_factory.mktemp("place")
    density, models = read_npz(real_density), load_bundle(bundle)
    crystals = {"mp-1265": density} | {f"other-{number}": _other(density, number) for number in (11, 13, 14)}
    with LatentDatabase(folder / "latents.sqlite", writable=True) as database:
        database.append(models.encode_record(crystal, name) for name, crystal in crystals.items())
    render(write_run(folder / "report_run"), REPORT_CONFIG, folder / "report.html")
    root = folder / "root"
    root.mkdir()
    (root / "MgO.npz").write_bytes(real_density.read_bytes())
    write_chgcar(density, root / "CHGCAR.gz")
    (folder / "outside.npz").write_bytes(real_density.read_bytes())
    (root / "link.npz").symlink_to(folder / "outside.npz")
    (root / "inner.npz").symlink_to(root / "MgO.npz")
    return folder


def _other(density: Density, number: int) -> Density:
    """The same numbers under another element's name."""
    return replace(density, numbers=density.numbers * 0 + number)


@pytest.fixture(scope="session")
def options(bundle, place) -> list[str]:
    files = {"bundle": bundle, "database": place / "latents.sqlite", "report": place / "report.html"}
    given = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    return [*given, "--root", str(place / "root"), "--max-upload-mb", str(MAX_UPLOAD_MB)]


@pytest.fixture(scope="session")
def app(tmp_path_factory, options):
    with running_app(tmp_path_factory.mktemp("app"), *options) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    with running_browser() as running:
        yield running


@pytest.fixture
def page(browser):
    with watched_page(browser) as opened:
        yield opened
