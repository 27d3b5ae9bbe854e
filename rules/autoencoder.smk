# The 3D autoencoder: training, reconstruction errors.
rule write_grids:
    """Grids of a field of all materials, which all trainings on it read; removed once the last one is done."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        grids=temp(directory("results/grids/{field}")),
    log:
        "logs/write_grids/{field}.log",
    benchmark:
        "results/benchmarks/write_grids/{field}.tsv"
    priority: 20
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        **requested("write_grids"),
        disk_mb=grids_disk,
    params:
        grid=config["grid"],
        precision=config["autoencoder"]["grid_precision"],
        work="results/checkpoints/grids/{field}",
        code=code_of("write_grids.py"),
    script:
        SCRIPTS / "write_grids.py"


rule train_autoencoder:
    """Autoencoder of scope "all" (unsupervised) or "<split>-<fold>" (trained on the training part of that fold)."""
    input:
        grids=lambda wildcards: f"results/grids/{field_of(wildcards.scope)[0]}",
        splits=lambda wildcards: (
            [] if wildcards.scope == "all" else "results/splits.csv"
        ),
    output:
        folder=directory("results/autoencoder/{scope}"),
    log:
        "logs/train_autoencoder/{scope}.log",
    benchmark:
        "results/benchmarks/train_autoencoder/{scope}.tsv"
    priority: 20  # uses all cores of a small machine: must start before the many small jobs, or it waits for the last of them
    conda:
        ENVIRONMENT
    threads: config["autoencoder"]["threads"]
    resources:
        **requested("train_autoencoder"),
        **rank_resources(
            config["autoencoder"]["devices"], config["autoencoder"]["nodes"]
        ),
    params:
        # own threads, not those of the rule, which --cores limits: the last digits depend on them
        autoencoder={
            key: value
            for key, value in config["autoencoder"].items()
            if key not in ("scope", "compared_fields")
        },
        grid=config["grid"],
        seed=config["seed"],
        work="results/checkpoints/autoencoder/{scope}",
        code=code_of("train_autoencoder.py", "write_grids.py"),
    script:
        SCRIPTS / "train_autoencoder.py"


rule evaluate_reconstruction:
    """Reconstruction errors of the autoencoder, Fourier truncation and zfp at equal bytes."""
    input:
        materials="results/materials.csv",
        autoencoder="results/autoencoder/{scope}",
    output:
        errors="results/reconstruction/{scope}.csv",
    log:
        "logs/evaluate_reconstruction/{scope}.log",
    benchmark:
        "results/benchmarks/evaluate_reconstruction/{scope}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **requested("evaluate_reconstruction"),
    params:
        grid=config["grid"],
        code=code_of("evaluate_reconstruction.py"),
    script:
        SCRIPTS / "evaluate_reconstruction.py"


rule write_slices:
    """Original and reconstructed density of two test materials and their difference, for the report."""
    input:
        materials="results/materials.csv",
        autoencoder="results/autoencoder/all",
    output:
        slices=expand("results/reconstruction/slices/{number}.npz", number=[1, 2]),
    log:
        "logs/write_slices.log",
    benchmark:
        "results/benchmarks/write_slices.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **requested("write_slices"),
    params:
        grid=config["grid"],
        code=code_of("write_slices.py"),
    script:
        SCRIPTS / "write_slices.py"
