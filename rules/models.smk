# Products of the run: model bundle with checked intervals, latent database, invariance.
rule judge_final_models:
    """Compare final models with fold models; those that fall behind are not offered."""
    input:
        final=PLAN.predicting("all"),
        folds=PLAN.predicting(PLAN.main_split),
    output:
        judged="results/final_models.csv",
    log:
        "logs/judge_final_models.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        coverage=PLAN.intervals.coverage,
        code=code_of("judge_final_models.py"),
    script:
        SCRIPTS / "judge_final_models.py"


rule evaluate_intervals:
    """Coverage of the prediction intervals on held-out materials."""
    input:
        final=PLAN.predicting("all"),
        folds=PLAN.predicting(PLAN.main_split),
    output:
        intervals="results/intervals.csv",
    log:
        "logs/evaluate_intervals.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        coverage=PLAN.intervals.coverage,
        code=code_of("evaluate_intervals.py"),
    script:
        SCRIPTS / "evaluate_intervals.py"


rule write_bundle:
    """Model bundle: everything needed for predictions in one portable folder."""
    input:
        materials="results/materials.csv",
        features=["results/features/magpie.csv", "results/features/fingerprint.csv"],
        autoencoder="results/autoencoder/all",
        final=PLAN.predicting("all"),
        folds=PLAN.predicting(PLAN.main_split),
        intervals="results/intervals.csv",
        judged="results/final_models.csv",
    output:
        folder=directory("results/models"),
    log:
        "logs/write_bundle.log",
    benchmark:
        "results/benchmarks/write_bundle.tsv"
    conda:
        ENVIRONMENT
    resources:
        **requested("write_bundle"),
    params:
        config=PROTOCOL,
        code=code_of("write_bundle.py"),
    script:
        SCRIPTS / "write_bundle.py"


rule write_latent_database:
    """Latent database of training and new materials; its size and reconstruction errors."""
    input:
        latents="results/latents/all.npz",
        materials="results/materials.csv",
        new=lambda wildcards: [f"results/new/{name}" for name in names("predict")],
        autoencoder="results/autoencoder/all",
    output:
        # updated in place: only changed latents are read
        database=update("results/latents.sqlite"),
        sizes="results/latent_database.csv",
    log:
        "logs/write_latent_database.log",
    benchmark:
        "results/benchmarks/write_latent_database.tsv"
    priority: 5  # minutes on one core
    conda:
        ENVIRONMENT
    resources:
        **requested("write_latent_database"),
    params:
        code=code_of("write_latent_database.py"),
    script:
        SCRIPTS / "write_latent_database.py"


rule evaluate_invariance:
    """Predictions of the final models for rotated, shifted and supercell descriptions of the same crystals."""
    input:
        materials="results/materials.csv",
        autoencoder="results/autoencoder/all",
        regressions=[
            f"results/regression/{choice.folder}/all"
            for choice in PLAN.invariance.models
        ],
    output:
        invariance="results/invariance.csv",
    log:
        "logs/evaluate_invariance.log",
    benchmark:
        "results/benchmarks/evaluate_invariance.tsv"
    priority: 10  # minutes on one core: should not be the last job
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **requested("evaluate_invariance"),
    params:
        n_materials=PLAN.invariance.n_materials,
        seed=config["seed"],
        code=code_of("evaluate_invariance.py"),
    script:
        SCRIPTS / "evaluate_invariance.py"
