"""Crystal graphs against known coordination shells, and the graph network's invariances."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from standins.crystals import face_centred_cubic, rock_salt
from standins.networks import graph_network_section
from standins.refusals import refused

from rho2prop.features.crystal_graphs import crystal_graph, read_graphs, write_graphs
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.estimator import FoldData, estimator_class
from rho2prop.models.network_training import fit, load_network
from rho2prop.models.settings import GraphNetworkSettings

pytestmark = pytest.mark.slow

SETTINGS = GraphNetworkSettings(
    **graph_network_section(n_trials=1, max_epochs=30, patience=30, batch_size=8, width=16, layers=2)
)


def lengths(graph):
    return np.linalg.norm(graph.vectors, axis=1)


def test_copper_has_its_twelve_neighbours():
    copper = face_centred_cubic(3.6, "Cu").get_primitive_structure()
    graph = crystal_graph(copper)
    np.testing.assert_allclose(lengths(graph), np.full(12, 3.6 / np.sqrt(2)), rtol=1e-5)
    np.testing.assert_allclose(graph.vectors.sum(axis=0), 0, atol=1e-5)


def test_a_shell_counts_whole_or_not_at_all():
    graph = crystal_graph(rock_salt().get_primitive_structure())  # 6 + 12: the twelfth neighbour is one of twelve
    found, counts = np.unique(lengths(graph).round(3), return_counts=True)
    np.testing.assert_allclose(found, [2.1, 4.2 / np.sqrt(2)], atol=1e-3)
    assert counts.tolist() == [2 * 6, 2 * 12]


def test_an_atom_far_from_all_others_keeps_a_neighbour():
    graph = crystal_graph(Structure(Lattice.cubic(15.0), ["He"], [[0, 0, 0]]))
    np.testing.assert_allclose(lengths(graph), 15.0, rtol=1e-6)


def test_graphs_round_trip(tmp_path):
    graphs = {"007": crystal_graph(rock_salt()), "NaN": crystal_graph(rock_salt(5.6, ("Na", "Cl")))}
    write_graphs(graphs, tmp_path / "graph.npz")
    again = read_graphs(tmp_path / "graph.npz")
    assert list(again) == ["007", "NaN"]
    for name, graph in graphs.items():
        for array in ("numbers", "starts", "ends", "vectors"):
            np.testing.assert_array_equal(getattr(again[name], array), getattr(graph, array))
    (tmp_path / "graph.npz").write_bytes((tmp_path / "graph.npz").read_bytes()[:200])
    with refused(source="graph.npz"):
        read_graphs(tmp_path / "graph.npz")


def matrix(graphs):
    return DesignMatrix(np.empty((len(graphs), 0)), [], None, graphs)


@pytest.fixture(scope="module")
def trained():
    """The label falls with the bond length: the network must read lengths, not only elements."""
    rng = np.random.default_rng(0)
    edges = rng.uniform(3.9, 6.0, 50)
    graphs = [crystal_graph(rock_salt(a).get_primitive_structure()) for a in edges]
    labels = 2000 / edges**2
    tables = [pd.DataFrame({"bulk_modulus_gpa": values}) for values in (labels[:35], labels[35:])]
    data = FoldData(matrix(graphs[:35]), tables[0], matrix(graphs[35:]), tables[1])
    return fit(estimator_class("graph_network"), data, SETTINGS, seed=3, threads=1), data


def test_it_learns_from_bond_lengths_and_is_positive(trained, tmp_path):
    network, data = trained
    unseen, labels = data.validation, data.validation_labels["bulk_modulus_gpa"].to_numpy()
    predicted = network.predict(unseen)["bulk_modulus_gpa"]
    assert 1 - np.var(predicted - labels) / np.var(labels) > 0.9
    assert (predicted > 0).all()
    network.save(tmp_path)
    again = load_network(network.architecture, tmp_path).predict(unseen)
    np.testing.assert_array_equal(again["bulk_modulus_gpa"], predicted)


def test_no_description_of_the_crystal_changes_its_prediction(trained):
    primitive = rock_salt(4.7).get_primitive_structure()
    turned = primitive.copy()
    turned.apply_operation(primitive.lattice.get_recp_symmetry_operation()[3])
    moved = primitive.copy().translate_sites([0, 1], [0.13, 0.4, 0.77])
    others = [rock_salt(4.7), primitive * (1, 2, 3), turned, moved, Structure.from_sites(primitive.sites[::-1])]
    graphs = [crystal_graph(one) for one in (primitive, *others)]
    predicted = trained[0].predict(matrix(graphs))["bulk_modulus_gpa"]
    np.testing.assert_allclose(predicted, predicted[0], rtol=1e-5)
