# Figures for `snakemake --report` and the self-contained HTML report.
FIGURES = {
    "crystal_systems": "Materials",
    "target_distributions": "Materials",
    "training_curve": "Autoencoder",
    "density_slices": "Autoencoder",
    "feature_sets": "Regression",
    "parity_lightgbm": "Regression",
    "parity_attention_cnn": "Regression",
    "learning_curves": "Regression",
    "importance": "Regression",
}
FIGURE_FORMAT = {"density_slices": "png"}  # all others: svg
REPORTED = dict(
    materials="results/materials.csv",
    dft_outcomes="results/outcomes.csv",
    atoms="results/atoms.csv",
    splits="results/splits.csv",
    metrics="results/metrics.csv",
    learning_curve="results/learning_curve.csv",
    largest_errors="results/largest_errors.csv",
    importance="results/importance.csv",
    intervals="results/intervals.csv",
    final_models="results/final_models.csv",
    invariance="results/invariance.csv",
    latent_database="results/latent_database.csv",
    new_predictions="results/predictions.csv",
    history="results/autoencoder/all/history.csv",
    reconstruction="results/reconstruction.csv",
    slices=[
        "results/reconstruction/slices/1.npz",
        "results/reconstruction/slices/2.npz",
    ],
    predictions_dir="results/regression",
    benchmarks="results/benchmarks",
)


rule collect_tables:
    """Joined tables: outcomes of all materials, importance of all models, reconstruction of all fields."""
    input:
        outcomes=["results/dft_outcomes.csv", "results/new_outcomes.csv"],
        importance=PLAN.importance(),
        reconstruction=["results/reconstruction/all.csv"]
        + [
            f"results/reconstruction/{field}-all.csv"
            for field in config["autoencoder"]["compared_fields"]
        ],
    output:
        outcomes="results/outcomes.csv",
        reconstruction="results/reconstruction.csv",
        importance="results/importance.csv",
    log:
        "logs/collect_tables.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        code=code_of("collect_tables.py"),
    script:
        SCRIPTS / "collect_tables.py"


rule plot_figures:
    input:
        materials="results/materials.csv",
        splits="results/splits.csv",
        regressions=PLAN.regressions(),
        tables=rules.collect_tables.output,
        atoms="results/atoms.csv",
        metrics="results/metrics.csv",
        learning_curve="results/learning_curve.csv",
        largest_errors="results/largest_errors.csv",
        predictions="results/predictions.csv",
        trust=[
            REPORTED[name]
            for name in ("intervals", "final_models", "invariance", "latent_database")
        ],
        autoencoder="results/autoencoder/all",
        slices=REPORTED["slices"],
    output:
        **{
            name: report(
                f"results/figures/{name}.{FIGURE_FORMAT.get(name, 'svg')}",
                caption=f"../workflow/report/{name}.rst",
                category=category,
            )
            for name, category in FIGURES.items()
        },
    log:
        "logs/plot_figures.log",
    benchmark:
        "results/benchmarks/plot_figures.tsv"
    conda:
        ENVIRONMENT
    resources:
        **requested("plot_figures"),
    params:
        config=PROTOCOL,
        inputs=REPORTED,
        code=code_of("plot_figures.py"),
    script:
        SCRIPTS / "plot_figures.py"


rule render_report:
    input:
        **rules.plot_figures.input,
    output:
        html="results/report.html",
    log:
        "logs/render_report.log",
    benchmark:
        "results/benchmarks/render_report.tsv"
    conda:
        ENVIRONMENT
    resources:
        **requested("render_report"),
    params:
        config=PROTOCOL,
        table=table_as_read,
        inputs=REPORTED,
        code=code_of("render_report.py"),
    script:
        SCRIPTS / "render_report.py"
