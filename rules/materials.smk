# Structures and labels, unless a materials table provides them.
if config["materials"] == "elements":

    rule write_elements:
        output:
            structures=expand(
                "resources/elements/{material}.vasp", material=list(MATERIALS)
            ),
        log:
            "logs/write_elements.log",
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(1000),
            runtime=growing(10),
        params:
            code=code_of("write_elements.py"),
            materials=list(MATERIALS),
        script:
            SCRIPTS / "write_elements.py"

elif config["materials"] == MATERIALS_PROJECT:
    FETCHING = ("page_size", "pause_s", "timeout_s", "retries", "backoff_s")

    # All elastic tensors (without_labels: predict: all materials) of the Materials Project; needs network and MP_API_KEY.
    # Delete the file to fetch it again.
    rule fetch_materials_project:
        output:
            snapshot=protected(config["materials_project"]["snapshot"]),
        log:
            "logs/fetch_materials_project.log",
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(2000),
            runtime=growing(240),
        params:
            # changed download settings must not trigger another download
            settings=lambda wildcards, resources: {
                key: config["materials_project"][key] for key in FETCHING
            },
            all_materials=lambda wildcards, resources: (
                config["materials_project"]["without_labels"] == "predict"
            ),
        script:
            SCRIPTS / "fetch_materials_project.py"

    checkpoint write_materials_project:
        """Materials table of what passes the filters, and the reasons for the rest."""
        input:
            snapshot=config["materials_project"]["snapshot"],
        output:
            materials="results/materials_project/materials.csv",
            rejected="results/materials_project/rejected.csv",
            properties="results/materials_project/properties.csv",
            structures=directory("results/materials_project/structures"),
        log:
            "logs/write_materials_project.log",
        benchmark:
            "results/benchmarks/write_materials_project.tsv"
        conda:
            ENVIRONMENT
        resources:
            **requested("write_materials_project"),
        params:
            filters={
                key: value
                for key, value in config["materials_project"].items()
                if key not in ("snapshot", *FETCHING)
            },
            code=code_of("write_materials_project.py"),
        script:
            SCRIPTS / "write_materials_project.py"
