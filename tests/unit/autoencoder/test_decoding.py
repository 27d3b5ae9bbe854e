import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from standins.refusals import lacking, refused
from standins.training import train_on

from rho2prop.autoencoder.decoding import (
    Decoder,
    autoencoder_sha256,
    decode_record,
    decode_with_factor,
    load_decoder,
    make_decoder,
    sampled_back,
    to_native,
)
from rho2prop.autoencoder.encoding import write_latents
from rho2prop.autoencoder.latent_database import LatentDatabase
from rho2prop.autoencoder.latent_record import make_record
from rho2prop.autoencoder.latent_writing import evaluate_database, write_database
from rho2prop.autoencoder.network import AutoencoderConfig, PixelShuffle3d, build_autoencoder
from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import read_npz, write_npz
from rho2prop.densities.grids import Grid, to_grid

pytestmark = pytest.mark.slow  # torch

WINDOW = Grid("window", 48, 0.15)


def nmae(found, expected):
    return np.abs(found - expected).sum() / np.abs(expected).sum()


def lossless(grid):
    """An autoencoder that only folds 2³ voxels into channels: what is lost is float16 and the sampling."""
    half = grid.size // 2
    unfold = PixelShuffle3d(2)
    network = SimpleNamespace(config=SimpleNamespace(latent_size=half), decoder=lambda latent: unfold(latent[:, :8]))
    return Decoder(network, grid, "fe" * 32)


def folded(density, grid, scale=1.0):
    half = grid.size // 2
    values = scale * to_grid(density, grid)
    latent = np.zeros((16, half, half, half), dtype=np.float32)
    latent[:8] = values.reshape(half, 2, half, 2, half, 2).transpose(1, 3, 5, 0, 2, 4).reshape(8, half, half, half)
    return make_record("m", density, latent, grid, "fe" * 32)


def test_a_window_goes_back_to_the_triclinic_cell(density):
    assert nmae(sampled_back(density, WINDOW, "m"), density.values) < 2e-3


def test_coarser_voxels_lose_more(density):
    errors = [nmae(sampled_back(density, Grid("window", n, 7.2 / n), "m"), density.values) for n in (48, 24, 16)]
    assert errors[0] < errors[1] < errors[2]


def test_the_images_of_a_point_average_noise_away(density):
    """A window of 7.05 Å holds 350 Å³, seven cells: the noise of the mean is well below that of a voxel."""
    noise = np.random.default_rng(0).normal(size=(48,) * 3)
    back = to_native(noise, density.lattice, density.values.shape, WINDOW, "m")
    assert back.std() < 0.45


def test_every_point_of_the_cell_gets_its_own_value(density):
    """A plane wave of the reciprocal lattice is periodic in the cell: its phase tells a shift or a swap of axes."""
    fractions = np.stack(np.meshgrid(*[np.arange(n) / n for n in density.values.shape], indexing="ij"))
    for wave in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 2)):
        values = 2 + np.sin(2 * np.pi * np.tensordot(wave, fractions, 1))
        back = sampled_back(replace(density, values=values), WINDOW, "m")
        np.testing.assert_allclose(back, values, atol=2e-2)  # a swap or shift of axes: 0.3 and more


def test_a_window_that_does_not_hold_the_cell_is_refused(density):
    with refused("3.15 Å", source="latent of m-1", code="window"):
        sampled_back(density, replace(WINDOW, size=22), "latent of m-1")


def test_the_padded_cube_gives_the_native_array_back(density):
    padded = Grid("padded", 32, 0.15)
    np.testing.assert_array_equal(sampled_back(density, padded, "m"), density.values.astype(np.float32))
    shrunk = sampled_back(density, replace(padded, size=24), "m")
    assert shrunk.shape == density.values.shape
    assert nmae(shrunk, density.values) < 5e-3


@pytest.mark.parametrize("grid", [WINDOW, Grid("padded", 32, 0.15)])
def test_a_latent_decodes_to_its_density_with_its_electrons(density, grid):
    found, factor = decode_with_factor(lossless(grid), folded(density, grid))
    assert found.integral() == pytest.approx(8.0, rel=1e-7)
    assert factor == pytest.approx(1.0, abs=1e-3)
    assert nmae(found.values, density.values) < 2e-3
    np.testing.assert_array_equal(found.numbers, density.numbers)
    np.testing.assert_array_equal(found.frac_coords, density.frac_coords)


def test_a_decoder_that_loses_charge_is_rescaled_and_says_so(density):
    found, factor = decode_with_factor(lossless(WINDOW), folded(density, WINDOW, scale=0.8))
    assert factor == pytest.approx(1.25, rel=1e-3)
    assert found.integral() == pytest.approx(8.0, rel=1e-7)
    assert "decoded by rho2prop from test 1.0" in found.engine
    assert f"{factor:.4f}" in found.engine


def test_a_decoded_density_is_never_negative_and_goes_into_a_chgcar(density, tmp_path):
    torch.manual_seed(0)
    grid = Grid("window", 32, 0.25)
    decoder = make_decoder(build_autoencoder(AutoencoderConfig("fast", 32, 4)), grid)
    latent = 3 * np.random.default_rng(0).normal(size=(16, 4, 4, 4))
    found = decode_record(decoder, make_record("m", density, latent, grid, decoder.sha256))
    assert found.values.min() >= 0
    assert found.integral() == pytest.approx(8.0, rel=1e-6)
    write_chgcar(found, tmp_path / "CHGCAR")
    assert "decoded by rho2prop" in (tmp_path / "CHGCAR").read_text().split("\n")[0]


def test_a_latent_of_another_autoencoder_grid_or_size_is_refused(density):
    record = folded(density, WINDOW)
    with refused("1" * 12):
        decode_record(lossless(WINDOW), replace(record, autoencoder_sha256="1" * 64))
    with refused("0.2"):
        decode_record(lossless(replace(WINDOW, voxel_ang=0.2)), record)
    with refused("(16, 12, 12, 12)", "24³"):
        decode_record(lossless(WINDOW), replace(record, latent=record.latent[:, :12, :12, :12]))
    with refused("0.0"):
        decode_record(lossless(WINDOW), replace(record, latent=-record.latent))


def test_the_digest_follows_the_weights_not_the_file(density):
    torch.manual_seed(1)
    model = build_autoencoder(AutoencoderConfig("fast", 32, 4))
    again = build_autoencoder(AutoencoderConfig("fast", 32, 4)).to(memory_format=torch.channels_last_3d)
    assert autoencoder_sha256(model) != autoencoder_sha256(again)
    again.encoder.load_state_dict(model.encoder.state_dict())
    again.decoder.load_state_dict(model.decoder.state_dict())
    assert autoencoder_sha256(model) == autoencoder_sha256(again)


GRID = Grid("window", 16, 0.45)
SETTINGS = TrainingSettings(
    network="fast", latent_size=4, dropout=0.0, orientations_per_epoch=1, batch_size=2,
    learning_rate=1e-3, max_epochs=1, patience=10, precision="fp32",
    grid_precision="fp32", devices=1, nodes=1, threads=1,
)  # fmt: skip


@pytest.fixture
def run(density, tmp_path):
    """Five densities, an autoencoder trained on three, and latents that are easy to tell apart."""
    densities = {}
    for n, scale in enumerate(np.linspace(0.9, 1.0, 5)):
        densities[f"m{n}"] = tmp_path / f"m{n}.npz"
        squeezed = replace(density, values=density.values / scale**3, lattice=density.lattice * scale)
        write_npz(squeezed, densities[f"m{n}"])
    split = dict(zip(densities, ("train", "train", "validation", "test", "train"), strict=True))
    train_on(list(densities.items()), split, SETTINGS, GRID, tmp_path / "autoencoder", seed=0)
    latents = np.random.default_rng(0).normal(size=(5, 16, 4, 4, 4)).astype(np.float16)
    write_latents(tmp_path / "all.npz", list(densities), latents, latents)
    return SimpleNamespace(folder=tmp_path, densities=densities, latents=latents, path=tmp_path / "latents.sqlite")


def test_the_workflows_database_is_brought_up_to_date(run):
    """Densities of kept rows are not read again and may be damaged; a changed latent, a new and a dropped material."""
    autoencoder = run.folder / "autoencoder"
    write_database(run.path, [run.folder / "all.npz"], run.densities, autoencoder)
    with LatentDatabase(run.path) as database:
        assert database.material_ids() == ["m0", "m1", "m2", "m3", "m4"]
        np.testing.assert_array_equal(database.get("m3").latent, run.latents[3])
    with np.load(run.densities["m0"]) as archive:
        arrays = dict(archive)
    np.savez(run.densities["m0"], **arrays | {"density": np.nan * arrays["density"]})
    changed = run.latents[:4].copy()
    changed[3] += 1
    write_latents(run.folder / "all.npz", ["m0", "m1", "m2", "m3"], changed, changed)
    write_latents(run.folder / "new.npz", ["n1"], run.latents[4:], run.latents[4:])
    run.densities["n1"] = run.densities["m4"]
    write_database(run.path, [run.folder / "all.npz", run.folder / "new.npz"], run.densities, autoencoder)
    with LatentDatabase(run.path) as database:
        assert database.material_ids() == ["m0", "m1", "m2", "m3", "n1"]
        np.testing.assert_array_equal(database.get("m3").latent, changed[3])
        np.testing.assert_array_equal(database.get("n1").latent, run.latents[4])


def test_a_row_whose_crystal_or_grid_changed_is_written_again_though_its_latent_is_the_same(run, density):
    autoencoder = run.folder / "autoencoder"
    write_database(run.path, [run.folder / "all.npz"], run.densities, autoencoder)
    shear = np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # of the same volume
    write_npz(replace(density, lattice=density.lattice @ shear), run.densities["m1"])
    write_npz(replace(density, values=density.values.repeat(2, axis=0)), run.densities["m2"])
    write_npz(replace(density, engine="other 2.0"), run.densities["m3"])
    write_database(run.path, [run.folder / "all.npz"], run.densities, autoencoder)
    with LatentDatabase(run.path) as database:
        np.testing.assert_array_equal(database.get("m1").lattice, density.lattice @ shear)
        assert database.get("m2").shape == (2 * density.values.shape[0], *density.values.shape[1:])
        assert database.get("m3").engine == "other 2.0"


def test_a_failed_update_leaves_the_old_database(run):
    write_database(run.path, [run.folder / "all.npz"], run.densities, run.folder / "autoencoder")
    before = run.path.read_bytes()
    write_latents(run.folder / "all.npz", list(run.densities), run.latents + 1, run.latents)
    run.densities["m4"].unlink()
    with refused(source="m4.npz"):
        write_database(run.path, [run.folder / "all.npz"], run.densities, run.folder / "autoencoder")
    assert run.path.read_bytes() == before
    assert not list(run.folder.glob(".partial*"))
    with refused("'m1'", source="all.npz"):
        write_database(run.path, [run.folder / "all.npz"], {"m0": run.densities["m0"]}, run.folder / "autoencoder")


def test_a_damaged_database_is_written_anew(run, capsys):
    run.path.write_bytes(b"SQLite format 3\0" + bytes(3000))
    write_database(run.path, [run.folder / "all.npz"], run.densities, run.folder / "autoencoder")
    assert not lacking(capsys.readouterr().err, str(run.path))
    with LatentDatabase(run.path) as database:
        assert len(database) == 5


def test_sizes_and_errors_are_measured(run):
    write_database(run.path, [run.folder / "all.npz"], run.densities, run.folder / "autoencoder")
    table = evaluate_database(run.path, run.densities, run.folder / "autoencoder").set_index("material_id")
    assert table["part"].to_dict() == dict(m0="train", m1="train", m2="validation", m3="test", m4="train")
    assert table["nmae"].notna().tolist() == [False, False, False, True, False]  # no part in the network
    assert table.loc["m3", "bytes_database"] == pytest.approx(run.path.stat().st_size / 5, abs=0.5)
    density = read_npz(run.densities["m3"])
    write_chgcar(density, run.folder / "CHGCAR")
    assert table.loc["m3", "bytes_chgcar"] == (run.folder / "CHGCAR").stat().st_size
    decoder = load_decoder(run.folder / "autoencoder")
    with LatentDatabase(run.path) as database:
        decoded, factor = decode_with_factor(decoder, database.get("m3"))
    assert table.loc["m3", "nmae"] == pytest.approx(nmae(decoded.values, density.values), rel=1e-5)
    assert table.loc["m3", "electron_factor"] == pytest.approx(factor)
    assert 0 < table.loc["m3", "nmae_window"] < 0.2 < table.loc["m3", "nmae"]


def test_a_material_that_cannot_be_decoded_has_its_reason_in_the_table(run):
    write_database(run.path, [run.folder / "all.npz"], run.densities, run.folder / "autoencoder")
    connection = sqlite3.connect(run.path)
    lattice = "[[30.0, 0, 0], [0, 30.0, 0], [0, 0, 30.0]]"
    connection.execute("UPDATE materials SET lattice = ? WHERE material_id = 'm3'", [lattice])
    connection.commit()
    connection.close()
    row = evaluate_database(run.path, run.densities, run.folder / "autoencoder").set_index("material_id").loc["m3"]
    assert "the window is a cube of 6.75 Å" in row["reason"]
    assert np.isnan(row["nmae"])
