# New materials (rows without labels): densities and features, then predictions by the final models.
rule encode_material:
    """Feature blocks and latent of one new material; an empty folder if its DFT failed."""
    input:
        dft="results/dft/{material}",
        autoencoders=[
            f"results/autoencoder/{scope}"
            for scope in sorted({"all", *PLAN.latent_scopes(PLAN.main_split)})
        ],
    output:
        folder=directory("results/new/{material}"),
    log:
        "logs/encode_material/{material}.log",
    benchmark:
        "results/benchmarks/encode_material/{material}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **requested("encode_material"),
    params:
        structure=lambda wildcards: materials()[wildcards.material].structure,
        grid=config["grid"],
        blocks=PLAN.blocks_of(PLAN.predict),
        code=code_of("encode_material.py"),
    script:
        SCRIPTS / "encode_material.py"


rule predict_properties:
    input:
        dft=dft_folders("predict"),
        materials="results/materials.csv",
        new=lambda wildcards: [f"results/new/{name}" for name in names("predict")],
        final=PLAN.predicting("all"),
        folds=PLAN.predicting(PLAN.main_split),
        judged="results/final_models.csv",
    output:
        predictions="results/predictions.csv",
        outcomes="results/new_outcomes.csv",
    log:
        "logs/predict_properties.log",
    benchmark:
        "results/benchmarks/predict_properties.tsv"
    conda:
        ENVIRONMENT
    resources:
        **requested("predict_properties"),
    params:
        choices=config["predict"],
        code=code_of("predict_properties.py"),
    script:
        SCRIPTS / "predict_properties.py"
