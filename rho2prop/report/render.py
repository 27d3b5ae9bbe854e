"""One self-contained HTML report, and the main figures as files."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from rho2prop import __version__
from rho2prop.core.atomic_files import atomic
from rho2prop.core.targets import TARGETS
from rho2prop.report.blocks import Figure, Section
from rho2prop.report.data import Run, hybrid_features, pooled_predictions, read_run, summarise
from rho2prop.report.figures import density as density_figures
from rho2prop.report.figures import materials as material_figures
from rho2prop.report.figures import models as model_figures
from rho2prop.report.sections import data, density, errors, intervals, learning, making, models, trust, use
from rho2prop.report.style import data_uri, sentence_figure, to_png, to_svg

TEMPLATE = "report.html.j2"  # in this package; each value is escaped in it
MAX_BYTES = 10_000_000

FIGURE_FILES = {
    "crystal_systems": "svg",
    "target_distributions": "svg",
    "training_curve": "svg",
    "density_slices": "png",
    "parity_lightgbm": "svg",
    "parity_attention_cnn": "svg",
    "learning_curves": "svg",
    "importance": "svg",
    "feature_sets": "svg",
}


def sections(run: Run) -> list[Section]:
    """All sections of the report, in order."""
    return [
        making.summary(run),
        data.materials(run),
        data.targets(run),
        data.dft(run),
        density.autoencoder(run),
        models.properties(run),
        errors.errors(run),
        learning.learning(run),
        use.importance(run),
        intervals.intervals(run),
        trust.invariance(run.invariance),
        trust.latent_database(run.latent_database),
        use.predictions(run),
        making.making(run),
    ]


def render(inputs: Mapping, config: Mapping, out_html: Path | str) -> None:
    """Write the report: one HTML file without external scripts, fonts or images.

    Parameters
    ----------
    inputs
        Paths by name, see ``rho2prop.report.data.read_run``.
    config
        Configuration of the run.
    out_html
        File to write.
    """
    run = read_run(inputs, config)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rho2prop.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = _inline
    environment.filters["block_kind"] = lambda block: type(block).__name__
    html = environment.get_template(TEMPLATE).render(
        sections=sections(run), title="Material properties from charge densities", version=__version__
    )
    size = len(html.encode())
    if size > MAX_BYTES:
        raise RuntimeError(f"report of {size:,} bytes, more than {MAX_BYTES:,}: draw a dense figure as PNG")
    with atomic(out_html) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _inline(block: Figure) -> Markup:
    """The drawing as markup: SVG text or an image with its bytes in it."""
    if block.png:
        return Markup('<img alt="{}" src="{}">').format(block.alt, data_uri(to_png(block.drawing)))
    svg = to_svg(block.drawing, block.name)
    label = Markup('<svg role="img" aria-label="{}" ').format(block.alt)
    return label + Markup(svg.removeprefix("<svg "))


def save_figures(inputs: Mapping, config: Mapping, out_dir: Path | str) -> dict[str, Path]:
    """Write the main figures for ``snakemake --report``.

    Parameters
    ----------
    inputs, config
        As for ``render``.
    out_dir
        Folder of the files ``<name>.svg`` (``density_slices.png``); see ``FIGURE_FILES``. A figure for which
        the run has no data holds a sentence that says so.

    Returns
    -------
    dict
        Path of each file by name.
    """
    run = read_run(inputs, config)
    drawn = main_figures(run)
    paths = {}
    for name, suffix in FIGURE_FILES.items():
        content = drawn[name]
        drawing = sentence_figure(content) if isinstance(content, str) else content
        paths[name] = Path(out_dir) / f"{name}.{suffix}"
        with atomic(paths[name]) as temporary:
            if suffix == "png":
                temporary.write_bytes(to_png(drawing))
            else:
                temporary.write_text(to_svg(drawing, name), encoding="utf-8")
    return paths


def main_figures(run: Run) -> dict[str, Drawing | str]:
    """Main figures by name, or the sentence that says why there is none."""
    drawn: dict[str, Drawing | str] = {
        "crystal_systems": "No material has a converged density.",
        "target_distributions": "No material has a label.",
        "training_curve": "No training history was found.",
        "density_slices": "No density slices were written.",
        "parity_lightgbm": "LightGBM was not evaluated with density and composition together.",
        "parity_attention_cnn": "The attention CNN was not evaluated with density and composition together.",
        "learning_curves": learning.MISSING,
        "importance": "No SHAP values were computed in this run.",
        "feature_sets": "No property model was evaluated: too few labelled materials.",
    }
    if run.materials is not None and len(run.materials):
        drawn["crystal_systems"] = material_figures.crystal_systems(run.materials)
        known = [target for target in TARGETS if run.materials[target].notna().any()]
        if known:
            drawn["target_distributions"] = material_figures.target_distributions(run.materials, known)
    if run.history is not None and run.history["validation_loss"].notna().any():
        drawn["training_curve"] = density_figures.training_curve(run.history)
    if run.slices:
        drawn["density_slices"] = density_figures.density_slices(run.slices)
    if run.metrics is not None and len(run.metrics):
        table = summarise(run.metrics)
        if (table["model"] != "mean").any():
            drawn["feature_sets"] = model_figures.feature_sets(
                table, run.split_names, run.targets, run.sets_with_density
            )
        for model in models.PARITY_MODELS:
            features = hybrid_features(run, model)
            if features is None:
                continue
            pooled = pooled_predictions(run, model, features, run.main_split)
            if pooled is not None and len(pooled):
                rows = models.rows_of(table, model, features, run.main_split)
                targets = [target for target in run.targets if target in set(pooled["target"])]
                shares = models.shares_of(run, model, features)
                drawn[f"parity_{model}"] = model_figures.parity(pooled, rows, targets, shares)
    curves = learning.direct_scores(run)
    if curves is not None:
        drawn["learning_curves"] = model_figures.learning_curves(curves)
    if run.importance is not None and len(run.importance):
        drawn["importance"] = use.importance_figure(run)
    return drawn
