"""VASP's inputs of all materials, without POTCARs."""

from rho2prop.atomic import atomic
from rho2prop.dft.vasp_inputs import write_inputs_of_all
from rho2prop.script_log import job

with job(snakemake), atomic(snakemake.output.folder) as folder:
    structures = dict(zip(snakemake.params.ids, snakemake.input.structures, strict=True))
    failures = write_inputs_of_all(structures, folder, snakemake.params.settings, snakemake.threads)
    print(f"inputs of {len(structures) - len(failures)} of {len(structures)} materials", *failures.values(), sep="\n")
