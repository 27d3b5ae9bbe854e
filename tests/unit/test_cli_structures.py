"""The command line on structures: computed with the bundle's engine, kept and used again."""

import json
import shutil
from importlib import import_module

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from standins.bundle_run import CONFIG, edit_manifest, finished_run, made_density
from standins.bundle_run import run_command as run

from rho2prop.densities.density import read_npz, write_npz
from rho2prop.dft import base
from rho2prop.dft.atoms import AtomsSettings
from rho2prop.prediction.bundle.reader import load_bundle

pytestmark = pytest.mark.slow
atoms_engine = import_module("rho2prop.dft.atoms")
gpaw_engine = import_module("rho2prop.dft.gpaw.engine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finished_run(tmp_path_factory)[1]


@pytest.fixture(autouse=True)
def _bundle(folder, monkeypatch):
    monkeypatch.setenv("RHO2PROP_BUNDLE", str(folder))


def quick_bundle(folder, tmp_path, **settings):
    """The same models, whose engine takes a second."""
    quick = shutil.copytree(folder, tmp_path / "bundle")
    coarse = {"ecut_ev": 150, "k_spacing_per_ang": 2.0, "max_iterations": 60} | settings
    edit_manifest(quick, config=CONFIG | {"dft": CONFIG["dft"] | {"gpaw": CONFIG["dft"]["gpaw"] | coarse}})
    return quick


def write_poscar(path, a_ang):
    path.parent.mkdir(parents=True, exist_ok=True)
    Structure(Lattice.cubic(a_ang), ["Li"], [[0, 0, 0]]).to(str(path), fmt="poscar")
    return path


def test_a_structure_is_computed_with_the_bundles_engine_first(capsys, folder, tmp_path):
    quick, work = quick_bundle(folder, tmp_path), tmp_path / "work"
    structures = [write_poscar(tmp_path / name / "POSCAR", a) for name, a in (("A", 3.44), ("B", 3.6), ("C", 3.44))]
    arguments = ["--bundle", quick, "--format", "json", "--work", work]
    code, out, errors = run(capsys, "predict", *structures[:2], *arguments)
    assert errors == []
    assert code == 0
    kept = {round(read_npz(path).volume_ang3, 3): path for path in work.glob("POSCAR-*/density.npz")}
    volumes = [round(Structure.from_file(path).volume, 3) for path in structures]
    assert set(kept) == set(volumes)  # files of the same name keep a calculation each
    for row, volume in zip(json.loads(out), volumes, strict=False):
        density = read_npz(kept[volume])
        assert density.integral() == pytest.approx(1, rel=1e-5)
        table = load_bundle(quick).predict(density, "Li").table
        assert [one["value"] for one in row["predictions"]] == pytest.approx(table["value"].tolist(), rel=1e-5)


def test_a_bundle_of_atoms_superposes_them_first(capsys, folder, tmp_path):
    quick, work = shutil.copytree(folder, tmp_path / "bundle"), tmp_path / "work"
    config = CONFIG | {"dft": CONFIG["dft"] | {"engine": "atoms", "atoms": {"xc": "PBE", "ecut_ev": 150}}}
    density = {"kind": "promolecule", "engine": f"atoms of gpaw {atoms_engine.version(AtomsSettings('PBE', 150.0))}"}
    edit_manifest(quick, config=config, density=density)
    structure = write_poscar(tmp_path / "POSCAR", 3.44)
    code, out, errors = run(capsys, "predict", structure, "--bundle", quick, "--format", "json", "--work", work)
    assert (code, errors) == (0, [])
    (kept,) = work.glob("*/density.npz")
    found, computed = read_npz(kept), gpaw_engine.atoms_density(Structure.from_file(structure), 150.0, "PBE")
    assert (found.kind, found.engine) == ("promolecule", density["engine"])
    np.testing.assert_allclose(found.values, computed.values, atol=1e-6)
    table = load_bundle(quick).predict(found, "Li").table
    assert [one["value"] for one in json.loads(out)[0]["predictions"]] == pytest.approx(table["value"].tolist())


def test_a_kept_calculation_is_used_only_for_the_same_structure_and_settings(capsys, folder, tmp_path, monkeypatch):
    quick, work = quick_bundle(folder, tmp_path), tmp_path / "work"
    first, same = (write_poscar(tmp_path / name / "POSCAR", 3.44) for name in ("A", "C"))
    computed = []
    run_material = base.run_material
    monkeypatch.setattr(base, "run_material", lambda *given: computed.append(given[1]) or run_material(*given))

    def predict(path, bundle=quick):
        computed.clear()
        code, out, errors = run(capsys, "predict", path, "--bundle", bundle, "--format", "json", "--work", work)
        assert code == 0
        return bool(computed), [row["value"] for row in json.loads(out)[0]["predictions"]], errors

    _, values, errors = predict(first)
    assert errors == []
    assert predict(same)[:2] == (False, values)
    (message,) = predict(first)[2]
    (density,) = work.glob("*/density.npz")
    assert str(density.parent) in message
    assert "reused" in message
    # another cut-off, a failed or damaged calculation, one of other atoms: computed anew
    finer = quick_bundle(quick, tmp_path / "finer", ecut_ev=160)
    assert predict(first, finer)[::2] == (True, [])
    whole, outcome = density.read_bytes(), (density.parent / "outcome.json").read_text()
    write_npz(made_density(), tmp_path / "other.npz")
    for damaged in (whole[:1000], (tmp_path / "other.npz").read_bytes()):
        density.write_bytes(damaged)
        was_computed, found, errors = predict(first)
        assert (was_computed, found) == (True, values)
        assert "repeated" in errors[0]
        assert density.read_bytes() == whole
    failed = outcome.replace('"converged"', '"failed"').replace('"reason": ""', '"reason": "stopped early"')
    (density.parent / "outcome.json").write_text(failed)
    was_computed, _, errors = predict(first)
    assert was_computed
    assert "stopped early" in errors[0]


def test_a_place_that_cannot_keep_a_calculation_is_refused_before_it(capsys, folder, tmp_path, monkeypatch):
    structure = write_poscar(tmp_path / "POSCAR", 3.44)
    monkeypatch.setattr(base, "run_material", lambda *given: pytest.fail("computed"))
    for work, reason in ((structure, "not a folder"), (structure / "deeper", "not a folder")):
        code, _, errors = run(capsys, "predict", structure, "--work", work)
        assert (code, len(errors)) == (1, 1)
        assert reason in errors[0]
    assert structure.is_file()


def test_calculations_beside_their_structure_do_not_touch_it(capsys, folder, tmp_path, monkeypatch):
    structure = write_poscar(tmp_path / "POSCAR", 3.44)
    text = structure.read_text()
    monkeypatch.chdir(tmp_path)
    quick = quick_bundle(folder, tmp_path)
    assert run(capsys, "predict", "POSCAR", "--bundle", quick, "--work", ".")[::2] == (0, [])
    assert structure.read_text() == text
    assert len(list(tmp_path.glob("POSCAR-*/density.npz"))) == 1


def test_a_calculation_that_fails_says_why(capsys, folder, tmp_path):
    quick = shutil.copytree(folder, tmp_path / "bundle")
    edit_manifest(quick, density={"kind": "valence", "engine": "abinit 9"})
    Structure(Lattice.cubic(3.4), ["Li"], [[0, 0, 0]]).to(str(tmp_path / "Li.cif"))
    code, _, errors = run(capsys, "predict", tmp_path / "Li.cif", "--bundle", quick)
    assert (code, len(errors)) == (1, 1)
    assert "abinit" in errors[0]
    # GPAW has no dataset for polonium.
    Structure(Lattice.cubic(3.4), ["Po"], [[0, 0, 0]]).to(str(tmp_path / "Po.cif"))
    code, _, errors = run(capsys, "predict", tmp_path / "Po.cif")
    assert (code, len(errors)) == (1, 1)
    assert "no PBE dataset for Po" in errors[0]
