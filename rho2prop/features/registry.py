"""Registry of the feature blocks. Imports nothing slow, since the Snakefile reads it.

A new block is one function ``make`` and one line in ``BLOCKS``. Rules, checks, labels and bundles follow.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rho2prop.core.named import load_named
from rho2prop.densities.field_names import ATOM_POSITIONS, DEFORMATION, FIELDS, PROMOLECULE, TOTAL

COMPOSITION, STRUCTURE, ATOMS, DENSITY = "composition", "structure", "atoms", "density"
TABLE, LATENT, LATENT_PCA, GRAPH = "table", "latent", "latent_pca", "graph"
SHARES, COHESIVE_ENERGY = "composition", "cohesive_energy"  # blocks that models treat in ways of their own


@dataclass(frozen=True)
class Block:
    """A feature block.

    Parameters
    ----------
    name
        Key of the configuration and stem of its file.
    source
        What it is made from: ``composition``, ``structure``, ``atoms`` (promolecule or atom positions; no
        bonds) or ``density``. For the first two the workflow reads lattice and atoms only.
    make
        ``module:function`` that describes one crystal (``rho2prop.densities.crystal_description``): ``make(crystal)``,
        of a block with a field ``make(crystal, field)``. A table's returns its row, feature name to value. Empty for
        latents, which the autoencoder makes.
    field
        Field that it is made from (``rho2prop.densities.fields``); empty for none.
    form
        ``table`` (one row per material), ``latent``, ``latent_pca`` (of the autoencoder) or ``graph``.
    label, short
        In tables and in figures; the name in words unless given.
    blank
        Columns with one of these in their name may be blank: the tables of the elements lack values of some.
    version
        To be raised when the same name comes to mean other numbers.
    """

    name: str
    source: str
    make: str = ""
    field: str = ""
    form: str = TABLE
    label: str = ""
    short: str = ""
    blank: tuple[str, ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        label = self.label or self.name.replace("_", " ")
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "short", self.short or label)

    @property
    def needs_promolecule(self) -> bool:
        """Whether it needs a density that is stored with its promolecule."""
        return self.field in (PROMOLECULE, DEFORMATION)

    @property
    def needs_field(self) -> bool:
        """Whether lattice and atoms alone do not suffice."""
        return self.source not in (COMPOSITION, STRUCTURE)

    @property
    def is_descriptor(self) -> bool:
        """Whether it is a table without a field; one job computes all such tables of a chunk of materials."""
        return self.form == TABLE and not self.field

    @property
    def travels(self) -> bool:
        """Whether models of a bundle can read it; a bundle has only the autoencoder of the total density."""
        return self.form == TABLE or (self.form in (LATENT, LATENT_PCA) and self.field == TOTAL)

    def is_blank_allowed(self, column: str) -> bool:
        """Whether a feature may be blank, because it is unknown for some elements."""
        return any(part in column for part in self.blank)

    def maker(self) -> Callable:
        """Function of one argument that describes a crystal; its module is imported now."""
        function = load_named(self.make)
        return (lambda crystal: function(crystal, self.field)) if self.field else function


_FINGERPRINT = "rho2prop.features.fingerprint:fingerprint_row"
_OF_ELEMENTS = ("MeltingT", "CovalentRadius", "Electronegativity", "SpaceGroupNumber")
BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        Block("magpie", COMPOSITION, "rho2prop.features.magpie_table:magpie_row", label="MAGPIE", blank=_OF_ELEMENTS),
        Block(SHARES, COMPOSITION, "rho2prop.features.composition:composition_row"),
        Block(COHESIVE_ENERGY, COMPOSITION, "rho2prop.features.composition:cohesive_energy_row", blank=("",)),
        Block("elemental_solids", STRUCTURE, "rho2prop.features.structure:elemental_solids_row", blank=("",)),
        Block("structure", STRUCTURE, "rho2prop.features.structure:structure_row"),
        Block("spring_network", STRUCTURE, "rho2prop.features.spring_network:spring_network_row"),
        Block("fingerprint", DENSITY, _FINGERPRINT, TOTAL, short="FP"),
        Block("promolecule_fingerprint", ATOMS, _FINGERPRINT, PROMOLECULE, short="promolecule FP"),
        Block("deformation_fingerprint", DENSITY, _FINGERPRINT, DEFORMATION, short="ΔFP"),
        Block("atom_position_fingerprint", ATOMS, _FINGERPRINT, ATOM_POSITIONS, short="atom position FP"),
        Block("latent", DENSITY, "", TOTAL, LATENT),
        Block("promolecule_latent", ATOMS, "", PROMOLECULE, LATENT),
        Block("deformation_latent", DENSITY, "", DEFORMATION, LATENT, short="Δ latent"),
        Block("atom_position_latent", ATOMS, "", ATOM_POSITIONS, LATENT),
        Block("latent_pca", DENSITY, "", TOTAL, LATENT_PCA, label="latent PCA"),
        Block("promolecule_latent_pca", ATOMS, "", PROMOLECULE, LATENT_PCA, label="promolecule latent PCA"),
        Block("deformation_latent_pca", DENSITY, "", DEFORMATION, LATENT_PCA, "deformation latent PCA", "Δ latent PCA"),
        Block("atom_position_latent_pca", ATOMS, "", ATOM_POSITIONS, LATENT_PCA, label="atom position latent PCA"),
        Block("graph", STRUCTURE, "rho2prop.features.crystal_graphs:graph", form=GRAPH, label="crystal graph"),
    )
}
assert set(FIELDS) == {block.field for block in BLOCKS.values()} - {""}


def blocks_that(is_wanted: Callable[[Block], bool]) -> list[str]:
    """Names of the blocks that a function selects, in the order of the registry."""
    return [name for name, block in BLOCKS.items() if is_wanted(block)]


def blocks_label(blocks: Iterable[str], is_short: bool = False) -> str:
    """Labels of blocks, as ``MAGPIE + latent PCA``."""
    labels = [BLOCKS[name].short if is_short else BLOCKS[name].label for name in blocks]
    return " + ".join(labels) or "none"


def reads_latents(blocks: Iterable[str]) -> bool:
    """Whether any of the blocks comes from an autoencoder."""
    return any(BLOCKS[name].form in (LATENT, LATENT_PCA) for name in blocks)
