# Structures of the embedded set; rows of a materials table name their own files.
if config["materials"] == "elements":

    rule write_elements:
        output:
            structures=expand("resources/elements/{material}.vasp", material=list(MATERIALS)),
        log:
            "logs/write_elements.log",
        params:
            materials=list(MATERIALS),
            folder="resources/elements",
        resources:
            mem_mb=1000,
            runtime=10,
        conda:
            ENVIRONMENT
        script:
            SCRIPTS / "write_elements.py"
