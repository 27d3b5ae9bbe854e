"""Peak memory of a training of the autoencoder on a store of many grids, most of which are holes in its file.

``python benchmarks/training_memory.py paper --grids 6059 --size 128 --steps 20`` prints one line of JSON.
"""

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import rho2prop.autoencoder.training as training
from rho2prop.autoencoder.grid_store import COLUMNS, GRIDS, ROWS, STORE, StoreContent, store_record
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.densities.grids import Grid

N_WRITTEN = 16  # grids with values, at the beginning
N_VALIDATION = 4


def write_sparse_store(folder: Path, n_grids: int, content: StoreContent) -> None:
    """Write a store of ``n_grids`` fp32 grids: noise first, then zeros that take no space on most file systems."""
    folder.mkdir(parents=True)
    size, rng = content.grid.size, np.random.default_rng(0)
    rows = []
    with (folder / GRIDS).open("wb") as file:
        for _ in range(min(N_WRITTEN, n_grids)):
            noise = rng.random((size,) * 3, dtype=np.float32).tobytes()
            file.write(noise)
            rows.append(hashlib.sha256(noise).hexdigest())
        file.truncate(n_grids * content.row_bytes)
    zero = hashlib.sha256(bytes(content.row_bytes)).hexdigest()
    rows += [zero] * (n_grids - len(rows))
    lines = [f"m{row},,{digest}" for row, digest in enumerate(rows)]
    (folder / ROWS).write_text("\n".join([",".join(COLUMNS), *lines, ""]))
    (folder / STORE).write_text(json.dumps(store_record(content, n_grids, "")))


def main() -> None:
    """Train one epoch, cut after some steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=["paper", "fast"])
    parser.add_argument("--grids", type=int, default=6059)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    settings = TrainingSettings(
        network=given.network, latent_size=given.latent, dropout=0.05, orientations_per_epoch=1,
        batch_size=given.batch, learning_rate=1e-3, max_epochs=1, patience=1, precision="fp32",
        grid_precision="fp32", threads=given.threads, devices=1, nodes=1,
    )  # fmt: skip
    grid = Grid("padded", given.size, 0.25)
    split = {f"m{row}": "validation" if row < N_VALIDATION else "train" for row in range(given.grids)}
    plan = training._plan
    training._plan = lambda *arguments: plan(*arguments)[: given.steps]  # batches of the whole store, a few of them
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        write_sparse_store(store, given.grids, StoreContent("total", grid, "fp32"))
        before, started = time.process_time(), time.perf_counter()
        training.train(TrainingRequest(store, split, settings, grid, Path(folder) / "out", Path(folder) / "work", 1))
        times = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - before}
        store_gb = (store / GRIDS).stat().st_size / 1e9
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps({**vars(given), "store_gb": store_gb, "peak_mb": peak_mb} | times))


if __name__ == "__main__":
    main()
