"""The Python interface gives what the command line gives, for every object that a density or structure comes in."""

import copy
import doctest
import io
import json
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io.cube import write_cube
from ase.units import Bohr
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.common import VolumetricData
from pymatgen.io.vasp import Poscar
from pymatgen.io.vasp.outputs import Chgcar, Elfcar, Locpot
from standins.bundle_run import CONFIG, edit_manifest, finished_run, made_density, of_engine
from standins.bundle_run import run_command as run
from standins.refusals import refused

import rho2prop
from rho2prop.core.errors import InputError
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import write_npz
from rho2prop.features.fingerprint import fingerprint
from rho2prop.prediction import api
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.result import Prediction

pytestmark = pytest.mark.slow

BULK = "bulk_modulus_gpa"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finished_run(tmp_path_factory)[1]


@pytest.fixture(autouse=True)
def empty_folder(folder, monkeypatch, tmp_path):
    """Working directory in which nothing may be left."""
    monkeypatch.setenv("RHO2PROP_BUNDLE", str(folder))
    place = tmp_path / "working directory"
    place.mkdir()
    monkeypatch.chdir(place)
    yield place
    assert list(place.iterdir()) == []


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    density = made_density()
    write_npz(density, place / "MgO.npz")
    write_chgcar(density, place / "CHGCAR")
    atoms = Atoms(density.numbers, cell=density.lattice, scaled_positions=density.frac_coords, pbc=True)
    with open(place / "MgO.cube", "w") as file:
        write_cube(file, atoms, density.values.astype(float) * Bohr**3)
    return place


def of_command_line(capsys, *arguments):
    code, out, errors = run(capsys, "predict", *arguments, "--format", "csv", "--allow-other-engine")
    assert (code, errors) == (0, [])
    return pd.read_csv(io.StringIO(out), float_precision="round_trip")


OBJECTS = {
    "path": ("MgO.npz", lambda files: files / "MgO.npz"),
    "name": ("MgO.npz", lambda files: str(files / "MgO.npz")),
    "Density": ("MgO.npz", lambda files: made_density()),
    "Chgcar": ("CHGCAR", lambda files: Chgcar.from_file(str(files / "CHGCAR"))),
    "VolumetricData": ("MgO.cube", lambda files: VolumetricData.from_cube(str(files / "MgO.cube"))),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_gives_what_its_file_gives_on_the_command_line(capsys, files, kind):
    name, make = OBJECTS[kind]
    expected = of_command_line(capsys, files / name)
    found = rho2prop.predict(make(files), allow_other_engine=True).to_frame()
    columns = ["formula", "target", "symbol", "unit", "model", "features", "warnings"]
    assert found[columns].equals(expected[columns].fillna(""))
    for column in ("value", "lower", "upper", "coverage", "applicability_percentile"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-6)
    assert set(found["name"]) == {str(files / name) if kind in ("path", "name") else "MgO"}


def test_options_are_those_of_the_command_line(folder, files):
    narrow, wide = (rho2prop.predict(files / "MgO.npz", coverage=share)[BULK] for share in (0.5, 0.8))
    assert narrow.value == wide.value
    assert narrow.upper - narrow.lower < wide.upper - wide.lower
    models = load_bundle(folder)
    given = (rho2prop.predict(made_density(), bundle=bundle)[BULK] for bundle in (models, folder, str(folder)))
    assert set(given) == {wide}
    vasp = of_engine(made_density(), "vasp 6.4")
    with refused("vasp", "gpaw", "MgO"):
        rho2prop.predict(vasp)
    assert rho2prop.predict(vasp, allow_other_engine=True).warnings
    with refused("1.5", source="coverage"):
        rho2prop.predict(vasp, coverage=1.5)


def test_a_prediction_is_a_mapping_a_table_and_a_dictionary(files):
    prediction = rho2prop.predict(files / "MgO.npz")
    assert isinstance(prediction, Prediction)
    first = prediction.table[prediction.table["target"] == BULK].iloc[0]
    bulk_modulus = prediction[BULK]
    assert prediction["K"] == prediction.bulk_modulus_gpa == bulk_modulus
    assert (bulk_modulus.value, bulk_modulus.lower, bulk_modulus.upper) == tuple(first[["value", "lower", "upper"]])
    assert (bulk_modulus.unit, bulk_modulus.model) == ("GPa", first["model"])
    assert float(bulk_modulus) == bulk_modulus.value
    assert dict(prediction).keys() == set(prediction.table["target"])
    assert BULK in prediction
    assert BULK in dir(prediction)
    assert "hardness" not in prediction
    with pytest.raises(KeyError, match=BULK):
        prediction["hardness"]
    assert not hasattr(prediction, "hardness")
    with pytest.raises(FrozenInstanceError):
        prediction.name = "other"
    content = json.loads(json.dumps(prediction.to_dict(), allow_nan=False))
    assert {row["target"]: row["value"] for row in content["predictions"]}.keys() == set(prediction)
    assert copy.deepcopy(prediction)[BULK] == bulk_modulus


def test_a_prediction_prints_as_on_the_command_line_and_as_html(capsys, files):
    prediction = rho2prop.predict(files / "MgO.npz")
    assert run(capsys, "predict", files / "MgO.npz")[1] == f"{prediction!r}\n"
    html = prediction._repr_html_()
    (table,) = pd.read_html(io.StringIO(html))
    assert len(table) == len(prediction.table)
    np.testing.assert_allclose(table["value"], prediction.table["value"], rtol=1e-3)
    hostile = replace(prediction, name="<script>", warnings=["<img>"])._repr_html_()
    assert "<script>" not in hostile
    assert "<img>" not in hostile


def test_a_list_gives_all_in_order_and_names_the_item_that_fails(capsys, files):
    others = [made_density((3, 17)), files / "MgO.npz", made_density((11, 17))]
    predictions = rho2prop.predict(others)
    assert "predictions" in capsys.readouterr().err  # the progress bar
    assert [prediction.formula for prediction in predictions] == ["LiCl", "MgO", "NaCl"]
    assert predictions[1][BULK] == rho2prop.predict(files / "MgO.npz")[BULK]
    frame = predictions.to_frame()
    assert len(frame) == sum(len(prediction.table) for prediction in predictions)
    assert [row["formula"] for row in predictions.to_dict()] == ["LiCl", "MgO", "NaCl"]
    assert repr(predictions).count("nearest:") == predictions._repr_html_().count("nearest:") == 3
    assert rho2prop.predict(iter(others))[2][BULK] == predictions[2][BULK]
    assert rho2prop.predict([]).to_frame().columns.tolist() == frame.columns.tolist()
    with refused("material 1", "nothing.npz"):
        rho2prop.predict([files / "MgO.npz", "nothing.npz"])


@pytest.mark.slow  # GPAW
def test_a_structure_is_computed_as_its_file_is(capsys, folder, tmp_path):
    coarse = CONFIG["dft"]["gpaw"] | {"ecut_ev": 150, "k_spacing_per_ang": 2.0, "max_iterations": 60}
    bundle = tmp_path / "bundle"
    shutil.copytree(folder, bundle)
    edit_manifest(bundle, config=CONFIG | {"dft": CONFIG["dft"] | {"gpaw": coarse}})
    structure = Structure(Lattice.cubic(3.44), ["Li"], [[0, 0, 0]])
    structure.to(str(tmp_path / "POSCAR"), fmt="poscar")
    expected = of_command_line(capsys, tmp_path / "POSCAR", "--bundle", bundle)
    work = tmp_path / "work"
    for material in (structure, AseAtomsAdaptor.get_atoms(structure)):
        found = rho2prop.predict(material, bundle=bundle, work=work)
        np.testing.assert_allclose(found.table["value"], expected["value"], rtol=1e-5)
        assert found.formula == found.name == "Li"
    (density,) = work.glob("*/density.npz")  # the second came from there
    features = rho2prop.fingerprint(structure, bundle=bundle, work=work)
    pd.testing.assert_series_equal(features, rho2prop.fingerprint(density), check_names=False)
    assert features["electrons_per_atom"] == pytest.approx(1)


def test_the_fingerprint_is_that_of_the_models(files):
    features = rho2prop.fingerprint(files / "MgO.npz")
    assert features.to_dict() == fingerprint(made_density())
    assert features.name == str(files / "MgO.npz")
    of_chgcar = rho2prop.fingerprint(Chgcar.from_file(str(files / "CHGCAR")))
    np.testing.assert_allclose(of_chgcar, features, rtol=1e-5, atol=1e-7)
    assert of_chgcar.name == "MgO"
    assert "moved_per_atom" in rho2prop.fingerprint(
        replace(made_density(), promolecule=made_density().values[::-1].copy()), field="deformation"
    )
    with refused("promolecule", "MgO"):
        rho2prop.fingerprint(made_density(), field="deformation")


def chgcar(scale=1.0):
    density = made_density()
    total = density.values.astype(float) * density.volume_ang3 * scale
    return Chgcar(structure_from_density(density), {"total": total})


POTENTIAL = {"total": np.ones((4, 4, 4))}
OXIDE = structure_from_density(made_density())
REFUSED = {
    "missing file": (lambda: "nothing.npz", ["nothing.npz"]),
    "folder": (lambda: ".", ["."]),
    "density in e/Å³ as Chgcar": (lambda: chgcar(1 / made_density().volume_ang3), ["Chgcar MgO"]),
    "density times volume as VolumetricData": (
        lambda: VolumetricData(OXIDE, chgcar().data),
        ["VolumetricData MgO"],
    ),
    "part of the electrons": (lambda: chgcar(3 / 8), ["Chgcar MgO", "3"]),
    "not a number": (lambda: chgcar(np.nan), ["Chgcar MgO", "nan"]),
    "potential": (lambda: Locpot(Poscar(OXIDE), POTENTIAL), ["Locpot"]),
    "localisation function": (lambda: Elfcar(Poscar(OXIDE), POTENTIAL), ["Elfcar"]),
    "density of other electrons": (lambda: replace(made_density(), n_electrons=5.0), ["Density", "5.0000", "8.0000"]),
    "no element": (lambda: replace(made_density(), numbers=np.array([12, 200])), ["Density", "200"]),
    "molecule of pymatgen": (lambda: Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.7]]), ["Molecule"]),
    "molecule of ASE": (lambda: molecule("H2O"), ["Atoms", "H2O", "0"]),
    "partly occupied site": (
        lambda: Structure(Lattice.cubic(3.5), [{"Li": 0.5}], [[0, 0, 0]]),
        ["Structure Li0.5"],
    ),
    "overlapping atoms": (lambda: bulk("Cu", a=0.4), ["Atoms Cu"]),
    "number": (lambda: 3.5, ["float"]),
    "nothing": (lambda: None, ["NoneType"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_names_what_was_given(case, tmp_path):
    make, named = REFUSED[case]
    for call in (rho2prop.predict, rho2prop.fingerprint):
        with pytest.raises(InputError) as caught:
            call(make())
        assert all(text in str(caught.value) for text in named), str(caught.value)
        assert str(tmp_path.parent) not in str(caught.value)


def test_an_engine_that_cannot_compute_here_is_named(folder, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(folder, bundle)
    edit_manifest(bundle, density={"kind": "valence", "engine": "vasp 6.4"})
    for call in (rho2prop.predict, rho2prop.fingerprint):
        with refused("vasp", source="Structure MgO"):
            call(OXIDE, bundle=bundle)


def test_the_examples_in_the_documentation_run(files, monkeypatch):
    monkeypatch.chdir(files)
    results = doctest.testmod(api)
    assert results.attempted >= 4
    assert results.failed == 0


def test_importing_the_package_loads_nothing():
    program = (
        "import sys; before = set(sys.modules); import rho2prop; print(sorted(set(sys.modules) - before)); "
        "print([name for name in ('predict', 'fingerprint', 'Density', 'InputError') if name in dir(rho2prop)]); "
        "rho2prop.Density; print('numpy' in sys.modules, 'torch' in sys.modules)"
    )
    root = Path(rho2prop.__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True).stdout
    assert out.splitlines() == [
        "['rho2prop']",
        "['predict', 'fingerprint', 'Density', 'InputError']",
        "True False",
    ]
    with pytest.raises(AttributeError, match="hardness"):
        rho2prop.hardness  # noqa: B018
