"""The command line on good files and on every bad file that users have."""

import io
import json
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.io.cube import write_cube
from ase.units import Bohr
from standins.bundle_run import finished_run, made_density
from standins.bundle_run import run_command as run

from rho2prop.__main__ import main
from rho2prop.autoencoder.latent_database import LatentDatabase
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import read_npz, write_npz
from rho2prop.densities.readers import read_density
from rho2prop.prediction.bundle.reader import load_bundle
from rho2prop.prediction.pretrained import SHIPPED, find_bundle

pytestmark = pytest.mark.slow

ALLOWED = "--allow-other-engine"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finished_run(tmp_path_factory)[1]


@pytest.fixture(autouse=True)
def _bundle(folder, monkeypatch):
    monkeypatch.setenv("RHO2PROP_BUNDLE", str(folder))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same density in each format."""
    place = tmp_path_factory.mktemp("files")
    density = made_density()
    write_npz(density, place / "MgO.npz")
    write_chgcar(density, place / "CHGCAR")
    write_chgcar(density, place / "CHGCAR.gz")
    shutil.copy(place / "CHGCAR", place / "density.vasp")
    atoms = Atoms(density.numbers, cell=density.lattice, scaled_positions=density.frac_coords, pbc=True)
    with open(place / "MgO.cube", "w") as file:
        write_cube(file, atoms, density.values.astype(float) * Bohr**3)
    structure_from_density(density).to(str(place / "POSCAR"), fmt="poscar")
    return place


def test_the_table_holds_values_intervals_units_and_distance(capsys, files, folder):
    code, out, errors = run(capsys, "predict", files / "MgO.npz")
    assert (code, errors) == (0, [])
    table = load_bundle(folder).predict(made_density(), "x").table
    for row in table.itertuples():
        line = next(line for line in out.splitlines() if f"{row.value:.4g}" in line and row.model in line)
        assert row.unit in line
        assert f"{row.lower:.4g} … {row.upper:.4g}" in line
    assert "80 % interval" in out
    assert "training set:" in out
    assert "(MgO)" in out


@pytest.mark.parametrize("name", ["CHGCAR", "CHGCAR.gz", "density.vasp", "MgO.cube"])
def test_every_format_gives_the_same_values(capsys, files, folder, name):
    code, out, errors = run(capsys, "predict", files / name, "--format", "csv", ALLOWED)
    assert (code, errors) == (0, [])
    table = pd.read_csv(io.StringIO(out))
    expected = load_bundle(folder).predict(made_density(), "x").table
    np.testing.assert_allclose(table["value"], expected["value"], rtol=1e-4)
    assert set(table["name"]) == {str(files / name)}
    assert table["warnings"].str.contains("values and intervals may be wrong").all()


def test_json_and_csv_go_to_a_file_by_its_ending(capsys, files, tmp_path):
    code, out, _ = run(capsys, "predict", files / "MgO.npz", "-o", tmp_path / "out.json", "--coverage", "0.5")
    assert (code, out) == (0, "")
    (one,) = json.loads((tmp_path / "out.json").read_text())
    assert one["formula"] == "MgO"
    assert {row["coverage"] for row in one["predictions"]} == {0.5}
    assert {"percentile", "is_far", "nearest", "text"} == set(one["applicability"])
    code, _, _ = run(capsys, "predict", files / "MgO.npz", "-o", tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert {(row["model"], row["target"]) for row in one["predictions"]} == set(
        zip(table["model"], table["target"], strict=True)
    )


def test_an_interval_without_end_is_null_in_json(capsys, files):
    code, out, _ = run(capsys, "predict", files / "MgO.npz", "--format", "json", "--coverage", "0.999")
    assert code == 0
    assert {row["upper"] for row in json.loads(out)[0]["predictions"]} == {None}


def test_one_bad_file_does_not_stop_the_others(capsys, files, tmp_path):
    (tmp_path / "CHGCAR_empty").write_text("")
    many = [files / "MgO.npz", tmp_path / "CHGCAR_empty", files / "CHGCAR", tmp_path / "missing.npz"]
    code, out, errors = run(capsys, "predict", *many, "--format", "json", ALLOWED)
    assert code == 1
    assert [one["name"] for one in json.loads(out)] == [str(files / "MgO.npz"), str(files / "CHGCAR")]
    assert len(errors) == 3
    assert sum("CHGCAR_empty" in line for line in errors) == 1
    assert sum("missing.npz" in line for line in errors) == 1
    assert "2 of 4 files" in errors[-1]


def write_bad_files(place: Path, files: Path) -> None:
    density = made_density()
    arrays = dict(np.load(files / "MgO.npz"))
    holes = arrays["density"].copy()
    holes[1, 2, 3] = np.nan
    np.savez(place / "nan.npz", **(arrays | {"density": holes}))
    np.savez(place / "electrons.npz", **(arrays | {"n_electrons": np.float64(5.0)}))
    np.savez(place / "pickled.npz", **(arrays | {"numbers": np.array([{}], dtype=object)}))
    (place / "cut.npz").write_bytes((files / "MgO.npz").read_bytes()[:2000])
    text = (files / "CHGCAR").read_text()
    (place / "CHGCAR_cut").write_text(text[: len(text) // 2])
    (place / "CHGCAR_cut.gz").write_bytes((files / "CHGCAR.gz").read_bytes()[:3000])
    (place / "CHGCAR_words").write_text(text.replace("0.1", "zero", 40))
    (place / "CHGCAR_scaled").write_bytes(chgcar_of(replace(density, values=density.values * 1.03)))
    (place / "CHGCAR_empty").write_text("")
    (place / "image.png").write_bytes(b"\x89PNG\r\n")
    (place / "malformed.cif").write_text("data_x\n_cell_length_a 3.0\nloop_\n_atom_site_label\n")
    (place / "empty.cif").write_text("")
    (place / "overlap.vasp").write_text("x\n1.0\n3 0 0\n0 3 0\n0 0 3\nMg O\n1 1\nDirect\n0 0 0\n0.01 0 0\n")
    (place / "cut.cube").write_text((files / "MgO.cube").read_text()[:4000])
    (place / "AECCAR0").write_text(text)
    (place / "a_folder").mkdir()


def chgcar_of(density) -> bytes:
    """A CHGCAR whose integral is not checked when it is written."""
    header = f"x\n1.0\n{chr(10).join(' '.join(map(str, row)) for row in density.lattice)}\nMg O\n1 1\nDirect\n"
    header += "\n".join(" ".join(map(str, row)) for row in density.frac_coords)
    header += "\n\n" + " ".join(map(str, density.values.shape)) + "\n"
    flat = density.values.ravel(order="F") * density.volume_ang3
    return (header + "\n".join(" ".join(f"{x:.11E}" for x in flat[i : i + 5]) for i in range(0, len(flat), 5))).encode()


BAD = {
    "nan.npz": "nan at grid point",
    "electrons.npz": "integrates to 8.0000 electrons, expected 5.0000",
    "pickled.npz": "cannot be read as .npz",
    "cut.npz": "not a complete .npz file",
    "CHGCAR_cut": "grid 1 ends after 1333 of 2688 numbers",
    "CHGCAR_cut.gz": "CHGCAR_cut.gz: cannot be read",
    "CHGCAR_words": "line 9",
    "CHGCAR_scaled": "integrates to 8.24",
    "CHGCAR_empty": "is empty",
    "image.png": "known density format",
    "malformed.cif": "cannot be read as a structure",
    "empty.cif": "is empty",
    "overlap.vasp": "overlapping atoms",
    "cut.cube": "should hold 2688 numbers",
    "AECCAR0": "the core charge by its name",
    "a_folder": "is a folder",
    "nowhere.cif": "does not exist",
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory, files):
    place = tmp_path_factory.mktemp("bad")
    write_bad_files(place, files)
    return place


@pytest.mark.parametrize(("name", "reason"), BAD.items())
@pytest.mark.parametrize("command", ["predict", "encode"])
def test_a_bad_file_gets_one_readable_line(capsys, bad_files, tmp_path, command, name, reason):
    output = tmp_path / "out.npz"
    code, out, errors = run(capsys, command, bad_files / name, ALLOWED, "-o", output)
    assert code == 1
    assert out == ""
    assert len(errors) == 1, errors
    assert errors[0].startswith("rho2prop: ")
    assert name in errors[0]
    assert reason in errors[0]
    assert "Traceback" not in errors[0]
    assert not list(tmp_path.iterdir())


def test_density_of_another_engine_needs_a_word(capsys, files):
    code, out, errors = run(capsys, "predict", files / "CHGCAR")
    assert (code, out) == (1, "")
    assert len(errors) == 1
    assert all(word in errors[0] for word in ("'vasp'", "gpaw 25.7.0", ALLOWED))
    density = replace(made_density(), kind="promolecule")
    write_npz(density, files / "atoms.npz")
    code, _, errors = run(capsys, "predict", files / "atoms.npz", ALLOWED)
    assert code == 1
    assert "'promolecule'" in errors[0]
    assert "valence" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("predict", "x.npz", "--coverage", "90"), ("--coverage", "'90'", "between 0 and 1")),
        (("predict", "x.npz", "--coverage", "0"), ("--coverage", "'0'")),
        (("predict", "x.npz", "--coverage", "nan"), ("--coverage", "'nan'")),
        (("predict", "x.npz", "--threads", "0"), ("--threads", "'0'")),
        (("encode", "x.npz", "-o", "y.npz", "--threads", "2.5"), ("--threads", "'2.5'")),
        (("predict", "x.npz", "--format", "xml"), ("--format", "'xml'", "json")),
        (("predict", "x.npz", "-o", ""), ("-o/--output", "empty")),
        (("predict",), ("FILE",)),
        (("app", "--port", "65536"), ("--port", "'65536'")),
        (("app", "--max-upload-mb", "inf"), ("--max-upload-mb", "'inf'")),
    ],
)
def test_options_out_of_range_are_refused_by_name(capsys, arguments, named):
    code, out, errors = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert all(word in errors[-1] for word in named)


def test_a_file_named_like_an_option_is_read(capsys, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(files / "MgO.npz", "-v.npz")
    for arguments in (("./-v.npz",), ("--", "-v.npz")):
        code, out, errors = run(capsys, "predict", *arguments)
        assert (code, errors) == (0, [])
        assert "(MgO)" in out


def test_a_dash_prints_and_links_are_followed(capfd, files, folder, tmp_path):
    expected = run(capfd, "predict", files / "MgO.npz", "--format", "csv")[1]
    for output in ("-", "/dev/stdout"):
        assert run(capfd, "predict", files / "MgO.npz", "--format", "csv", "-o", output) == (0, expected, [])
    (tmp_path / "link.csv").symlink_to("target.csv")
    assert run(capfd, "predict", files / "MgO.npz", "-o", tmp_path / "link.csv") == (0, "", [])
    assert (tmp_path / "target.csv").read_text() == expected
    run(capfd, "encode", files / "MgO.npz", "-o", tmp_path / "latent.npz")
    code, out, errors = run(capfd, "decode", tmp_path / "latent.npz", "-o", "-")
    assert (code, errors) == (0, [])
    (tmp_path / "CHGCAR").write_text(out)
    assert read_density(tmp_path / "CHGCAR").n_electrons == 8


@pytest.mark.parametrize("command", ["predict", "encode", "decode"])
def test_an_output_that_cannot_be_written_is_said_before_anything_is_read(capsys, files, tmp_path, command):
    (tmp_path / "folder").mkdir()
    source = shutil.copy(files / "MgO.npz", tmp_path / "MgO.npz")
    for output, reason in ((tmp_path / "folder", "is a folder"), (source / "x", "not a folder"), (source, "an input")):
        code, out, errors = run(capsys, command, source, "-o", output)
        assert (code, out, len(errors)) == (1, "", 1)
        assert errors[0].startswith(f"rho2prop: {output}: ")
        assert reason in errors[0]
    assert source.read_bytes() == (files / "MgO.npz").read_bytes()


def test_encode_and_decode_give_the_density_of_the_bundle_back(capsys, files, folder, tmp_path):
    assert run(capsys, "encode", files / "MgO.npz", "-o", tmp_path / "latent.npz")[0] == 0
    assert run(capsys, "decode", tmp_path / "latent.npz", "-o", tmp_path / "CHGCAR")[0] == 0
    density = made_density()
    decoded = read_density(tmp_path / "CHGCAR")
    assert decoded.values.shape == density.values.shape
    assert decoded.n_electrons == 8
    np.testing.assert_allclose(decoded.lattice, density.lattice, atol=1e-8)
    np.testing.assert_array_equal(decoded.numbers, density.numbers)

    bundle = load_bundle(folder)
    record = bundle.encode_record(density, "MgO")
    with LatentDatabase(tmp_path / "latents.sqlite", writable=True) as database:
        database.append([record])
    name = tmp_path / "again.npz"
    assert run(capsys, "decode", tmp_path / "latents.sqlite", "--id", "MgO", "-o", name)[0] == 0
    np.testing.assert_allclose(read_npz(name).values, decoded.values, rtol=1e-4, atol=1e-6)
    code, _, errors = run(capsys, "decode", tmp_path / "latents.sqlite", "--id", "Fe", "-o", tmp_path / "x")
    assert (code, len(errors)) == (1, 1)
    assert "'Fe'" in errors[0]


@pytest.mark.parametrize(("name", "reason"), [("MgO.npz", "is not a latent"), ("none.npz", "does not exist")])
def test_what_is_no_latent_is_refused(capsys, files, tmp_path, name, reason):
    code, _, errors = run(capsys, "decode", files / name, "-o", tmp_path / "CHGCAR")
    assert (code, len(errors)) == (1, 1)
    assert name in errors[0]
    assert reason in errors[0]
    assert not (tmp_path / "CHGCAR").exists()


def test_bundles_are_found_by_option_variable_and_place(folder, tmp_path, monkeypatch):
    assert find_bundle() == folder
    assert find_bundle(str(tmp_path)) == tmp_path
    monkeypatch.delenv("RHO2PROP_BUNDLE")
    monkeypatch.chdir(tmp_path)
    assert find_bundle() == SHIPPED
    assert (SHIPPED / "manifest.json").is_file()
    shutil.copytree(folder, tmp_path / "results" / "models")
    assert find_bundle() == Path("results/models")  # that of the run here


def test_a_damaged_bundle_is_one_line(capsys, folder, files, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "bundle")
    (broken / "reference.npz").unlink()
    code, out, errors = run(capsys, "predict", files / "MgO.npz", "--bundle", broken)
    assert (code, out, len(errors)) == (1, "", 1)
    assert str(broken / "reference.npz") in errors[0]


def test_the_app_is_started_on_this_machine_only_unless_told(monkeypatch, tmp_path, folder):
    started = []
    module = types.ModuleType("rho2prop.app.main")
    module.run = started.append
    monkeypatch.setitem(sys.modules, "rho2prop.app.main", module)
    assert main(["app", "--port", "8123", "--base-path", "/rho", "--root", str(tmp_path), "--allow-host", "hpc"]) == 0
    (settings,) = started
    assert settings.host == "127.0.0.1"
    assert (settings.port, settings.base_path, settings.root) == (8123, "/rho", tmp_path)
    assert settings.bundle == folder
    assert (settings.max_upload_mb, settings.allowed_hosts) == (500, {"hpc"})


def test_the_module_runs_as_a_program(folder, tmp_path):
    command = [sys.executable, "-m", "rho2prop", "predict", str(tmp_path / "none.npz"), "--bundle", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "none.npz: " in result.stderr


def test_many_files_show_progress(capsys, files):
    copies = [files / "MgO.npz"] * 3
    main(["predict", *map(str, copies)])
    assert "3/3" in capsys.readouterr().err
