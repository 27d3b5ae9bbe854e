"""Names, paths and sizes that a stranger chooses."""

import bz2
import gzip
import io
import lzma
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from standins.refusals import refused

from rho2prop.app.settings import Settings, check_settings, path_below, safe_name
from rho2prop.app.unpacking import unpack
from rho2prop.core.errors import InputError

LIMIT_BYTES = 100_000


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("CHGCAR", "CHGCAR"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\CHGCAR.gz", "CHGCAR.gz"),
        (".bashrc", "unnamed.bashrc"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a\0b\n<script>.npz", "a_b_script_.npz"),
        ("dichte μ.cube", "dichte_μ.cube"),
        ("πυκνότητα.cube.gz", "πυκνότητα.cube.gz"),
        ("密度 1.npz", "密度_1.npz"),
        ("密" * 300 + ".cube", "密" * 31 + ".cube"),
        ("плотность CHGCAR", "плотность_CHGCAR"),
        ("u\u0308ber.cube", "über.cube"),  # as macOS spells it
        ("😀.npz", "unnamed.npz"),
        ("  .cube", "unnamed.cube"),
        ("\x1b[31m\u202egnp.npz", "31m_gnp.npz"),
        ("...", "unnamed"),
        ("x" * 300 + ".cube", "x" * 95 + ".cube"),
    ],
)
def test_a_file_name_is_never_a_path_nor_hidden(given, kept):
    assert safe_name(given) == kept
    assert safe_name(kept) == kept  # or a file could not be asked for by its name
    assert len(kept.encode()) <= 100


@pytest.mark.parametrize("text", ["../secret.npz", "link.npz", "/etc/passwd", "loop", "", " ", ".", "a\0b", "none.npz"])
def test_no_file_outside_the_root_can_be_named(tmp_path, text):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.npz").write_text("x")
    (root / "link.npz").symlink_to(tmp_path / "secret.npz")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(InputError) as error:
        path_below(root.resolve(), text, LIMIT_BYTES)
    told = str(error.value).replace(text, "") if text.strip() else str(error.value)
    assert "secret" not in told  # neither the content nor where the link leads
    assert str(tmp_path) not in told


def test_files_below_the_root_are_found_through_links_that_stay_there(tmp_path):
    root = tmp_path.resolve()
    (root / "a").mkdir()
    (root / "a" / "CHGCAR").write_text("x")
    (root / "link").symlink_to(root / "a")
    assert path_below(root, "link/CHGCAR", LIMIT_BYTES) == root / "a" / "CHGCAR"
    assert path_below(root, str(root / "a" / "CHGCAR"), LIMIT_BYTES) == root / "a" / "CHGCAR"
    with refused(source="CHGCAR"):
        path_below(root, "a/CHGCAR", 0)
    with refused("--root"):
        path_below(None, "a/CHGCAR", LIMIT_BYTES)


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_bomb_is_refused_and_leaves_nothing(tmp_path, suffix, compress):
    bomb = tmp_path / f"CHGCAR.{suffix}"
    bomb.write_bytes(compress(bytes(50 * LIMIT_BYTES)))
    assert bomb.stat().st_size < LIMIT_BYTES / 10
    with refused("0.1 MB", source=bomb.name):
        unpack(bomb, tmp_path, LIMIT_BYTES, print)
    assert list(tmp_path.iterdir()) == [bomb]


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_compressed_file_comes_back_as_it_was_and_a_cut_one_is_refused(tmp_path, suffix, compress):
    content = np.random.default_rng(0).bytes(5000)
    path = tmp_path / f"CHGCAR.{suffix}"
    path.write_bytes(compress(content))
    assert unpack(path, tmp_path, LIMIT_BYTES, print).read_bytes() == content
    path.write_bytes(compress(content)[:-200])
    (tmp_path / "unpacked-CHGCAR").unlink()
    with refused(source=path.name):
        unpack(path, tmp_path, LIMIT_BYTES, print)
    assert list(tmp_path.iterdir()) == [path]


def test_an_npz_bomb_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, density=np.zeros(LIMIT_BYTES))
    with refused("MB", source="bomb.npz"):
        unpack(path, tmp_path, LIMIT_BYTES, print)


def test_an_npz_whose_header_lies_about_its_array_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("density.npy", header.getvalue())
    with refused("MB", source="lie.npz"):
        unpack(tmp_path / "lie.npz", tmp_path, LIMIT_BYTES, print)


@pytest.mark.parametrize(
    ("change", "datum"),
    [
        ({"base_path": "/a b"}, "/a b"),
        ({"base_path": "/a/../b?"}, "/a/../b?"),
        ({"port": 70000}, "70000"),
        ({"max_upload_mb": 0}, "0"),
        ({"root": Path("/nonexistent")}, "/nonexistent"),
        ({"allowed_hosts": frozenset({"https://tools.example.org"})}, "https://tools.example.org"),
        ({"bundle": Path("/nonexistent")}, "/nonexistent"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_served(bundle, tmp_path, change, datum):
    good = Settings(Path(bundle), Path("x"), Path("y"), port=0, base_path="/a/b/", root=tmp_path)
    assert check_settings(good).base_path == "/a/b"
    with refused(datum):
        check_settings(replace(good, **change))
