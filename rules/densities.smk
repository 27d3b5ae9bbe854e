# One self-consistent density per material, then the list of what converged.
# What a setting says about the machine and not about the result redoes nothing when it changes.
MACHINE_SETTINGS = {
    key: value
    for key, value in config["dft"][ENGINE].items()
    if key in ("binary", "atom_binary", "polling_s", "walltime_margin_s", "retries")
}
SETTINGS = {
    key: value
    for key, value in config["dft"][ENGINE].items()
    if key not in (*MACHINE_SETTINGS, "launch", "ranks")
}
LAUNCH = config["dft"][ENGINE].get("launch", "")


rule run_dft:
    """One material: density.npz (where converged) and outcome.json, always both checked."""
    input:
        structure=lambda wildcards: materials()[wildcards.material].structure,
        density=lambda wildcards: (
            [materials()[wildcards.material].density] if ENGINE == "files" else []
        ),
    output:
        folder=directory("results/dft/{material}"),
    log:
        "logs/run_dft/{material}.log",
    benchmark:
        "results/benchmarks/run_dft/{material}.tsv"
    conda:
        ENVIRONMENT
    threads: config["dft"][ENGINE].get("ranks", 1)
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        engine=ENGINE,
        settings=SETTINGS,
        machine=lambda wildcards, resources: MACHINE_SETTINGS,
        launch=lambda wildcards, resources: LAUNCH,
        scratch="scratch/dft/{material}",
    script:
        SCRIPTS / "run_dft.py"


checkpoint list_elements:
    """Elements of all materials of a role."""
    input:
        structures=lambda wildcards: [
            materials()[name].structure for name in names(wildcards.role)
        ],
    output:
        elements="results/elements/{role}.txt",
    log:
        "logs/list_elements/{role}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=30,
    script:
        SCRIPTS / "list_elements.py"


rule run_atom:
    """One free atom per element: the zero of the formation energies (dft.formation_energy: computed)."""
    output:
        folder=directory("results/atoms/{element}"),
    log:
        "logs/run_atom/{element}.log",
    benchmark:
        "results/benchmarks/run_atom/{element}.tsv"
    conda:
        ENVIRONMENT
    threads: config["dft"][ENGINE].get("ranks", 1)
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        engine=ENGINE,
        settings=SETTINGS,
        machine=lambda wildcards, resources: MACHINE_SETTINGS,
        launch=lambda wildcards, resources: LAUNCH,
        scratch="scratch/atoms/{element}",
    script:
        SCRIPTS / "run_atom.py"


rule collect_materials:
    """Outcomes of all training materials; those that failed are set aside here."""
    input:
        dft=dft_folders("train"),
        atoms=atom_folders("train"),
    output:
        materials="results/materials.csv",
        outcomes="results/dft_outcomes.csv",
        atoms="results/atoms.csv",
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
        labels=lambda wildcards: {
            name: materials()[name].labels for name in names("train")
        },
        structures=lambda wildcards: {
            name: materials()[name].structure for name in names("train")
        },
        computed=config["dft"]["formation_energy"] == "computed",
        min_converged_fraction=config["dft"]["min_converged_fraction"],
        code=code_digest("collection.py", "formation.py"),
    script:
        SCRIPTS / "collect_materials.py"
