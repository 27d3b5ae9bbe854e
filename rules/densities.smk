# One self-consistent density per material, then the table of converged materials.
# Settings of the machine (dft.<engine>.machine) must not trigger reruns: params that are functions of `resources` do
# not count as changes.
SETTINGS = {
    key: value for key, value in config["dft"][ENGINE].items() if key != "machine"
}
if SETTINGS.get("promolecule") == "gpaw":
    SETTINGS |= {key: config["dft"]["gpaw"][key] for key in ("xc", "ecut_ev")}
MACHINE = dict(config["dft"][ENGINE].get("machine", {}))
PER_JOB = MACHINE.pop("materials_per_job", 1)
RANKS = MACHINE.get("ranks", 1)
PRESET = preset_digest(SETTINGS["preset"]) if ENGINE == "vasp" else None


if PER_JOB == 1 or MATERIALS is None:

    rule run_dft:
        """Density (where converged) and outcome of one material, both checked."""
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
        threads: RANKS
        resources:
            **requested("run_dft"),
            mp_requests=int(ENGINE == MATERIALS_PROJECT),  # the profile limits concurrent requests
        params:
            engine=ENGINE,
            settings=SETTINGS,
            preset=PRESET,
            machine=lambda wildcards, resources: MACHINE,
            scratch="scratch/dft/{material}",
        script:
            SCRIPTS / "run_dft.py"

else:  # engines of seconds: a job of its own would cost each material more than the work
    for batch, members in chunks_of(tuple(MATERIALS), PER_JOB).items():

        rule:
            name:
                f"run_dft_{batch}"
            input:
                structures=[MATERIALS[name].structure for name in members],
                densities=[
                    MATERIALS[name].density for name in members if ENGINE == "files"
                ],
            output:
                folders=[directory(f"results/dft/{name}") for name in members],
            log:
                f"logs/run_dft/batch-{batch}.log",
            benchmark:
                f"results/benchmarks/run_dft/batch-{batch}.tsv"
            conda:
                ENVIRONMENT
            resources:
                **requested("run_dft"),
            params:
                engine=ENGINE,
                settings=SETTINGS,
            script:
                SCRIPTS / "run_dft_batch.py"


rule write_vasp_inputs:
    """INCAR, POSCAR and POTCAR.spec of all materials, for inspection or another machine; needs neither VASP nor POTCARs."""
    input:
        structures=lambda wildcards: [
            material.structure for material in materials().values()
        ],
    output:
        folder=directory("results/vasp_inputs"),
    log:
        "logs/write_vasp_inputs.log",
    benchmark:
        "results/benchmarks/write_vasp_inputs.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **requested("write_vasp_inputs"),
    params:
        code=code_of("write_vasp_inputs.py"),
        ids=lambda wildcards: list(materials()),
        settings={
            key: value
            for key, value in config["dft"]["vasp"].items()
            if key != "machine"
        },
        machine=lambda wildcards, resources: config["dft"]["vasp"]["machine"],
        preset=preset_digest(config["dft"]["vasp"]["preset"]),
    script:
        SCRIPTS / "write_vasp_inputs.py"


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
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code_of("list_elements.py"),
    script:
        SCRIPTS / "list_elements.py"


rule run_atom:
    """Free atom of one element, for atomization energies (dft.atomization_energy: computed)."""
    output:
        folder=directory("results/atoms/{element}"),
    log:
        "logs/run_atom/{element}.log",
    benchmark:
        "results/benchmarks/run_atom/{element}.tsv"
    conda:
        ENVIRONMENT
    threads: RANKS
    resources:
        **requested("run_atom"),
    params:
        engine=ENGINE,
        settings=SETTINGS,
        preset=PRESET,
        machine=lambda wildcards, resources: MACHINE,
        scratch="scratch/atoms/{element}",
    script:
        SCRIPTS / "run_atom.py"


rule collect_materials:
    """Outcomes of all training materials, and the table of those that converged."""
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
        **requested("collect_materials"),
    params:
        labels=lambda wildcards: {
            name: materials()[name].labels for name in names("train")
        },
        structures=lambda wildcards: {
            name: materials()[name].structure for name in names("train")
        },
        table=table_as_read,
        computed=config["dft"]["atomization_energy"] == "computed",
        min_converged_fraction=config["dft"]["min_converged_fraction"],
        code=code_of("collect_materials.py"),
    script:
        SCRIPTS / "collect_materials.py"
