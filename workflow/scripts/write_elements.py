"""Structures of the embedded set of elemental crystals."""

from pathlib import Path

from rho2prop.materials import write_element_structures
from rho2prop.script_log import logged

with logged(snakemake.log[0]):
    write_element_structures(snakemake.params.materials, Path(snakemake.output[0]).parent)
