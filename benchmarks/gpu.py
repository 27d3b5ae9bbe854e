"""Check and time the networks of config/latentmatfusion.yaml on a GPU; ``--device cpu --size 32`` tries the script.

    python benchmarks/gpu.py --out gpu.json

prints one line of JSON per part: losses of training steps on the CPU and on the device from the same seed, the memory
bandwidth of a large copy, steps on resident batches and an epoch from a store on disk in fp32 and bf16, with the share
of the bandwidth that they reach. Ends with an error if losses differ by more than the tolerance or are not finite.

Bytes of a step are an estimate: each layer reads its input and writes its output once in the forward pass, and reads
the gradient of its output and its input and writes the gradient of its input in the backward pass, all in the
precision of the arithmetic; weights, gradients and the moments of Adam are moved ten times in fp32. Nothing is assumed
to stay in a cache or to be fused, so fused kernels can exceed a share of 1.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from training_memory import write_sparse_store

from rho2prop.autoencoder import training
from rho2prop.autoencoder.grid_store import StoreContent
from rho2prop.autoencoder.network import AutoencoderConfig, build_autoencoder
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.densities.grids import Grid
from rho2prop.models.attention_cnn import AttentionCnn, AttentionCnnConfig

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WEIGHT_PASSES = 10  # forward, backward; gradient written and read; Adam reads and writes weight and two moments
AGREEING_SIZE, AGREEING_STEPS = 32, 5
CNN = AttentionCnnConfig(
    latent_channels=16, latent_size=16, n_tabular=132, n_outputs=5, channels=(64, 128, 256), head_depth=2,
    head_width=256, dropout=0.0, stem=64, blocks_per_stage=2, tabular_widths=(256, 128), tabular_dropout=0.0,
)  # fmt: skip


def autoencoder(size: int, seed: int = 0) -> nn.Module:
    """The paper's network without dropout, whose masks differ between devices."""
    torch.manual_seed(seed)
    model = build_autoencoder(AutoencoderConfig("paper", size, size // 8, dropout=0.0))
    return model.to(memory_format=torch.channels_last_3d)  # as in trainings


def steps(model: nn.Module, inputs: tuple, target: torch.Tensor, precision: str, device: str) -> Iterator[float]:
    """Losses of training steps on one batch, without end."""
    model = model.to(device).train()
    inputs, target = tuple(part.to(device) for part in inputs), target.to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    while True:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            output = model(*inputs)
        loss = nn.functional.mse_loss(output.float(), target)
        loss.backward()
        optimiser.step()
        yield loss.item()  # waits for the device


def agreement(device: str) -> dict:
    """Losses of a few fp32 steps of both networks on the CPU and on the device, and how much they differ."""
    torch.backends.cudnn.allow_tf32 = False
    rng = torch.Generator().manual_seed(1)
    grids = torch.rand(4, 1, *[AGREEING_SIZE] * 3, generator=rng)
    latents, tabular = torch.randn(4, 16, 16, 16, 16, generator=rng), torch.randn(4, 132, generator=rng)
    labels, result = torch.rand(4, 5, generator=rng), {"part": "agreement"}

    def cnn() -> nn.Module:
        torch.manual_seed(2)
        return AttentionCnn(CNN)

    cases = {
        "autoencoder": (lambda: autoencoder(AGREEING_SIZE), (grids,), grids),
        "cnn": (cnn, (latents, tabular), labels),
    }
    for name, (build, inputs, target) in cases.items():
        losses = [
            list(islice(steps(build(), inputs, target, "fp32", where), AGREEING_STEPS)) for where in ("cpu", device)
        ]
        difference = max(abs(one / other - 1) for one, other in zip(*losses, strict=True))
        result[name] = {"losses_cpu": losses[0], "losses_device": losses[1], "largest_difference": difference}
    torch.backends.cudnn.allow_tf32 = True
    return result


def bandwidth_gb_s(device: str, megabytes: int) -> float:
    """Bytes read and written per second by a copy, best of ten, in GB/s."""
    source = torch.ones(megabytes * 250_000, device=device)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(10):
        started = now(device)
        target.copy_(source)
        best = min(best, now(device) - started)
    return 2 * source.numel() * 4 / best / 1e9


def now(device: str) -> float:
    """Seconds, once the device has done all of its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def step_bytes(model: nn.Module, batch: torch.Tensor, itemsize: int) -> int:
    """Estimate of the bytes that a training step moves, as this file begins."""
    moved = 0

    def count(_layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal moved
        moved += itemsize * (3 * inputs[0].numel() + 2 * output.numel())

    layers = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return moved + WEIGHT_PASSES * 4 * sum(weight.numel() for weight in model.parameters())


def resident(options: argparse.Namespace, precision: str, limit_gb_s: float) -> dict:
    """Median time of a step on a batch that lies on the device."""
    model = autoencoder(options.size).to(options.device)
    batch = torch.rand(options.batch, 1, *[options.size] * 3).to(options.device, memory_format=torch.channels_last_3d)
    moved = step_bytes(model, batch, TYPES[precision].itemsize)
    running, seconds = steps(model, (batch,), batch, precision, options.device), []
    for _ in range(5):
        next(running)
    for _ in range(options.steps):
        started = now(options.device)
        loss = next(running)
        seconds.append(now(options.device) - started)
    median = sorted(seconds)[len(seconds) // 2]
    result = {
        "part": "resident",
        "precision": precision,
        "loss": loss,
        "seconds_a_step": median,
        "step_gb": moved / 1e9,
    }
    return result | {"share_of_bandwidth": moved / 1e9 / median / limit_gb_s, "peak_gb": peak_gb(options.device)}


def epoch(options: argparse.Namespace, precision: str, limit_gb_s: float, step_gb: float) -> dict:
    """One epoch of the training that the workflow runs, on grids from a store, nearly all of them zeros."""
    grid = Grid("padded", options.size, 0.25)
    settings = TrainingSettings(
        network="paper", latent_size=options.size // 8, dropout=0.05, orientations_per_epoch=1,
        batch_size=options.batch, learning_rate=1e-3, max_epochs=1, patience=1, precision=precision,
        grid_precision="fp32", threads=options.threads, devices=1, nodes=1,
    )  # fmt: skip
    split = {f"m{row}": "validation" if row < options.batch else "train" for row in range(options.grids)}
    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "store", Path(folder) / "out"
        write_sparse_store(store, options.grids, StoreContent("total", grid, "fp32"))
        training.train(TrainingRequest(store, split, settings, grid, out, Path(folder) / "work", 1))
        history = pd.read_csv(out / "history.csv").iloc[0].to_dict()
        record = json.loads((out / "model.json").read_text())
    n_steps = (options.grids - options.batch) // options.batch
    result = {"part": "epoch", "precision": precision, "hardware": record["hardware"], "n_steps": n_steps}
    result |= {name: float(history[name]) for name in ("train_loss", "validation_loss", "seconds")}
    share = n_steps * step_gb / history["seconds"] / limit_gb_s if history["seconds"] else None
    return result | {"share_of_bandwidth": share, "peak_gb": peak_gb(options.device)}


def peak_gb(device: str) -> float | None:
    """Most memory of the GPU that tensors took since the last call, in GB; None on a CPU."""
    if device != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return peak


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--size", type=int, default=128, help="points along each edge of the grids; latents have an eighth"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--batch", type=int, default=4, help="grids per step")
    parser.add_argument("--grids", type=int, default=400, help="grids of the epoch")
    parser.add_argument("--steps", type=int, default=20, help="timed steps on one batch, after five others")
    parser.add_argument("--copy-mb", type=int, default=4000, help="size of the copy that measures the bandwidth")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="relative difference of losses that is accepted")
    parser.add_argument("--out", type=Path, help="file for all results, JSON")
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> int:
    """Run all parts; 1 if the devices disagree."""
    if (options.device == "cuda") != torch.cuda.is_available():  # trainings take a GPU where there is one
        found = "a GPU: leave out --device cpu" if torch.cuda.is_available() else "no GPU: install a torch for CUDA"
        print(f"torch finds {found}", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    results = []

    def done(result: dict) -> dict:
        results.append(result)
        print(json.dumps(result), flush=True)
        if options.out:
            options.out.write_text(json.dumps(results, indent=1))
        return result

    agreed = done(agreement(options.device))
    limit = done({"part": "bandwidth", "gb_s": bandwidth_gb_s(options.device, options.copy_mb)})["gb_s"]
    for precision in TYPES:
        step = done(resident(options, precision, limit))
        done(epoch(options, precision, limit, step["step_gb"]))
    differences = [agreed[name]["largest_difference"] for name in ("autoencoder", "cnn")]
    return 0 if all(difference <= options.tolerance for difference in differences) else 1


if __name__ == "__main__":
    sys.exit(main(options_of()))
