"""Composition and structure blocks of the training materials."""

from rho2prop.collection import load, read_materials, write_block
from rho2prop.descriptors import cohesion_features, element_features, magpie_features, structure_features
from rho2prop.script_log import logged
from rho2prop.structures import structure_from_density

with logged(snakemake.log[0]):
    materials = read_materials(snakemake.input.materials)
    structures = {name: structure_from_density(load(name)) for name in materials["material_id"]}
    write_block(magpie_features(structures), snakemake.output.magpie)
    write_block(cohesion_features(structures), snakemake.output.cohesion)
    write_block(element_features(structures), snakemake.output.elements)
    write_block(structure_features(structures), snakemake.output.structure)
