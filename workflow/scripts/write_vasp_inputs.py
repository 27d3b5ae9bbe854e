"""VASP's inputs of all materials, without POTCARs."""

from rho2prop.core.atomic_files import atomic
from rho2prop.core.jobs.log import job
from rho2prop.dft.vasp.inputs import write_inputs_of_all

with job(snakemake), atomic(snakemake.output.folder) as folder:
    structures = dict(zip(snakemake.params.ids, snakemake.input.structures, strict=True))
    failures = write_inputs_of_all(structures, folder, snakemake.params.settings, snakemake.threads)
    print(f"inputs of {len(structures) - len(failures)} of {len(structures)} materials", *failures.values(), sep="\n")
