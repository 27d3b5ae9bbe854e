"""VASP inputs of all materials, without POTCARs."""

from rho2prop.core.atomic_files import atomic
from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.dft.vasp.inputs import write_inputs_of_all
from rho2prop.dft.vasp.settings import VaspSettings

with job(snakemake), atomic(snakemake.output.folder) as folder:
    structures = dict(zip(snakemake.params.ids, snakemake.input.structures, strict=True))
    content = {**snakemake.params.settings, "machine": snakemake.params.machine}
    settings = read_section(VaspSettings, content, "dft.vasp")
    failures = write_inputs_of_all(structures, folder, settings, snakemake.threads)
    print(f"inputs of {len(structures) - len(failures)} of {len(structures)} materials", *failures.values(), sep="\n")
