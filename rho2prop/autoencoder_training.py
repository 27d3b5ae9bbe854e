"""Training of the autoencoder: one loop, a checkpoint each epoch, resume equal to the straight run."""

import hashlib
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from rho2prop.atomic import atomic
from rho2prop.density import read_npz
from rho2prop.errors import InputError
from rho2prop.fields import TOTAL, field_of, take_field
from rho2prop.grids import ORIENTATIONS, rotate, to_grid
from rho2prop.models.autoencoder import Autoencoder, AutoencoderConfig, build_autoencoder
from rho2prop.splits import read_splits
from rho2prop.training_ranks import started_ranks

CHECKPOINT = "checkpoint.safetensors"
MEMORY_SHARE = 0.6  # of the free memory that the grids may take


def scope_split(scope: str, ids: list[str], splits_path: str | None, seed: int) -> dict[str, str]:
    """Part of each material for the autoencoder of a scope.

    Scope ``all``: 80 % train, 10 % validation, 10 % test at random. ``<split>-<fold>``: the parts of that fold. A
    field before it (``difference-all``) changes nothing.
    """
    _, scope = field_of(scope)
    if scope == "all":
        return split_80_10_10(ids, seed)
    split, fold = scope.split("-")
    splits = read_splits(splits_path)
    rows = splits[(splits["split"] == split) & (splits["fold"] == fold)]
    return dict(zip(rows["material_id"], rows["part"], strict=True))


def split_80_10_10(ids: list[str], seed: int) -> dict[str, str]:
    """Draw 80 % train, 10 % validation, 10 % test; the order of ``ids`` does not matter."""
    if len(ids) < 3:
        raise InputError("results/materials.csv", f"only {len(ids)} densities", "The autoencoder needs at least 3")
    shuffled = np.random.default_rng(seed).permutation(sorted(ids))
    n_held_out = max(1, round(0.1 * len(ids)))
    parts = ["validation"] * n_held_out + ["test"] * n_held_out + ["train"] * (len(ids) - 2 * n_held_out)
    return dict(zip(map(str, shuffled), parts, strict=True))


def train(
    paths: list[tuple[str, Path]],
    split: dict[str, str],
    settings: dict,
    grid: dict,
    out_dir: Path | str,
    work_dir: Path | str,
    seed: int,
    threads: int = 1,
    field: str = TOTAL,
) -> None:
    """Train an autoencoder and write its folder.

    Parameters
    ----------
    paths
        Material ids and density files.
    split
        Part (train, validation, test) of each material; test densities are not read.
    settings, grid
        Sections ``autoencoder`` and ``grid`` of the configuration.
    out_dir
        Folder for ``model.safetensors``, ``model.json``, ``history.csv``, ``split.csv``.
    work_dir
        Folder of the checkpoint; a training that was interrupted goes on from there.
    seed
        Seed of weights, order, orientations and dropout.
    threads
        CPU threads.
    field
        Which field of the densities (``rho2prop.fields``).

    Notes
    -----
    Adam on the mean squared error of unscaled densities; the learning rate falls to 1 % along a cosine over
    ``max_epochs``; the weights of the best validation loss are kept.
    """
    torch.set_num_threads(threads)
    several = started_ranks() > 1  # this process is one rank of devices × nodes
    fabric = Fabric(
        accelerator="auto",
        devices=settings["devices"] if several else 1,
        num_nodes=settings["nodes"] if several else 1,
        precision=_precision(settings["precision"]),
        plugins=[] if several else [LightningEnvironment()],  # one process in a Slurm job: no process group
    )
    fabric.launch()
    config = AutoencoderConfig(settings["network"], grid["size"], settings["latent_size"], settings["dropout"])
    parts = {part: [pair for pair in paths if split[pair[0]] == part] for part in ("train", "validation")}
    grids = {part: load_grids(pairs, grid, field) for part, pairs in parts.items()}

    torch.manual_seed(seed)
    model = build_autoencoder(config).to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"])
    model, optimizer = fabric.setup(model, optimizer)
    digest = _digest(settings, field, grid, split, seed)
    state = _resume(Path(work_dir) / CHECKPOINT, digest, model, optimizer)

    todo = range(len(state["history"]), settings["max_epochs"])
    epochs = tqdm(todo, desc="autoencoder", unit="epoch", disable=not fabric.is_global_zero)
    for epoch in epochs:
        if state["stale_epochs"] >= settings["patience"]:
            break
        started = time.perf_counter()
        learning_rate = _learning_rate(settings, epoch)
        optimizer.param_groups[0]["lr"] = learning_rate
        torch.manual_seed(_epoch_seed(seed, epoch))  # dropout: the same whether resumed or not
        batches = _plan(len(grids["train"]), settings, fabric.world_size, fabric.global_rank, (seed, epoch))
        train_loss = _train_epoch(fabric, model, optimizer, grids["train"], batches)
        validation_loss = _validate(fabric, model, grids["validation"], settings["batch_size"])
        state["history"].append(
            {
                "epoch": epoch + 1,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "seconds": round(time.perf_counter() - started, 2),
                "learning_rate": learning_rate,
            }
        )
        if validation_loss < state["best_loss"]:
            state |= {"best_loss": validation_loss, "stale_epochs": 0}
            state["best"] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        else:
            state["stale_epochs"] += 1
        epochs.set_postfix(train=f"{train_loss:.2e}", validation=f"{validation_loss:.2e}")
        if fabric.is_global_zero:
            _save_checkpoint(Path(work_dir) / CHECKPOINT, digest, model, optimizer, state)
    fabric.barrier()
    if fabric.is_global_zero:
        _write_result(Path(out_dir), config, state, settings, field, grid, split, seed)


def load_grids(paths: list[tuple[str, Path]], grid: dict, field: str = TOTAL) -> torch.Tensor:
    """Grids of a field of many densities, shape (B, 1, D, H, W), float32 or, where memory is short, bfloat16."""
    n_values = len(paths) * grid["size"] ** 3
    free_bytes = MEMORY_SHARE * psutil.virtual_memory().available
    dtype = torch.float32 if 4 * n_values <= free_bytes else torch.bfloat16
    if 2 * n_values > free_bytes:
        raise InputError(
            "grid.size",
            f"{len(paths)} grids of {grid['size']}³ need {2 * n_values / 1e9:.0f} GB even in bf16, "
            f"{free_bytes / 1e9:.0f} GB are free",
            "Use a smaller grid.size or a machine with more memory",
        )
    grids = torch.empty((len(paths), 1, *(grid["size"],) * 3), dtype=dtype)
    for row, (_, path) in enumerate(tqdm(paths, desc="grids", unit="density")):
        values = to_grid(take_field(read_npz(path), field, str(path)), **grid)
        grids[row, 0] = torch.from_numpy(values)
    return grids


def _precision(wanted: str) -> str:
    if wanted == "auto":
        on_gpu = torch.cuda.is_available()
        faster = torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_avx512_bf16_supported()
        wanted = "bf16" if faster else "fp32"
    return {"bf16": "bf16-mixed", "fp32": "32-true"}[wanted]


def _learning_rate(settings: dict, epoch: int) -> float:
    fallen = 0.5 * (1 - math.cos(math.pi * epoch / settings["max_epochs"]))
    return settings["learning_rate"] * (1 - 0.99 * fallen)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.default_rng((seed, epoch, 1)).integers(2**62))


def _plan(n_grids: int, settings: dict, world_size: int, rank: int, seed: tuple[int, int]) -> list[np.ndarray]:
    """Batches of (grid, orientation) of one epoch and rank; each batch has one orientation."""
    rng = np.random.default_rng(seed)
    n_orientations, batch_size = settings["orientations_per_epoch"], settings["batch_size"]
    drawn = np.stack([rng.permutation(len(ORIENTATIONS))[:n_orientations] for _ in range(n_grids)])
    pairs = np.stack([np.repeat(np.arange(n_grids), n_orientations), drawn.ravel()], axis=1)
    pairs = pairs[rng.permutation(len(pairs))]
    n_even = -(-len(pairs) // world_size) * world_size
    pairs = np.resize(pairs, (n_even, 2))[rank::world_size]
    n_batches = max(1, len(pairs) // batch_size)  # batch norm: the remainder joins the other batches
    return np.array_split(pairs, n_batches)


def _train_epoch(fabric: Fabric, model, optimizer, grids: torch.Tensor, batches: list[np.ndarray]) -> float:
    model.train()
    total, count = 0.0, 0
    for pairs in tqdm(batches, desc="training", unit="step", leave=False, disable=not fabric.is_global_zero):
        stack = [rotate(grids[row], orientation) for row, orientation in pairs]
        batch = torch.stack(stack).to(fabric.device, torch.float32, memory_format=torch.channels_last_3d)
        loss = nn.functional.mse_loss(model(batch).float(), batch)
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total, count = total + loss.item() * len(pairs), count + len(pairs)
    return _mean_over_ranks(fabric, total, count)


@torch.no_grad()
def _validate(fabric: Fabric, model, grids: torch.Tensor, batch_size: int) -> float:
    model.eval()
    network = model.module  # without the wrapper that waits for all ranks: they may have unequal numbers of batches
    if fabric.world_size > 1:
        for buffer in network.buffers():  # running means of the batch norm: those of rank 0 are saved
            torch.distributed.broadcast(buffer, src=0)
    total, rows = 0.0, range(fabric.global_rank, len(grids), fabric.world_size)
    for start in range(0, len(rows), batch_size):
        batch = grids[list(rows[start : start + batch_size])].to(fabric.device, torch.float32)
        batch = batch.contiguous(memory_format=torch.channels_last_3d)
        with fabric.autocast():
            output = network(batch)
        total += nn.functional.mse_loss(output.float(), batch).item() * len(batch)
    return _mean_over_ranks(fabric, total, len(rows))


def _mean_over_ranks(fabric: Fabric, total: float, count: int) -> float:
    sums = fabric.all_reduce(torch.tensor([total, count], dtype=torch.float64), reduce_op="sum")
    return (sums[0] / sums[1]).item()


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _save_checkpoint(path: Path, digest: str, model, optimizer, state: dict) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state["best"].items()}
    moments = optimizer.state_dict()["state"]
    for index, values in moments.items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    record = {name: value for name, value in state.items() if name != "best"}
    metadata = {"digest": digest, "state": json.dumps(record)}
    with atomic(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def _resume(path: Path, digest: str, model, optimizer) -> dict:
    """Load the checkpoint into model and optimiser; a fresh state where there is none for this training."""
    fresh = {"history": [], "best_loss": float("inf"), "stale_epochs": 0, "best": {}}
    if not path.is_file():
        return fresh
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    if metadata["digest"] != digest:
        print(f"{path}: belongs to other settings or data; training starts anew", file=sys.stderr)
        return fresh
    tensors = load_file(path)
    groups = {"model": {}, "best": {}, "adam": {}}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups[group][rest] = tensor
    model.load_state_dict(groups["model"])
    moments = {}
    for name, tensor in groups["adam"].items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = tensor
    state = json.loads(metadata["state"])
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    print(f"{path}: training goes on after epoch {len(state['history'])}", file=sys.stderr)
    return state | {"best": groups["best"]}


def _write_result(
    out_dir: Path, config, state: dict, settings: dict, field: str, grid: dict, split: dict, seed: int
) -> None:
    with atomic(out_dir) as temporary:
        temporary.mkdir()
        weights = {name: tensor.cpu().contiguous() for name, tensor in state["best"].items()}
        save_file(weights, temporary / "model.safetensors")
        record = {
            "network": asdict(config),
            "field": field,
            "grid": grid,
            "settings": settings,
            "seed": seed,
            "n_parameters": sum(tensor.numel() for tensor in weights.values()),
            "epochs": len(state["history"]),
            "best_validation_mse": state["best_loss"],
            "ranks": started_ranks(),
            "torch": torch.__version__,
        }
        (temporary / "model.json").write_text(json.dumps(record, indent=1))
        pd.DataFrame(state["history"]).to_csv(temporary / "history.csv", index=False)
        rows = sorted(split.items())
        pd.DataFrame(rows, columns=["material_id", "part"]).to_csv(temporary / "split.csv", index=False)


def load_autoencoder(folder: Path | str) -> tuple[Autoencoder, dict]:
    """The trained network in evaluation mode, and its record ``model.json``."""
    record = json.loads((Path(folder) / "model.json").read_text())
    model = build_autoencoder(AutoencoderConfig(**record["network"]))
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval(), record


def read_parts(folder: Path | str) -> dict[str, str]:
    """Part of each material in the training of an autoencoder."""
    frame = pd.read_csv(Path(folder) / "split.csv", dtype=str, keep_default_na=False)
    return dict(zip(frame["material_id"], frame["part"], strict=True))
