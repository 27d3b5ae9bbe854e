"""A small made-up regression problem and models trained on its folds."""

import numpy as np
import pandas as pd
from standins.networks import cnn_section
from standins.regressions import PROCESS, run

from rho2prop.crystals.elasticity import BULK, SHEAR, derive_from_kg
from rho2prop.features.design_matrix import BlockData, Latents
from rho2prop.materials.splits import draw_splits

SETTINGS = {
    "mean": {},
    "lightgbm": dict(n_trials=3, max_rounds=150, patience=20, learning_rate=[0.05, 0.2], max_bin=31),
    "gaussian_process": PROCESS,
    "blend": {
        "gaussian_process": PROCESS,
        "lightgbm": dict(n_trials=2, max_rounds=60, patience=20, learning_rate=[0.1, 0.2], max_bin=31),
    },
    "attention_cnn": cnn_section(n_trials=1, max_epochs=4, patience=4, batch_size=32, channels=[4]),
}


def make_inputs(n_rows=160):
    """K and G follow from the features; E and Θ are exact; E_at has too few labels."""
    rng = np.random.default_rng(2)
    ids = [f"m{i:03d}" for i in range(n_rows)]
    x = pd.DataFrame(rng.uniform(0, 1, (n_rows, 4)), columns=list("abcd"), index=ids)
    volume = pd.DataFrame({"v": rng.uniform(0, 1, n_rows)}, index=ids)
    materials = pd.DataFrame(
        {
            "material_id": ids,
            "role": "train",
            "formula": ["NaCl", "MgO", "SiC", "GaN"] * (n_rows // 4),
            "chemical_system": [f"s{i // 4}" for i in range(n_rows)],
            "volume_per_atom_ang3": 10 + 10 * volume["v"].to_numpy(),
            BULK: (50 + 200 * x["a"] + 50 * (volume["v"] > 0.5)).to_numpy(),
            SHEAR: (30 + 100 * x["b"]).to_numpy(),
        }
    )
    exact = derive_from_kg(materials.set_index("material_id")[[BULK, SHEAR]], materials)
    materials = materials.join(exact, on="material_id")
    materials["atomization_energy_ev_per_atom"] = [1.0] * 3 + [np.nan] * (n_rows - 3)
    materials.loc[::4, SHEAR] = np.nan
    values = np.zeros((n_rows, 2, 2, 2, 2)) + x.to_numpy()[:, :2, None, None, None]
    latents = {"all": Latents(np.array(ids), values + 0.01 * rng.normal(size=values.shape))}
    return (
        materials,
        draw_splits(materials, ["random"], 3, 0.2, 7),
        BlockData({"magpie": x, "structure": volume}, latents),
    )


def run_model(out_dir, model, features, inputs, split="random", seed=1):
    materials, splits, blocks = inputs
    run(model, features, split, materials, splits, blocks, SETTINGS[model], 8, out_dir, seed, threads=1)
    return out_dir
