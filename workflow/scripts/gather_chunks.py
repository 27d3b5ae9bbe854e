"""One file of features from those of its chunks, in the order of the materials."""

from rho2prop.core.jobs.log import job
from rho2prop.features.gathering import gather
from rho2prop.materials.collection import read_materials

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    gather(list(snakemake.input.chunks), list(materials["material_id"]), snakemake.output.whole)
