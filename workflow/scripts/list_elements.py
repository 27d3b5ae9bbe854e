"""Elements of all materials of one role: the free atoms that their formation energies need."""

from rho2prop.atomic import atomic
from rho2prop.formation import elements_of
from rho2prop.script_log import job

with job(snakemake), atomic(snakemake.output.elements) as temporary:
    temporary.write_text("".join(f"{symbol}\n" for symbol in elements_of(list(snakemake.input.structures))))
