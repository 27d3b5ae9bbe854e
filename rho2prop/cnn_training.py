"""Training of the attention CNN: random search on the validation part, one network for all targets."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rho2prop.blocks import DesignMatrix
from rho2prop.errors import InputError
from rho2prop.models.attention_cnn import AttentionCnn, AttentionCnnConfig

EVALUATION_BATCH = 256
HEAD_WIDTHS = (32, 64, 128)
LEARNING_RATES = (1e-3, 1e-2)
WEIGHT_DECAYS = (1e-6, 1e-2)
LARGEST_DROPOUT = 0.4


@dataclass(frozen=True)
class CnnSettings:
    """Section ``attention_cnn`` of the configuration."""

    n_trials: int
    max_epochs: int
    patience: int
    batch_size: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class TrainedCnn:
    """Network with what turns its outputs into physical units; ``minimum`` and ``span`` have shape (T,)."""

    network: AttentionCnn
    targets: list[str]
    minimum: np.ndarray
    span: np.ndarray
    record: dict

    def predict(self, matrix: DesignMatrix) -> dict[str, np.ndarray]:
        """Target to predictions, shape (N,), in the unit of the target."""
        scaled = _forward(self.network, *_tensors(matrix)).double().numpy()
        return {name: scaled[:, i] * self.span[i] + self.minimum[i] for i, name in enumerate(self.targets)}

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json``."""
        save_file(
            {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()},
            folder / "model.safetensors",
        )
        record = {
            "network": asdict(self.network.config),
            "targets": self.targets,
            "minimum": self.minimum.tolist(),
            "span": self.span.tolist(),
        }
        (folder / "model.json").write_text(json.dumps(record | self.record, indent=1))


def load_cnn(folder: Path) -> TrainedCnn:
    """Read what ``TrainedCnn.save`` wrote."""
    record = json.loads((folder / "model.json").read_text())
    shape = record.pop("network")
    network = AttentionCnn(AttentionCnnConfig(**shape | {"channels": tuple(shape["channels"])})).eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    minimum, span = np.array(record.pop("minimum")), np.array(record.pop("span"))
    return TrainedCnn(network, record.pop("targets"), minimum, span, record)


def masked_mse(prediction: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean squared error over known labels; what stands in ``target`` elsewhere (NaN too) has no effect.

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
    train: DesignMatrix,
    train_targets: np.ndarray,
    validation: DesignMatrix,
    validation_targets: np.ndarray,
    targets: list[str],
    settings: CnnSettings,
    seed: int,
    threads: int,
    on_trial: Callable[[], None] = lambda: None,
) -> TrainedCnn:
    """Random search; the best trial's best weights are the model, with no refit on the validation rows.

    Parameters
    ----------
    train, validation
        Features of the two parts.
    train_targets, validation_targets
        Labels in physical units, shape (N, T), NaN where unknown. Rows without any label are left out.
    targets
        Names of the T columns.
    settings
        Budget of the search and fixed parts of the network.
    seed
        Seed of the search, the weights, the batches and dropout.
    threads
        CPU threads.
    on_trial
        Called after each trial.
    """
    torch.set_num_threads(threads)
    minimum = np.nanmin(train_targets, axis=0)
    span = np.nanmax(train_targets, axis=0) - minimum
    span = np.where(span > 0, span, 1.0)
    parts = []
    for matrix, labels in ((train, train_targets), (validation, validation_targets)):
        labelled = ~np.isnan(labels).all(axis=1)
        scaled = torch.from_numpy((labels[labelled] - minimum) / span).float()
        parts.append((*_tensors(matrix.rows(labelled)), scaled, ~torch.isnan(scaled)))
    if min(len(part[2]) for part in parts) < 2:
        raise InputError(
            "results/splits.csv",
            f"{len(parts[0][2])} training and {len(parts[1][2])} validation rows, 2 of each are needed",
            "Add materials or take attention_cnn out of evaluation.regressions",
        )
    rng = np.random.default_rng(seed)
    best, trials = None, []
    for _ in range(settings.n_trials):
        trial = _draw_trial(rng)
        loss, weights, history, network = _train(trial, *parts, settings)
        trials.append(trial | {"validation_loss": loss, "epochs": len(history)})
        if best is None or loss < best[0]:
            best = (loss, weights, history, network, trial)
        on_trial()
    loss, weights, history, network, trial = best
    network.load_state_dict(weights)
    record = {"trial": trial, "validation_loss": loss, "trials": trials, "history": history}
    return TrainedCnn(network.eval(), list(targets), minimum, span, record)


def _draw_trial(rng: np.random.Generator) -> dict:
    def log_uniform(low: float, high: float) -> float:
        return float(math.exp(rng.uniform(math.log(low), math.log(high))))

    return {
        "head_depth": int(rng.integers(1, 4)),
        "head_width": int(rng.choice(HEAD_WIDTHS)),
        "dropout": float(rng.uniform(0, LARGEST_DROPOUT)),
        "weight_decay": log_uniform(*WEIGHT_DECAYS),
        "optimiser": str(rng.choice(["Adam", "AdamW"])),
        "learning_rate": log_uniform(*LEARNING_RATES),
        "seed": int(rng.integers(2**31)),
    }


def _train(
    trial: dict, train: tuple, validation: tuple, settings: CnnSettings
) -> tuple[float, dict, list, AttentionCnn]:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    # One device is enough for latents; with the environment named, Fabric starts no Slurm process group.
    fabric = Fabric(accelerator="auto", devices=1, plugins=[LightningEnvironment()])
    train, validation = ([fabric.to_device(x) if x is not None else None for x in part] for part in (train, validation))
    latent, tabular, targets, known = train
    with torch.random.fork_rng():
        torch.manual_seed(trial["seed"])
        network = AttentionCnn(
            AttentionCnnConfig(
                latent_channels=0 if latent is None else latent.shape[1],
                latent_size=0 if latent is None else latent.shape[2],
                n_tabular=0 if tabular is None else tabular.shape[1],
                n_outputs=targets.shape[1],
                channels=tuple(settings.channels),
                **{name: trial[name] for name in ("head_depth", "head_width", "dropout")},
            )
        )
        optimiser = getattr(torch.optim, trial["optimiser"])(
            network.parameters(), lr=trial["learning_rate"], weight_decay=trial["weight_decay"]
        )
        model, optimiser = fabric.setup(network, optimiser)
        n_batches = max(1, round(len(targets) / settings.batch_size))
        best_loss, best_weights, best_epoch, history = math.inf, None, 0, []
        for epoch in range(settings.max_epochs):
            model.train()
            order = torch.randperm(len(targets)).to(targets.device)
            # Equal parts: a last batch of one row would have no variance to normalise by.
            for batch in torch.tensor_split(order, n_batches):
                optimiser.zero_grad()
                loss = masked_mse(model(_pick(latent, batch), _pick(tabular, batch)), targets[batch], known[batch])
                fabric.backward(loss)
                optimiser.step()
            prediction = _forward(model, *validation[:2])
            loss = masked_mse(prediction, validation[2], validation[3]).item()
            history.append(loss)
            if loss < best_loss:
                best_loss, best_epoch = loss, epoch
                best_weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
            elif epoch - best_epoch >= settings.patience:
                break
    if best_weights is None:
        raise FloatingPointError(f"the validation loss was never finite in the trial {trial}")
    return best_loss, best_weights, history, network.cpu()


@torch.no_grad()
def _forward(network: torch.nn.Module, latent: torch.Tensor | None, tabular: torch.Tensor | None) -> torch.Tensor:
    network.eval()
    n_rows = len(tabular if latent is None else latent)
    batches = [slice(start, start + EVALUATION_BATCH) for start in range(0, n_rows, EVALUATION_BATCH)]
    return torch.cat([network(_pick(latent, batch), _pick(tabular, batch)) for batch in batches])


def _pick(tensor: torch.Tensor | None, rows) -> torch.Tensor | None:
    return None if tensor is None else tensor[rows]


def _tensors(matrix: DesignMatrix) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    latent = None if matrix.latent is None else torch.from_numpy(np.ascontiguousarray(matrix.latent)).float()
    tabular = torch.from_numpy(matrix.tabular).float() if matrix.tabular.shape[1] else None
    return latent, tabular
