# Folds drawn once, each regression fitted inside them, metrics and importance.
rule write_splits:
    input:
        materials="results/materials.csv",
    output:
        splits="results/splits.csv",
    log:
        "logs/write_splits.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        kinds=SPLITS,
        n_folds=config["evaluation"]["n_folds"],
        validation_fraction=config["evaluation"]["validation_fraction"],
        seed=config["seed"],
        code=code_digest("splits.py"),
    script:
        SCRIPTS / "write_splits.py"


SETTINGS_OF = {"blend": "lightgbm"}  # whose section of the configuration a model is fitted with


rule fit_regression:
    """All folds and targets of one model on one feature set; split "all" makes the model that predicts."""
    input:
        materials="results/materials.csv",
        splits="results/splits.csv",
        features=feature_files,
    output:
        folder=directory("results/regression/{model}/{features}/{split}"),
    log:
        "logs/fit_regression/{model}/{features}/{split}.log",
    benchmark:
        "results/benchmarks/fit_regression/{model}/{features}/{split}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
        gpu=lambda wildcards: 1 if wildcards.model == "attention_cnn" else 0,
    params:
        settings=lambda wildcards: config.get(SETTINGS_OF.get(wildcards.model, wildcards.model), {}),
        latent_pca_components=config["features"]["latent_pca_components"],
        seed=config["seed"],
        code=code_digest(
            "blocks.py",
            "regression.py",
            "boosting.py",
            "cnn_training.py",
            "families.py",
            "gaussian_process.py",
            "models/attention_cnn.py",
        ),
    script:
        SCRIPTS / "fit_regression.py"


rule evaluate_regressions:
    input:
        materials="results/materials.csv",
        splits="results/splits.csv",
        regressions=regression_folders(SPLITS),
    output:
        metrics="results/metrics.csv",
        summary="results/metrics_summary.csv",
    log:
        "logs/evaluate_regressions.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_digest("metrics.py", "regression.py", "elasticity.py"),
    script:
        SCRIPTS / "evaluate_regressions.py"


rule explain_regression:
    """Share of each feature block in the predictions, by SHAP values on test folds."""
    input:
        materials="results/materials.csv",
        splits="results/splits.csv",
        features=feature_files,
        regression="results/regression/{model}/{features}/{split}",
    output:
        importance="results/importance/{model}/{features}/{split}.csv",
    log:
        "logs/explain_regression/{model}/{features}/{split}.log",
    benchmark:
        "results/benchmarks/explain_regression/{model}/{features}/{split}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        seed=config["seed"],
        code=code_digest("importance.py"),
    script:
        SCRIPTS / "explain_regression.py"
