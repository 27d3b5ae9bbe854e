"""The summary on top and the section on how the run was made."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

import pandas as pd
import yaml

import rho2prop
from rho2prop.core.targets import TARGETS
from rho2prop.features.feature_sets import set_label
from rho2prop.features.registry import reads_latents
from rho2prop.models.registry import is_derived, model_label
from rho2prop.report import paper
from rho2prop.report.blocks import Code, Heading, Items, Row, Section, Table, Text, Tiles
from rho2prop.report.data import Run, density_gain, summarise
from rho2prop.report.numbers import DASH, count, plus_minus, significant
from rho2prop.report.sections.models import percent, split_name

_PACKAGES = (
    "snakemake", "gpaw", "ase", "pymatgen", "matminer", "numpy", "scipy", "pandas", "torch",
    "lightning-fabric", "lightgbm", "optuna", "scikit-learn", "shap", "zfpy", "safetensors",
    "matplotlib", "jinja2",
)  # fmt: skip

_SOURCES = (
    (f"{paper.CITATION}: the method, Table 1 and Figs. 2, 3, 5, 8, 9 (CC BY 4.0)", paper.URL),
    (
        "Ward et al., npj Comput. Mater. 2 (2016) 16028: MAGPIE",
        "https://doi.org/10.1038/npjcompumats.2016.28",
    ),
    ("Mortensen et al., J. Chem. Phys. 160 (2024) 092503: GPAW", "https://doi.org/10.1063/5.0182685"),
    (
        "Perdew, Burke, Ernzerhof, Phys. Rev. Lett. 77 (1996) 3865",
        "https://doi.org/10.1103/PhysRevLett.77.3865",
    ),
    (
        "Xie, Grossman, Phys. Rev. Lett. 120 (2018) 145301: CGCNN",
        "https://doi.org/10.1103/PhysRevLett.120.145301",
    ),
    ("Lundberg, Lee, NeurIPS 30 (2017) 4765: SHAP", ""),
    ("Jain et al., APL Mater. 1 (2013) 011002: Materials Project", "https://doi.org/10.1063/1.4812323"),
    (
        "Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39 (2014) 1: DeltaCodes elements",
        "https://doi.org/10.1080/10408436.2013.772503",
    ),
)


def summary(run: Run) -> Section:
    """Summary section: what was run, number of materials, best model per property."""
    section = Section("summary", "Summary")
    n_materials = 0 if run.materials is None else len(run.materials)
    outcomes = run.dft_outcomes
    tiles = [(f"{n_materials:,}", "materials with a density")]
    if outcomes is not None and len(outcomes):
        tiles.append((f"{int((outcomes['status'] != 'converged').sum()):,}", "set aside"))
        if outcomes["core_hours"].notna().any():
            tiles.append((significant(outcomes["core_hours"].sum()), "core hours of DFT"))
    if run.metrics is not None:
        tiles.append((f"{len(run.targets)}", "property" if len(run.targets) == 1 else "properties"))
        tiles.append((f"{run.metrics[['model', 'features']].drop_duplicates().shape[0]}", "models × feature sets"))
    section.blocks += [Tiles(tuple(tiles)), Text(_what_was_run(run, n_materials))]
    section.blocks += _best(run)
    return section


def _what_was_run(run: Run, n_materials: int) -> str:
    outcomes, sentences = run.dft_outcomes, []
    engine = ""
    if outcomes is not None and len(outcomes):
        engines = sorted(set((outcomes["engine"] + " " + outcomes["engine_version"]).str.strip()))
        engine = f" from {', '.join(engines)}"
    sentences.append(f"Features were computed from the electron densities of {count(n_materials, 'material')}{engine}")
    if run.history is not None and len(run.history):
        sentences[-1] += f" (with an autoencoder trained for {count(len(run.history), 'epoch')})"
    if run.metrics is None or run.metrics.empty:
        return sentences[0] + ". No property model was evaluated."
    names = [TARGETS[target].name for target in run.targets]
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    sentences[-1] += f", and models trained on them to predict {listed}."
    folds = run.metrics.groupby("split")["fold"].nunique()
    splits = ", ".join(f"{split_name(name)} ({count(int(folds[name]), 'fold')})" for name in run.split_names)
    sentences.append(f"Each model was tested on held-out materials, in these splits: {splits}.")
    return " ".join(sentences)


def _best(run: Run) -> list:
    if run.metrics is None or run.metrics.empty:
        return []
    table = summarise(run.metrics)
    table = table[~table["model"].map(is_derived)]
    main, first = run.main_split, run.split_names[0]
    rows = []
    for target in run.targets:
        info, part = TARGETS[target], table[table["target"] == target]
        scores = part[part["split"] == main]
        if scores.empty:
            continue
        best = scores.iloc[0]
        baseline = scores.loc[scores["model"] == "mean", "mae_mean"]
        cells = [
            f"{info.name} {info.symbol} / {info.unit}",
            f"{model_label(best.model)}: {DASH if best.features == 'none' else set_label(best.features)}",
            plus_minus(best.mae_mean, best.mae_std),
            plus_minus(best.r2_mean, best.r2_std, 3),
            significant(baseline.iloc[0]) if len(baseline) else DASH,
        ]
        if first != main:
            other = part[part["split"] == first]
            cells.append(plus_minus(other.mae_mean.iloc[0], other.mae_std.iloc[0]) if len(other) else DASH)
        rows.append(Row(tuple(cells)))
    last = [f"best MAE, split {split_name(first)}"] if first != main else []
    blocks: list = [
        Table(
            f"Best model for each property, split {split_name(main)}: lowest mean absolute error (MAE), "
            "mean ± standard deviation over the test folds. “Always the mean” is the error of predicting the mean of "
            "the training labels.",
            ("property", "best model: features", "MAE", "R²", "always the mean", *last),
            tuple(rows),
            n_text=2,
        )
    ]
    gain = density_gain(run)
    if len(gain):
        main = gain[gain["split"] == run.main_split]
        changes = "; ".join(
            f"{TARGETS[row.target].symbol} {percent(row.change, row.change_std)} (better in {row.n_better} "
            f"of {row.n_folds} folds)"
            for row in main.itertuples()
        )
        blocks.append(
            Text(
                f"What the density adds, split {split_name(run.main_split)}: change of the MAE from the best feature "
                f"set without the density to the best with it (negative is better): {changes}."
            )
        )
    return blocks


def making(run: Run) -> Section:
    """Versions, configuration, seed, splits, commands, caveats, sources."""
    section = Section("making", "How this run was made")
    section.blocks += [Heading("Splits"), *_splits(run)]
    section.blocks += [Heading("Caveats"), Items(tuple((note, "") for note in notes(run)))]
    section.blocks += [
        Heading("Reproducing this run"),
        Text(
            "Save the configuration below as my.yaml and run one of these commands. All random choices derive from its "
            f"seed, {run.config.get('seed', DASH)}."
        ),
        Code(
            "snakemake --profile profiles/local --configfile my.yaml\n"
            "snakemake --profile profiles/slurm --configfile my.yaml"
        ),
        Heading("Versions"),
        Text(", ".join(f"{name} {number}" for name, number in versions()) + "."),
        Heading("Configuration"),
        Code(
            yaml.safe_dump(json.loads(json.dumps(run.config, default=str)), sort_keys=False, allow_unicode=True),
            "config",
        ),
        Heading("Sources"),
        Items(_SOURCES),
    ]
    return section


def versions() -> list[tuple[str, str]]:
    """Versions of this package, Python and the packages that take part, as installed where this runs."""
    installed = [("rho2prop", rho2prop.__version__), ("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            installed.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return installed


def _splits(run: Run) -> list:
    if run.splits is None or run.splits.empty:
        return [Text("No splits were drawn: too few labelled materials.", "missing")]
    sizes = run.splits.groupby(["split", "fold", "part"], sort=False).size().unstack(fill_value=0)
    parts = [part for part in ("train", "validation", "test") if part in sizes.columns]
    rows = []
    for split in dict.fromkeys(run.splits["split"]):
        part = sizes.loc[split]
        cells = []
        for name in ("train", "validation", "test"):
            values = part[name] if name in parts else pd.Series(0, index=part.index)
            low, high = int(values.min()), int(values.max())
            cells.append(DASH if high == 0 else (f"{low:,}" if low == high else f"{low:,} to {high:,}"))
        name = "all materials (final models)" if split == "all" else split_name(split)
        rows.append(Row((name, f"{len(part)}", *cells)))
    return [
        Table("Materials per fold, drawn once (results/splits.csv).",
              ("split", "folds", "train", "validation", "test"), tuple(rows))
    ]  # fmt: skip


def notes(run: Run) -> list[str]:
    """Caveats for reading the numbers that apply to this run."""
    config, caveats = run.config, []
    latent = run.metrics is not None and any(map(reads_latents, map(run.blocks, run.metrics["features"].unique())))
    if latent and config["autoencoder"]["scope"] == "all":
        caveats.append(
            "One autoencoder was trained for all folds (autoencoder.scope: all). It sees no labels, but it has seen "
            "densities of materials in the test folds. Scores of features with “latent” therefore hold for materials "
            "whose density was available when the autoencoder was trained. With scope: fold it is trained inside each "
            "fold."
        )
    elif latent:
        caveats.append("The autoencoder was trained inside each fold, on its training part only.")
    caveats.append(
        "Scaling, PCA, imputation, early stopping and hyper-parameters were fitted on the training and validation "
        "parts of each fold. The best model of a table was selected by its test score, so that this score is slightly "
        "optimistic."
    )
    caveats.append(
        "± is the sample standard deviation over folds. It is not the standard error of the mean, since folds share "
        "training materials."
    )
    if run.materials is not None and len(run.materials):
        train = run.materials[run.materials["role"] == "train"]
        if len(train) and train["formula"].is_unique and train["chemical_system"].is_unique:
            caveats.append(
                "Each labelled material has a formula and a chemical system of its own, so that the splits by formula "
                "and by chemical system are further random splits."
            )
        if 0 < len(train) < 200:
            caveats.append(
                f"With {count(len(train), 'labelled material')} the scores show that the workflow runs, not how well "
                "the method performs."
            )
    if config.get("dft", {}).get("engine") == "gpaw":
        caveats.append(
            f"Densities were computed at the given geometry, without relaxation, with {config['dft']['gpaw']['xc']} "
            f"and a cut-off of {config['dft']['gpaw']['ecut_ev']} eV; the paper relaxed each cell with VASP at 500 eV."
        )
    if run.metrics is not None and not run.sets_with_density:
        caveats.append("No feature set of this run contains the density.")
    return caveats
