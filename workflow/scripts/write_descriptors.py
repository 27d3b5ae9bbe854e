"""Composition and structure blocks of the training materials."""

from rho2prop.collection import load, read_materials, write_block
from rho2prop.description import descriptor_tables
from rho2prop.script_log import job
from rho2prop.structures import structure_from_density

with job(snakemake):
    materials = read_materials(snakemake.input.materials)
    structures = {name: structure_from_density(load(name)) for name in materials["material_id"]}
    wanted = dict(snakemake.output.items())
    for block, table in descriptor_tables(structures, set(wanted)).items():
        write_block(table, wanted[block])
