# Feature blocks and latents of the training materials: one job per chunk of materials, then one that joins the chunks.
# Jobs of a chunk do not read results/materials.csv, which every added row changes: materials without density are left out.
rule write_descriptors:
    """All table blocks without a field: composition and crystal structure."""
    input:
        dft=dft_of_chunk,
    output:
        **descriptor_files(),
    log:
        "logs/write_descriptors/{chunk}.log",
    benchmark:
        "results/benchmarks/write_descriptors/{chunk}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **requested("write_descriptors"),
    params:
        code=code_of("write_descriptors.py"),
    script:
        SCRIPTS / "write_descriptors.py"


rule write_graphs:
    """Crystal graphs for the graph network."""
    input:
        dft=dft_of_chunk,
    output:
        graphs=f"{CHUNKS}/features/graph/{{chunk}}.npz",
    log:
        "logs/write_graphs/{chunk}.log",
    benchmark:
        "results/benchmarks/write_graphs/{chunk}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **requested("write_graphs"),
    params:
        code=code_of("write_graphs.py"),
    script:
        SCRIPTS / "write_graphs.py"


rule write_fingerprints:
    """Table block of one field: total density, promolecule, deformation density or atom positions."""
    input:
        dft=dft_of_chunk,
    output:
        table=f"{CHUNKS}/features/{{block}}/{{chunk}}.csv",
    log:
        "logs/write_fingerprints/{block}/{chunk}.log",
    benchmark:
        "results/benchmarks/write_fingerprints/{block}/{chunk}.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **requested("write_fingerprints"),
    params:
        code=code_of("write_fingerprints.py"),
    script:
        SCRIPTS / "write_fingerprints.py"


rule encode_latents:
    """Latents by the autoencoder of one scope."""
    input:
        dft=dft_of_chunk,
        autoencoder="results/autoencoder/{scope}",
    output:
        latents=f"{CHUNKS}/latents/{{scope}}/{{chunk}}.npz",
    log:
        "logs/encode_latents/{scope}/{chunk}.log",
    benchmark:
        "results/benchmarks/encode_latents/{scope}/{chunk}.tsv"
    priority: 20
    conda:
        ENVIRONMENT
    threads: config["autoencoder"]["threads"]
    resources:
        **requested("encode_latents"),
        gpu=1,
    params:
        grid=config["grid"],
        threads=config["autoencoder"]["threads"],
        code=code_of("encode_latents.py"),
    script:
        SCRIPTS / "encode_latents.py"


rule gather_chunks:
    """One file of features from those of its chunks."""
    input:
        chunks=chunk_files,
        materials="results/materials.csv",
    output:
        whole="results/{kind}/{name}.{suffix}",
    log:
        "logs/gather_chunks/{kind}/{name}.{suffix}.log",
    wildcard_constraints:
        kind="features|latents",
        name=r"[A-Za-z0-9_-]+",
        suffix="csv|npz",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code_of("gather_chunks.py"),
    script:
        SCRIPTS / "gather_chunks.py"
