# Structures of the embedded set; rows of a materials table name their own files.
if config["materials"] == "elements":

    rule write_elements:
        output:
            structures=expand(
                "resources/elements/{material}.vasp", material=list(MATERIALS)
            ),
        log:
            "logs/write_elements.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            materials=list(MATERIALS),
        script:
            SCRIPTS / "write_elements.py"
