"""Splits of the labelled materials into folds, drawn once."""

from rho2prop.core.jobs.log import job
from rho2prop.core.tables import write_table
from rho2prop.materials.collection import read_materials
from rho2prop.materials.splits import draw_splits

with job(snakemake):
    params = snakemake.params
    materials = read_materials(snakemake.input.materials)
    drawn = (params.kinds, params.n_folds, params.validation_fraction, params.seed)
    splits = draw_splits(materials, *drawn, params.given)
    write_table(splits, snakemake.output.splits)
