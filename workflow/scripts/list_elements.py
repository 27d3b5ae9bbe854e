"""Elements of all materials of one role: the free atoms that their atomization energies need."""

from rho2prop.core.atomic_files import atomic
from rho2prop.core.jobs.log import job
from rho2prop.dft.atomization_energy import elements_of

with job(snakemake), atomic(snakemake.output.elements) as temporary:
    temporary.write_text("".join(f"{symbol}\n" for symbol in elements_of(list(snakemake.input.structures))))
