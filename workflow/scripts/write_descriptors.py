"""Composition and structure blocks of the training materials."""

from rho2prop.core.jobs.log import job
from rho2prop.crystals.structures import structure_from_density
from rho2prop.features.block_files import write_block
from rho2prop.features.description import descriptor_tables
from rho2prop.materials.collection import load, read_materials

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    structures = {name: structure_from_density(load(name)) for name in materials["material_id"]}
    wanted = dict(snakemake.output.items())
    for block, table in descriptor_tables(structures, set(wanted)).items():
        write_block(table, wanted[block])
