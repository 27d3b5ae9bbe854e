"""Graph network on crystal graphs: ALIGNN's pure-torch model without its layers on angles.

What is left are edge-gated convolutions on bonds, as in CGCNN (K. Choudhary, B. DeCost, npj Comput. Mater. 7, 185
(2021)). Needs the extra ``requirements-graph.txt``.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import nn

from rho2prop.core.errors import InputError
from rho2prop.features.crystal_graphs import CrystalGraph
from rho2prop.models.network_training import Inputs, NetworkModel
from rho2prop.models.settings import NetworkSettings

try:
    from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
    from alignn.torch_graph_builder import TorchGraph, batch_torch_graphs
    from jarvis.core.specie import get_node_attributes
except ImportError as error:
    raise InputError(
        "evaluation.regressions",
        f"graph_network needs the package alignn, which is not installed ({error})",
        "Install the extra: .venv/bin/pip install -r requirements-graph.txt",
    ) from error


@dataclass(frozen=True)
class GraphNetworkConfig:
    """Shape of the network: features of atoms and bonds, and convolutions."""

    n_outputs: int
    width: int
    layers: int


class GraphNetwork(nn.Module):
    """Crystal graphs to ``n_outputs`` targets (scaled to the unit interval): mean over atoms, one linear layer."""

    def __init__(self, config: GraphNetworkConfig):
        super().__init__()
        self.config = config
        self.alignn = ALIGNNAtomWisePure(
            ALIGNNAtomWisePureConfig(
                name="alignn_atomwise_pure",
                alignn_layers=0,
                gcn_layers=config.layers,
                atom_input_features=_atom_features(1).size,
                hidden_features=config.width,
                embedding_features=config.width,
                output_features=config.n_outputs,
                calculate_gradient=False,
                use_penalty=False,
                energy_mult_natoms=False,
            )
        )

    def forward(self, graphs: list[TorchGraph]) -> torch.Tensor:
        """Graphs (B,) to (B, T)."""
        batch = batch_torch_graphs(graphs)
        unread = batch  # in the place of the line graph: there is no layer on angles
        return self.alignn((batch, unread, None))["out"].reshape(len(graphs), self.config.n_outputs)


def as_torch(graph: CrystalGraph) -> TorchGraph:
    """Graph in the form that the network reads, with the 92 element properties of CGCNN."""
    features = np.stack([_atom_features(int(number)) for number in graph.numbers])
    return TorchGraph(
        num_nodes=len(graph.numbers),
        src=torch.from_numpy(graph.starts.astype(np.int64)),
        dst=torch.from_numpy(graph.ends.astype(np.int64)),
        ndata={"atom_features": torch.from_numpy(features)},
        edata={"r": torch.from_numpy(graph.vectors)},
    )


@cache
def _atom_features(number: int) -> np.ndarray:
    return np.asarray(get_node_attributes(chemical_symbols[number], atom_features="cgcnn"), dtype=np.float32)


class GraphNetworkModel(NetworkModel):
    """Estimator of the graph network."""

    architecture = "graph_network"

    @classmethod
    def build(cls, shape: dict) -> nn.Module:
        return GraphNetwork(GraphNetworkConfig(**shape))

    @classmethod
    def shape(cls, inputs: Inputs, trial: dict, settings: NetworkSettings) -> dict:
        return settings.shape

    @staticmethod
    def as_input(graph: CrystalGraph) -> TorchGraph:
        return as_torch(graph)
