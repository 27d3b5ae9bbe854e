"""Training of networks: random search on the validation part; the model is the mean of the good trials."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rho2prop.core.errors import InputError
from rho2prop.core.targets import TARGETS
from rho2prop.features.crystal_graphs import CrystalGraph
from rho2prop.features.design_matrix import DesignMatrix
from rho2prop.models.estimator import Fitting, FoldData, Predictions
from rho2prop.models.settings import NetworkSettings, SearchRanges

EVALUATION_BATCH = 256
WEIGHT_DECAYS = (1e-6, 1e-2)
LARGEST_EXCESS = 0.5  # of the range of the training labels
LARGEST_LOSS_RATIO = 1.5  # of a trial's validation loss to that of the best: worse ones are left out of the mean


class Architecture(Protocol):
    """Kind of network: its name, and how it is built for given inputs."""

    architecture: ClassVar[str]

    @classmethod
    def build(cls, shape: dict) -> torch.nn.Module:
        """A network with the attribute ``config`` (a dataclass), its weights drawn from torch's current generator.

        ``shape``: fields of that dataclass, ``n_outputs`` among them.
        """

    @classmethod
    def shape(cls, inputs: "Inputs", trial: dict, settings: NetworkSettings) -> dict:
        """Configuration of the network for given inputs, the parameters of a trial and settings, but ``n_outputs``."""

    @staticmethod
    def as_input(graph: CrystalGraph) -> Any:
        """Graph in the form that the network reads, which ``to`` can move to a device."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of a network for some materials; None for inputs that it does not read."""

    latent: torch.Tensor | None
    tabular: torch.Tensor | None
    graphs: list | None

    @classmethod
    def of(cls, matrix: DesignMatrix, architecture: type[Architecture]) -> "Inputs":
        """Tensors of a design matrix, graphs as the architecture reads them."""
        latent = None if matrix.latent is None else torch.from_numpy(np.ascontiguousarray(matrix.latent)).float()
        tabular = torch.from_numpy(matrix.tabular).float() if matrix.tabular.shape[1] else None
        graphs = None if matrix.graphs is None else [architecture.as_input(graph) for graph in matrix.graphs]
        return cls(latent, tabular, graphs)

    def __len__(self) -> int:
        return len(next(part for part in (self.latent, self.tabular, self.graphs) if part is not None))

    def to(self, device: torch.device) -> "Inputs":
        """Copy on a device."""
        latent, tabular = (None if part is None else part.to(device) for part in (self.latent, self.tabular))
        return Inputs(latent, tabular, None if self.graphs is None else [graph.to(device) for graph in self.graphs])

    def rows(self, rows: torch.Tensor) -> tuple:
        """Arguments of a network for the chosen rows."""
        if self.graphs is not None:
            return ([self.graphs[row] for row in rows.tolist()],)
        return tuple(None if part is None else part[rows] for part in (self.latent, self.tabular))


Part = tuple[Inputs, torch.Tensor, torch.Tensor]  # inputs, scaled labels, which of them are known


class Ensemble(torch.nn.Module):
    """Mean of the outputs of networks of one architecture, shape (B, T)."""

    def __init__(self, members: list[torch.nn.Module]):
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, *inputs: Any) -> torch.Tensor:
        """Outputs, shape (B, T), for the arguments of one network."""
        return torch.stack([member(*inputs) for member in self.members]).mean(dim=0)

    def configs(self) -> list[Any]:
        """Configurations of the networks, dataclasses."""
        return [member.config for member in self.members]


@dataclass(frozen=True)
class TrainedNetwork:
    """Networks and the scaling of their mean output to physical units; ``minimum, span, is_log`` have shape (T,).

    Positive targets are learned as logarithms: no prediction of them is ever below zero, and none is farther outside
    the training labels than half of the range (of logarithms) that these span.
    """

    architecture: type[Architecture]
    network: Ensemble
    targets: list[str]
    minimum: np.ndarray
    span: np.ndarray
    is_log: np.ndarray
    record: dict

    def predict(self, matrix: DesignMatrix) -> dict[str, np.ndarray]:
        """Predictions by target, shape (N,), in its unit."""
        scaled = _forward(self.network, Inputs.of(matrix, self.architecture)).double().numpy()
        bounded = np.where(self.is_log, scaled.clip(-LARGEST_EXCESS, 1 + LARGEST_EXCESS), scaled)
        values = (bounded * self.span + self.minimum).T
        return {name: np.exp(x) if log else x for name, x, log in zip(self.targets, values, self.is_log, strict=True)}

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json``."""
        save_file(
            {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()},
            folder / "model.safetensors",
        )
        members = [asdict(config) for config in self.network.configs()]
        record = {"architecture": self.architecture.architecture, "members": members, "targets": self.targets}
        record |= {name: getattr(self, name).tolist() for name in ("minimum", "span", "is_log")}
        (folder / "model.json").write_text(json.dumps(record | self.record, indent=1))


def load_network(architecture: type[Architecture], folder: Path) -> TrainedNetwork:
    """Read the files that ``TrainedNetwork.save`` writes."""
    record = json.loads((folder / "model.json").read_text())
    found = record.pop("architecture")
    if found != architecture.architecture:
        problem = f"holds the network {found!r}, expected {architecture.architecture!r}"
        raise InputError(folder / "model.json", problem, "Delete the folder and fit again")
    network = Ensemble([architecture.build(shape) for shape in record.pop("members")]).eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    arrays = {name: np.array(record.pop(name)) for name in ("minimum", "span", "is_log")}
    return TrainedNetwork(architecture, network, record.pop("targets"), **arrays, record=record)


class NetworkModel:
    """Estimator base: one network for all targets. A subclass is an ``Architecture``."""

    architecture: ClassVar[str]

    def __init__(self, trained: TrainedNetwork | None = None):
        self._trained = trained

    @property
    def trained(self) -> TrainedNetwork:
        """The networks, once they are fitted or loaded."""
        if self._trained is None:
            raise RuntimeError(f"{self.architecture} is used before it was fitted or loaded")
        return self._trained

    def fit(self, data: FoldData, fitting: Fitting) -> Predictions:
        # The bar counts targets, the network learns all of them in each trial: whole steps that add up.
        ends = np.linspace(0, len(data.targets), fitting.settings.n_trials + 1).round().astype(int)
        steps = iter(np.diff(ends).tolist())
        self._trained = fit(
            self._kind(),
            data,
            fitting.settings,
            fitting.seed("network"),
            fitting.threads,
            lambda: fitting.advance(next(steps)),
        )
        return self.trained.predict(data.validation)

    def predict(self, matrix: DesignMatrix) -> Predictions:
        return self.trained.predict(matrix)

    def save(self, folder: Path) -> None:
        self.trained.save(folder)

    @classmethod
    def load(cls, folder: Path, targets: list[str]) -> Self:
        return cls(load_network(cls._kind(), folder))

    @classmethod
    def _kind(cls) -> type[Architecture]:
        return cast(type[Architecture], cls)  # each subclass has build, shape and, if it reads graphs, as_input


def masked_mse(prediction: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean squared error over known labels; other values of ``target`` (also NaN) have no effect.

    Parameters
    ----------
    prediction, target
        Shape (B, T).
    known
        Boolean, shape (B, T).
    """
    error = torch.where(known, prediction - torch.where(known, target, 0.0), 0.0)
    return error.square().sum() / known.sum().clamp(min=1)


def fit(
    architecture: type[Architecture],
    data: FoldData,
    settings: NetworkSettings,
    seed: int,
    threads: int,
    on_trial: Callable[[], None] = lambda: None,
) -> TrainedNetwork:
    """Random search; the model is the mean of the trials at their best weights, without a refit on validation rows.

    One search of a few trials may end badly, and nothing judges the one that predicts: the mean of its trials scatters
    less (L. K. Hansen, P. Salamon, IEEE Trans. Pattern Anal. Mach. Intell. 12, 993 (1990)). A trial whose validation
    loss exceeds that of the best by more than half is left out. Learning rates fall to zero along a cosine over
    all epochs that the settings allow (``NetworkSettings.epochs``).

    Parameters
    ----------
    architecture
        Kind of network.
    data
        Features and labels of the two parts. Rows without any label are left out.
    settings
        Budget and ranges of the search, fixed parts of the network.
    seed
        Seed of the search, the weights, the batches and dropout.
    threads
        CPU threads.
    on_trial
        Called after each trial.
    """
    torch.set_num_threads(threads)
    is_log = np.array([TARGETS[name].learns_logarithm for name in data.targets])
    train_targets, validation_targets = (_logarithms(labels.to_numpy(), is_log) for _, labels in data.parts)
    minimum = np.nanmin(train_targets, axis=0)
    span = np.nanmax(train_targets, axis=0) - minimum
    span = np.where(span > 0, span, 1.0)
    parts = []
    for matrix, labels in ((data.train, train_targets), (data.validation, validation_targets)):
        labelled = ~np.isnan(labels).all(axis=1)
        scaled = torch.from_numpy((labels[labelled] - minimum) / span).float()
        parts.append((Inputs.of(matrix.rows(labelled), architecture), scaled, ~torch.isnan(scaled)))
    if min(len(part[1]) for part in parts) < 2:
        raise InputError(
            "results/splits.csv",
            f"{len(parts[0][1])} training and {len(parts[1][1])} validation rows, 2 of each are needed",
            f"Add materials or take {architecture.architecture} out of evaluation.regressions",
        )
    rng = np.random.default_rng(seed)
    trials, networks = [], []
    for _ in range(settings.n_trials):
        trial = _draw_trial(rng, settings.ranges)
        loss, history, network = _train(architecture, trial, parts, settings)
        trials.append(trial | {"validation_loss": loss, "epochs": len(history), "history": history})
        networks.append(network)
        on_trial()
    largest = LARGEST_LOSS_RATIO * min(trial["validation_loss"] for trial in trials)
    for trial in trials:
        trial["is_member"] = trial["validation_loss"] <= largest
    ensemble = Ensemble([network for network, trial in zip(networks, trials, strict=True) if trial["is_member"]])
    inputs, scaled, known = parts[1]
    record = {"validation_loss": masked_mse(_forward(ensemble, inputs), scaled, known).item(), "trials": trials}
    return TrainedNetwork(architecture, ensemble.eval(), data.targets, minimum, span, is_log, record)


def _logarithms(values: np.ndarray, is_log: np.ndarray) -> np.ndarray:
    return np.where(is_log, np.log(np.where(is_log, values, 1.0)), values)


def _draw_trial(rng: np.random.Generator, ranges: SearchRanges) -> dict:
    def log_uniform(low: float, high: float) -> float:
        return float(math.exp(rng.uniform(math.log(low), math.log(high))))

    return {
        "head_depth": int(rng.integers(1, 4)),
        "head_width": int(rng.choice(ranges.head_widths)),
        "dropout": float(rng.uniform(*ranges.dropout)),
        "weight_decay": log_uniform(*WEIGHT_DECAYS),
        "optimiser": str(rng.choice(["Adam", "AdamW"])),
        "learning_rate": log_uniform(*ranges.learning_rate),
        "seed": int(rng.integers(2**31)),
    }


def _train(
    architecture: type[Architecture], trial: dict, parts: list[Part], settings: NetworkSettings
) -> tuple[float, list[float], torch.nn.Module]:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    # One device is enough for latents and graphs; with the environment named, Fabric starts no Slurm process group.
    fabric = Fabric(accelerator="auto", devices=1, plugins=[LightningEnvironment()])
    (inputs, targets, known), (other_inputs, other_targets, other_known) = (
        (inputs.to(fabric.device), targets.to(fabric.device), known.to(fabric.device))
        for inputs, targets, known in parts
    )
    shape = architecture.shape(inputs, trial, settings) | {"n_outputs": targets.shape[1]}
    with torch.random.fork_rng():
        torch.manual_seed(trial["seed"])
        network = architecture.build(shape)
        optimiser = getattr(torch.optim, trial["optimiser"])(
            network.parameters(), lr=trial["learning_rate"], weight_decay=trial["weight_decay"]
        )
        model, optimiser = fabric.setup(network, optimiser)
        n_batches, n_epochs = max(1, round(len(targets) / settings.batch_size)), settings.epochs(len(targets))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_epochs * n_batches)
        best_loss, best_weights, best_epoch, history = math.inf, None, 0, []
        for epoch in range(n_epochs):
            model.train()
            order = torch.randperm(len(targets)).to(targets.device)
            # Equal parts: a last batch of one row would have no variance to normalise by.
            for batch in torch.tensor_split(order, n_batches):
                optimiser.zero_grad()
                loss = masked_mse(model(*inputs.rows(batch)), targets[batch], known[batch])
                fabric.backward(loss)
                optimiser.step()
                schedule.step()
            validation_loss = masked_mse(_forward(model, other_inputs), other_targets, other_known).item()
            history.append(validation_loss)
            if validation_loss < best_loss:
                best_loss, best_epoch = validation_loss, epoch
                best_weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
            elif epoch - best_epoch >= settings.patience:
                break
    if best_weights is None:
        raise FloatingPointError(f"the validation loss was never finite in the trial {trial}")
    network = network.cpu()
    network.load_state_dict(best_weights)
    return best_loss, history, network.eval()


@torch.no_grad()
def _forward(network: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
    network.eval()
    batches = torch.arange(len(inputs)).split(EVALUATION_BATCH)
    return torch.cat([network(*inputs.rows(batch)) for batch in batches])
