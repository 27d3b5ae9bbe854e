"""Tables of blocks that need no density, for structures at hand."""

from collections.abc import Iterable, Mapping

import pandas as pd
from pymatgen.core import Structure

from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.features.description import table
from rho2prop.features.registry import BLOCKS


def descriptor_tables(structures: Mapping[str, Structure], blocks: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Tables of those of ``blocks`` that need no density, for crystals by id."""
    wanted = [BLOCKS[name] for name in blocks if BLOCKS[name].is_descriptor]
    crystals = {name: CrystalDescription.of_structure(structure, name) for name, structure in structures.items()}
    makers = {block.name: block.maker() for block in wanted}
    return {block: table({name: make(crystal) for name, crystal in crystals.items()}) for block, make in makers.items()}
