# One self-consistent density per material, then the list of what converged.
rule run_dft:
    """One material: density.npz (where converged) and outcome.json, always both checked."""
    input:
        structure=lambda wildcards: MATERIALS[wildcards.material].structure,
        density=lambda wildcards: (
            [MATERIALS[wildcards.material].density]
            if config["dft"]["engine"] == "files"
            else []
        ),
    output:
        folder=directory("results/dft/{material}"),
    log:
        "logs/run_dft/{material}.log",
    benchmark:
        "results/benchmarks/run_dft/{material}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        engine=config["dft"]["engine"],
        settings=config["dft"][config["dft"]["engine"]],
    script:
        SCRIPTS / "run_dft.py"


rule collect_materials:
    """Outcomes of all training materials; those that failed are set aside here."""
    input:
        dft=dft_folders(TRAINING),
    output:
        materials="results/materials.csv",
        outcomes="results/dft_outcomes.csv",
    log:
        "logs/collect_materials.log",
    benchmark:
        "results/benchmarks/collect_materials.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        labels={name: MATERIALS[name].labels for name in TRAINING},
        structures={name: MATERIALS[name].structure for name in TRAINING},
        min_converged_fraction=config["dft"]["min_converged_fraction"],
        code=code_digest("collection.py"),
    script:
        SCRIPTS / "collect_materials.py"
