# Feature blocks of the training materials that are not learned.
rule write_descriptors:
    """Composition (MAGPIE) and crystal structure."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        magpie="results/features/magpie.csv",
        structure="results/features/structure.csv",
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
        code=code_digest("descriptors.py"),
    script:
        SCRIPTS / "write_descriptors.py"


rule write_fingerprints:
    """Invariant statistics of each density."""
    input:
        dft=dft_folders("train"),
        materials="results/materials.csv",
    output:
        fingerprint="results/features/fingerprint.csv",
    log:
        "logs/write_fingerprints.log",
    benchmark:
        "results/benchmarks/write_fingerprints.tsv"
    priority: 10
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=code_digest(
            "fingerprint.py", "centres.py", "fourier.py", "transformations.py"
        ),
    script:
        SCRIPTS / "write_fingerprints.py"
