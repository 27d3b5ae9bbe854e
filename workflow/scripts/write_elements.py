"""Structures of the embedded set of elemental crystals."""

from pathlib import Path

from rho2prop.core.jobs.log import job
from rho2prop.materials.table import write_element_structures

with job(snakemake):
    write_element_structures(snakemake.params.materials, Path(snakemake.output[0]).parent)
