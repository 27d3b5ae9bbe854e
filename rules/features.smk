# Feature blocks of the training materials, except latents.
rule write_descriptors:
    """All table blocks without a field: composition and crystal structure."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        **descriptor_files(),
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
    """Crystal graphs for the graph network."""
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
    """Table block of one field: total density, promolecule, deformation density or atom positions."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        table="results/features/{block}.csv",
    log:
        "logs/write_fingerprints/{block}.log",
    benchmark:
        "results/benchmarks/write_fingerprints/{block}.tsv"
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
