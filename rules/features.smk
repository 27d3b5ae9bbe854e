# Feature blocks of the training materials that are not learned.
rule write_descriptors:
    """Composition (MAGPIE; shares, cohesive energy and solids of the elements) and crystal structure (with a network of
    springs)."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        magpie="results/features/magpie.csv",
        composition="results/features/composition.csv",
        cohesive_energy="results/features/cohesive_energy.csv",
        elemental_solids="results/features/elemental_solids.csv",
        structure="results/features/structure.csv",
        spring_network="results/features/spring_network.csv",
    log:
        "logs/write_descriptors.log",
    benchmark:
        "results/benchmarks/write_descriptors.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_of("write_descriptors.py"),
    script:
        SCRIPTS / "write_descriptors.py"


rule write_graphs:
    """Atoms and bonds, for the graph network."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        graphs="results/features/graph.npz",
    log:
        "logs/write_graphs.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_of("write_graphs.py"),
    script:
        SCRIPTS / "write_graphs.py"


rule write_fingerprints:
    """Invariant statistics of one field of each density: total, promolecule, deformation, atom positions."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        fingerprint="results/features/{fingerprint}.csv",
    log:
        "logs/write_fingerprints/{fingerprint}.log",
    benchmark:
        "results/benchmarks/write_fingerprints/{fingerprint}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=code_of("write_fingerprints.py"),
    script:
        SCRIPTS / "write_fingerprints.py"
