"""Train the autoencoder: one loop, a checkpoint each epoch; a resumed training equals an uninterrupted one."""

import contextlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from rho2prop.autoencoder.checkpoint import CHECKPOINT, only_job, resume, save_checkpoint, training_digest
from rho2prop.autoencoder.grid_store import GridStore, StoreContent, StoredGrids, prefetched
from rho2prop.autoencoder.network import Autoencoder, AutoencoderConfig, build_autoencoder
from rho2prop.autoencoder.ranks import ranks_of_node, started_ranks
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.memory import RECOMPUTED_FROM, allowed_bytes, training_bytes
from rho2prop.densities.field_names import field_of
from rho2prop.densities.grids import ORIENTATIONS, rotate
from rho2prop.materials.splits import read_splits

FABRIC_PRECISION: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "fp32": "32-true"}


def scope_split(scope: str, ids: list[str], splits_path: Path | str | None, seed: int) -> dict[str, str]:
    """Part of each material for the autoencoder of a scope.

    Scope ``all``: 80 % train, 10 % validation, 10 % test at random. ``<split>-<fold>``: the parts of that fold. A
    field before it (``deformation-all``) changes nothing.
    """
    _, scope = field_of(scope)
    if scope == "all":
        return split_80_10_10(ids, seed)
    split, fold = scope.split("-")
    if splits_path is None:
        raise ValueError(f"scope {scope} needs the table of splits")
    splits = read_splits(splits_path, ids)
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


def train(request: TrainingRequest) -> None:
    """Train an autoencoder and write its folder.

    Raises
    ------
    InputError
        There are too few densities or too little memory, the store of grids is damaged or of other settings, another
        training works in ``work_dir``, or the loss is no longer finite.

    Notes
    -----
    Adam on the mean squared error of unscaled densities; the learning rate falls to 1 % along a cosine over
    ``max_epochs``; the weights of the best validation loss are kept.
    """
    settings, grid, seed = request.settings, request.grid, request.seed
    torch.set_num_threads(settings.threads)
    several = started_ranks() > 1  # this process is one rank of devices × nodes
    precision = _precision(settings.precision)
    fabric = Fabric(
        accelerator="auto",
        devices=settings.devices if several else 1,
        num_nodes=settings.nodes if several else 1,
        precision=FABRIC_PRECISION[precision],
        plugins=[] if several else [LightningEnvironment()],  # one process in a Slurm job: no process group
    )
    fabric.launch()
    config = AutoencoderConfig(settings.network, grid.size, settings.latent_size, settings.dropout)
    split = request.split
    require_memory(settings, grid.size, fabric.device, request.mem_mb)
    checkpoint = request.work_dir / CHECKPOINT
    locked = only_job(request.work_dir) if fabric.is_global_zero else contextlib.nullcontext()
    with locked, GridStore(request.grids) as store:
        store.require(StoreContent(request.field, grid, settings.grid_precision))
        grids = {part: _grids_of(store, split, part) for part in ("train", "validation")}
        used = [(store.material_ids[row], store.digests[row]) for part in grids.values() for row in part.rows]
        digest = training_digest(
            used, asdict(settings), precision, fabric.world_size, request.field, asdict(grid), dict(split), seed
        )

        torch.manual_seed(seed)
        model: Any = build_autoencoder(config)
        model.recompute = settings.network == "paper" and grid.size >= RECOMPUTED_FROM and fabric.device.type == "cpu"
        model.to(memory_format=torch.channels_last_3d)
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        model, optimizer = fabric.setup(model, optimizer)
        state = resume(checkpoint, digest, model, optimizer)
        hardware = _hardware(fabric.device, settings.threads)
        state["hardware"] += [hardware] if hardware not in state["hardware"] else []

        todo = range(len(state["history"]), settings.max_epochs)
        epochs = tqdm(todo, desc="autoencoder", unit="epoch", disable=not fabric.is_global_zero)
        for epoch in epochs:
            if state["stale_epochs"] >= settings.patience:
                break
            started = time.perf_counter()
            learning_rate = _learning_rate(settings, epoch)
            optimizer.param_groups[0]["lr"] = learning_rate
            torch.manual_seed(_epoch_seed(seed, epoch))  # dropout: the same whether resumed or not
            batches = _plan(len(grids["train"]), settings, fabric.world_size, fabric.global_rank, (seed, epoch))
            train_loss = _train_epoch(fabric, model, optimizer, grids["train"], batches)
            validation_loss = _validate(fabric, model, grids["validation"], settings.batch_size)
            _require_finite(epoch + 1, train_loss, validation_loss)
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
                save_checkpoint(checkpoint, digest, model, optimizer, state)
        fabric.barrier()
        if fabric.is_global_zero:
            record = {
                "network": asdict(config),
                "field": request.field,
                "grid": asdict(grid),
                "settings": asdict(settings),
                "seed": seed,
                "precision": precision,
                "grid_precision": settings.grid_precision,
                "threads": settings.threads,
                "hardware": state["hardware"],
                "made_from": digest,
            }
            _write_result(request.out_dir, record, state, split)
            checkpoint.unlink()


def require_memory(settings: TrainingSettings, size: int, device: torch.device, mem_mb: int | None = None) -> None:
    """Stop unless all ranks of this node fit into what the job may use.

    Parameters
    ----------
    settings, size
        Network and batch; points along each edge of the grids.
    device
        Activations on a GPU are in its own memory.
    mem_mb
        Memory in MB that the rule asks for, where it is known.
    """
    ranks = ranks_of_node()
    batch_size = settings.batch_size if device.type == "cpu" else 0
    needed = ranks * training_bytes(settings.network, size, batch_size)
    allowed, reason = allowed_bytes(mem_mb)
    if needed <= allowed:
        return
    raise InputError(
        "autoencoder",
        f"{ranks} training process(es) of network {settings.network} with batches of {settings.batch_size} grids of "
        f"{size}³ need {needed / 1e9:.1f} GB, but this job may use {allowed / 1e9:.1f} GB ({reason})",
        "Set a smaller autoencoder.batch_size or grid.size, or give the job more memory "
        f"(--set-resources train_autoencoder:mem_mb={math.ceil(needed / 1e6)})",
        "memory",
    )


def _grids_of(store: GridStore, split: Mapping[str, str], part: str) -> StoredGrids:
    rows = [row for row, name in enumerate(store.material_ids) if split[name] == part]
    if not rows:
        fix = "Add materials, or check evaluation.validation_fraction"
        raise InputError("results/materials.csv", f"no density is left for the part {part!r}", fix)
    return StoredGrids(store, rows)


def _require_finite(epoch: int, train_loss: float, validation_loss: float) -> None:
    if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
        problem = f"training diverged: in epoch {epoch} the loss is {train_loss} (validation {validation_loss})"
        raise InputError("autoencoder.learning_rate", problem, "Use a smaller learning_rate, or precision: fp32")


def _hardware(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads} threads of {platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"


def _precision(wanted: str) -> str:
    """Arithmetic of this training, ``bf16`` or ``fp32``."""
    if wanted == "auto":
        on_gpu = torch.cuda.is_available()
        faster = torch.cuda.is_bf16_supported() if on_gpu else torch.cpu._is_avx512_bf16_supported()
        wanted = "bf16" if faster else "fp32"
    return wanted


def _learning_rate(settings: TrainingSettings, epoch: int) -> float:
    fallen = 0.5 * (1 - math.cos(math.pi * epoch / settings.max_epochs))
    return settings.learning_rate * (1 - 0.99 * fallen)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.default_rng((seed, epoch, 1)).integers(2**62))


def _plan(
    n_grids: int, settings: TrainingSettings, world_size: int, rank: int, seed: tuple[int, int]
) -> list[np.ndarray]:
    """Batches of (grid, orientation) of one epoch and rank; each batch has one orientation."""
    rng = np.random.default_rng(seed)
    n_orientations, batch_size = settings.orientations_per_epoch, settings.batch_size
    drawn = np.stack([rng.permutation(len(ORIENTATIONS))[:n_orientations] for _ in range(n_grids)])
    pairs = np.stack([np.repeat(np.arange(n_grids), n_orientations), drawn.ravel()], axis=1)
    pairs = pairs[rng.permutation(len(pairs))]
    n_even = -(-len(pairs) // world_size) * world_size
    pairs = np.resize(pairs, (n_even, 2))[rank::world_size]
    n_batches = max(1, len(pairs) // batch_size)  # batch norm: the remainder joins the other batches
    return np.array_split(pairs, n_batches)


def _train_epoch(
    fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, grids: StoredGrids, batches: list[np.ndarray]
) -> float:
    model.train()
    total, count = 0.0, 0
    reading = prefetched(lambda pairs: (grids.read(pairs[:, 0]), pairs[:, 1]), batches)
    silent = not fabric.is_global_zero
    for stored, orientations in tqdm(
        reading, total=len(batches), desc="training", unit="step", leave=False, disable=silent
    ):
        on_device = stored.to(fabric.device, non_blocking=True)
        stack = [rotate(grid, orientation) for grid, orientation in zip(on_device, orientations, strict=True)]
        batch = torch.stack(stack).to(torch.float32, memory_format=torch.channels_last_3d)
        loss = nn.functional.mse_loss(model(batch).float(), batch)
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total, count = total + loss.item() * len(batch), count + len(batch)
    return _mean_over_ranks(fabric, total, count)


@torch.no_grad()
def _validate(fabric: Fabric, model: Any, grids: StoredGrids, batch_size: int) -> float:
    model.eval()
    network = model.module  # without the wrapper that waits for all ranks: they may have unequal numbers of batches
    if fabric.world_size > 1:
        for buffer in network.buffers():  # running means of the batch norm: those of rank 0 are saved
            torch.distributed.broadcast(buffer, src=0)
    total, rows = 0.0, range(fabric.global_rank, len(grids), fabric.world_size)
    batches: list[Sequence[int]] = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    for stored in prefetched(grids.read, batches):
        batch = stored.to(fabric.device, torch.float32).contiguous(memory_format=torch.channels_last_3d)
        with fabric.autocast():
            output = network(batch)
        total += nn.functional.mse_loss(output.float(), batch).item() * len(batch)
    return _mean_over_ranks(fabric, total, len(rows))


def _mean_over_ranks(fabric: Fabric, total: float, count: int) -> float:
    sums = fabric.all_reduce(torch.tensor([total, count], dtype=torch.float64), reduce_op="sum")
    return (sums[0] / sums[1]).item()


def _write_result(out_dir: Path, record: dict, state: dict, split: Mapping[str, str]) -> None:
    with atomic(out_dir) as temporary:
        temporary.mkdir()
        weights = {name: tensor.cpu().contiguous() for name, tensor in state["best"].items()}
        save_file(weights, temporary / "model.safetensors")
        record |= {
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
