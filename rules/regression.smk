# Splits, regressions fitted inside the folds, metrics and importance.
rule write_splits:
    input:
        materials=table_with_enough_labels,
    output:
        splits="results/splits.csv",
    log:
        "logs/write_splits.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        kinds=PLAN.evaluation.splits,
        n_folds=PLAN.evaluation.n_folds,
        validation_fraction=PLAN.evaluation.validation_fraction,
        given=given_parts,
        seed=config["seed"],
        code=code_of("write_splits.py"),
    script:
        SCRIPTS / "write_splits.py"


LEARNING = [choice.folder for choice in PLAN.learning_curve.models]


rule fit_regression:
    """All folds and targets of one model on one feature set; split "all" gives the final model."""
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
    wildcard_constraints:
        model="|".join(models_that_need_gpu(False)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **requested("fit_regression"),
    params:
        blocks=blocks_of,
        settings=settings_of,
        latent_pca_components=config["features"]["latent_pca_components"],
        seed=config["seed"],
        code=code_of("fit_regression.py"),
    script:
        SCRIPTS / "fit_regression.py"


use rule fit_regression as fit_network with:
    wildcard_constraints:
        model="|".join(models_that_need_gpu(True)),
    resources:
        **requested("fit_network"),
        gpu=1,


rule learn_from_fewer:
    """The same on fewer training materials, for the learning curve."""
    input:
        materials="results/materials.csv",
        splits="results/splits.csv",
        features=feature_files,
    output:
        folder=directory("results/learning/{model}/{features}/{split}"),
    log:
        "logs/learn_from_fewer/{model}/{features}/{split}.log",
    benchmark:
        "results/benchmarks/learn_from_fewer/{model}/{features}/{split}.tsv"
    wildcard_constraints:
        model="|".join(models_that_need_gpu(False)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **requested("learn_from_fewer"),
    params:
        sizes=PLAN.learning_curve.sizes,
        blocks=blocks_of,
        settings=settings_of,
        latent_pca_components=config["features"]["latent_pca_components"],
        seed=config["seed"],
        code=code_of("learn_from_fewer.py"),
    script:
        SCRIPTS / "learn_from_fewer.py"


use rule learn_from_fewer as learn_network with:
    wildcard_constraints:
        model="|".join(models_that_need_gpu(True)),
    resources:
        **requested("learn_network"),
        gpu=1,


rule evaluate_learning:
    input:
        learned=[f"results/learning/{folder}/{PLAN.main_split}" for folder in LEARNING],
        whole=[f"results/regression/{folder}/{PLAN.main_split}" for folder in LEARNING],
    output:
        curve="results/learning_curve.csv",
    log:
        "logs/evaluate_learning.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_of("evaluate_learning.py"),
    script:
        SCRIPTS / "evaluate_learning.py"


rule evaluate_regressions:
    input:
        materials="results/materials.csv",
        splits="results/splits.csv",
        regressions=PLAN.regressions(),
    output:
        metrics="results/metrics.csv",
        summary="results/metrics_summary.csv",
    log:
        "logs/evaluate_regressions.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_of("evaluate_regressions.py"),
    script:
        SCRIPTS / "evaluate_regressions.py"


rule list_largest_errors:
    """Largest errors of the first trained model under predict, on the last split."""
    input:
        materials="results/materials.csv",
        structures=lambda wildcards: [
            materials()[name].structure for name in names("train")
        ],
        chosen=PLAN.predicting(PLAN.main_split),
        regressions=PLAN.regressions(PLAN.main_split),
    output:
        errors="results/largest_errors.csv",
    log:
        "logs/list_largest_errors.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_of("list_largest_errors.py"),
    script:
        SCRIPTS / "list_largest_errors.py"


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
        **requested("explain_regression"),
    params:
        seed=config["seed"],
        code=code_of("explain_regression.py"),
    script:
        SCRIPTS / "explain_regression.py"
