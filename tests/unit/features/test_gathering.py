"""Chunks of features, joined, are the file that one job for all materials would write."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from standins.refusals import refused

from rho2prop.core.jobs.chunks import chunks_of
from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.density import write_npz
from rho2prop.densities.stored_structure import stored_structure
from rho2prop.features import description
from rho2prop.features.block_files import write_block
from rho2prop.features.crystal_graphs import crystal_graph, read_graphs, write_graphs
from rho2prop.features.description import block_tables
from rho2prop.features.gathering import gather
from rho2prop.materials.collection import converged

NAMES = [f"m-{number}" for number in (3, 1, 4, 15, 9, 2, 6)]
CHUNKS = [list(chunk) for chunk in chunks_of(tuple(NAMES), 3).values()]


@pytest.fixture
def paths(density, tmp_path) -> dict[str, Path]:
    """Densities in cells of different sizes."""
    folders = []
    for number, name in enumerate(NAMES):
        scale = 1 + number / 50
        folders.append(tmp_path / "dft" / name)
        folders[-1].mkdir(parents=True)
        cell = replace(density, values=density.values / scale**3, lattice=density.lattice * scale)
        write_npz(cell, folders[-1] / "density.npz")
    (tmp_path / "dft/failed").mkdir()
    return dict(converged([*map(str, folders), str(tmp_path / "dft/failed")]))


def test_a_material_without_a_density_has_no_features(paths):
    assert list(paths) == NAMES


@pytest.mark.parametrize("block", ["structure", "magpie", "fingerprint"])
def test_a_table_from_chunks_is_byte_by_byte_that_of_one_job(paths, tmp_path, block):
    write_block(block_tables(list(paths.items()), [block])[block], tmp_path / "expected.csv")
    parts = [tmp_path / f"{number}.csv" for number in range(len(CHUNKS) + 1)]
    for part, chunk in zip(parts, [*CHUNKS, []], strict=True):  # in the last one nothing converged
        write_block(block_tables([(name, paths[name]) for name in chunk], [block])[block], part)
    gather(list(map(str, parts)), NAMES, str(tmp_path / f"{block}.csv"))
    assert (tmp_path / f"{block}.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_graphs_from_chunks_are_those_of_one_job(paths, tmp_path):
    graphs = {name: crystal_graph(stored_structure(path)) for name, path in paths.items()}
    write_graphs(graphs, tmp_path / "expected.npz")
    parts = [str(tmp_path / f"{number}.npz") for number in range(len(CHUNKS) + 1)]
    for part, chunk in zip(parts, [*CHUNKS, []], strict=True):
        write_graphs({name: graphs[name] for name in chunk}, part)
    gather(parts, NAMES, str(tmp_path / "graph.npz"))
    found, expected = read_graphs(tmp_path / "graph.npz"), read_graphs(tmp_path / "expected.npz")
    assert list(found) == list(expected) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(found[name].vectors, expected[name].vectors)


def test_latents_from_chunks_are_those_of_one_job_in_its_order(tmp_path):
    values = np.random.default_rng(0).normal(size=(len(NAMES), 4, 2, 2, 2)).astype(np.float16)
    row = {name: number for number, name in enumerate(NAMES)}
    parts = []
    for number, chunk in enumerate([*CHUNKS, []]):
        rows = [row[name] for name in chunk]
        parts.append(str(tmp_path / f"{number}.npz"))
        np.savez(parts[-1], material_ids=np.array(chunk, dtype=str), latents=values[rows], averaged=-values[rows])
    gather(parts, NAMES, str(tmp_path / "all.npz"))
    with np.load(tmp_path / "all.npz") as found:
        assert list(found["material_ids"]) == NAMES
        np.testing.assert_array_equal(found["latents"], values)
        np.testing.assert_array_equal(found["averaged"], -values)
        assert found["latents"].dtype == np.float16


@pytest.mark.parametrize("name", ["all.npz", "structure.csv"])
def test_a_material_that_no_chunk_has_is_refused_and_nothing_is_written(paths, tmp_path, name):
    part = str(tmp_path / f"part{Path(name).suffix}")
    if name.endswith("npz"):
        np.savez(part, material_ids=np.array(NAMES), latents=np.zeros((len(NAMES), 1)))
    else:
        write_block(block_tables(list(paths.items()), ["structure"])["structure"], part)
    with refused("lost", code="missing"):
        gather([part], [*NAMES, "lost"], str(tmp_path / name))
    assert not (tmp_path / name).exists()


def test_lattice_and_atoms_are_read_without_the_grid(paths, density, monkeypatch):
    path = paths[NAMES[0]]
    assert stored_structure(path) == structure_from_density(density)
    monkeypatch.setattr(description, "read_npz", None)  # calling it would fail
    assert len(block_tables([("a", path)], ["structure", "magpie"])["structure"]) == 1
    with pytest.raises(TypeError):
        block_tables([("a", path)], ["fingerprint"])


def test_a_density_file_that_is_cut_off_is_refused(paths):
    path = paths[NAMES[0]]
    path.write_bytes(path.read_bytes()[:-50])
    with refused(path, code="unreadable"):
        stored_structure(path)
