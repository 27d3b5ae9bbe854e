"""Features of one material by block, from its density alone: a new one, or a known one described otherwise."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from rho2prop.densities.field_names import field_of
from rho2prop.features.registry import COMPOSITION_BLOCKS, FINGERPRINTS, STRUCTURE_BLOCKS, TABLE_BLOCKS, needs_atoms

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from rho2prop.densities.crystal_description import CrystalDescription

__all__ = [
    "COMPOSITION_BLOCKS", "NO_DENSITY", "NO_DENSITY_NAME", "TABLE_BLOCKS", "blocks_text", "describe",
    "descriptor_tables", "needs_atoms",
]  # fmt: skip
NO_DENSITY, NO_DENSITY_NAME = "+".join([*COMPOSITION_BLOCKS, *STRUCTURE_BLOCKS]), "all without density"

# Columns that the tables of the elements leave blank for some: those with one of these in their name, of these blocks.
MAY_BE_BLANK = {
    "magpie": ("MeltingT", "CovalentRadius", "Electronegativity", "SpaceGroupNumber"),
    "cohesive_energy": ("",),
    "elemental_solids": ("",),
}


def may_be_blank(block: str, column: str) -> bool:
    """Whether a feature is unknown for some elements; any other is known for every crystal."""
    return any(part in column for part in MAY_BE_BLANK.get(block, ()))


def blocks_text(features: str) -> str:
    """``magpie+latent_pca`` as ``MAGPIE + latent PCA``, all blocks without a density in one name."""
    return (
        features.replace(NO_DENSITY, NO_DENSITY_NAME)
        .replace("magpie", "MAGPIE")
        .replace("latent_pca", "latent PCA")
        .replace("_", " ")
        .replace("+", " + ")
    )


def descriptor_tables(structures: dict[str, "Structure"], blocks: set[str]) -> dict[str, pd.DataFrame]:
    """Those of ``blocks`` that need no density, for crystals by id."""
    from rho2prop.densities.crystal_description import CrystalDescription

    made_here = {*COMPOSITION_BLOCKS, *STRUCTURE_BLOCKS} & blocks
    rows = {name: _rows(CrystalDescription.of_structure(x, name), made_here) for name, x in structures.items()}
    return {block: _table({name: row[block] for name, row in rows.items()}) for block in made_here}


def describe(crystal: "CrystalDescription", name: str, blocks: set[str]) -> dict[str, pd.DataFrame]:
    """Tables with one row, index ``name``, of those of ``blocks`` that are tables.

    Raises
    ------
    InputError
        A block needs the promolecule, which is not there.
    """
    return {block: _table({name: row}) for block, row in _rows(crystal, blocks).items()}


def _rows(crystal: "CrystalDescription", blocks: set[str]) -> dict[str, dict[str, float]]:
    """Features of one material by block, of those of ``blocks`` that are tables."""
    from rho2prop.features import descriptors
    from rho2prop.features.fingerprint import fingerprint_row
    from rho2prop.features.magpie_table import magpie_row
    from rho2prop.features.spring_network import spring_network_row

    made_by = {
        "magpie": magpie_row,
        "composition": descriptors.composition_row,
        "cohesive_energy": descriptors.cohesive_energy_row,
        "elemental_solids": descriptors.elemental_solids_row,
        "structure": descriptors.structure_row,
        "spring_network": spring_network_row,
    } | {block: partial(fingerprint_row, field=field_of(block)[0]) for block in FINGERPRINTS}
    return {block: make(crystal) for block, make in made_by.items() if block in blocks}


def _table(rows: dict[str, dict[str, float]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("material_id")
