"""Structures of the embedded set of elemental crystals."""

from pathlib import Path

from rho2prop.materials import write_element_structures
from rho2prop.script_log import job

with job(snakemake):
    write_element_structures(snakemake.params.materials, Path(snakemake.output[0]).parent)
