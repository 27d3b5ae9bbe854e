"""Features of one material by block, from its density alone: a new one, or a known one described otherwise."""

from typing import TYPE_CHECKING

import pandas as pd

from rho2prop.densities.density import Density
from rho2prop.densities.field_names import field_of
from rho2prop.features.registry import COMPOSITION_BLOCKS, FINGERPRINTS, STRUCTURE_BLOCKS, TABLE_BLOCKS, needs_atoms

if TYPE_CHECKING:
    from pymatgen.core import Structure

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
    from rho2prop.features import descriptors
    from rho2prop.features.spring_network import spring_network_features

    made_by = {
        "magpie": descriptors.magpie_features,
        "composition": descriptors.composition_features,
        "cohesive_energy": descriptors.cohesive_energy_features,
        "elemental_solids": descriptors.elemental_solid_features,
        "structure": descriptors.structure_features,
        "spring_network": spring_network_features,
    }
    return {block: make(structures) for block, make in made_by.items() if block in blocks}


def describe(density: Density, name: str, blocks: set[str]) -> dict[str, pd.DataFrame]:
    """Tables with one row, index ``name``, of those of ``blocks`` that are tables.

    Raises
    ------
    InputError
        A block needs the superposition of atoms, which is not there.
    """
    tables = {}
    if {*COMPOSITION_BLOCKS, *STRUCTURE_BLOCKS} & blocks:
        from rho2prop.crystals.structures import structure_from_density

        structures = {name: structure_from_density(density)}
        tables |= descriptor_tables(structures, blocks)
    wanted = [block for block in FINGERPRINTS if block in blocks]
    if wanted:
        from rho2prop.features.fingerprint import fingerprint

        for block in wanted:
            row = fingerprint(density, field_of(block)[0])
            tables[block] = pd.DataFrame([row], index=[name])
    return tables
