"""Feature blocks: names, sorts and what they are made of. Nothing slow is imported: the Snakefile reads this."""

from rho2prop.densities.field_names import DEFORMATION, FIELDS, PROMOLECULE, TOTAL, field_of

NO_FEATURES, LATENT, LATENT_PCA, GRAPH, FINGERPRINT = "none", "latent", "latent_pca", "graph", "fingerprint"
COMPOSITION, COHESIVE_ENERGY = "composition", "cohesive_energy"
COMPOSITION_BLOCKS = ("magpie", COMPOSITION, COHESIVE_ENERGY)
STRUCTURE_BLOCKS = ("elemental_solids", "structure", "spring_network")


def block_name(field: str, sort: str) -> str:
    """``deformation`` and ``latent`` to ``deformation_latent``; blocks of the total density are named without it."""
    return sort if field == TOTAL else f"{field.removesuffix('s')}_{sort}"


FINGERPRINTS = tuple(block_name(field, FINGERPRINT) for field in FIELDS)
TABLE_BLOCKS = (*COMPOSITION_BLOCKS, *STRUCTURE_BLOCKS, *FINGERPRINTS)
BLOCKS = (*TABLE_BLOCKS, *(block_name(field, sort) for sort in (LATENT, LATENT_PCA) for field in FIELDS), GRAPH)
BUNDLE_BLOCKS = (*TABLE_BLOCKS, LATENT, LATENT_PCA)  # of a new density: a run has one final autoencoder that travels
TABLE = "table"  # sort of a block with one row per material


def sort_of(block: str) -> str:
    """``table``, ``latent``, ``latent_pca`` or ``graph``."""
    return TABLE if block in TABLE_BLOCKS else field_of(block)[1]


def needs_atoms(block: str) -> bool:
    """Whether a block can be made only of a density that is stored with its superposition of atoms."""
    return field_of(block)[0] in (PROMOLECULE, DEFORMATION)


def block_names(features: str) -> list[str]:
    """``magpie+latent_pca`` to its blocks; ``none`` to no block."""
    return [] if features == NO_FEATURES else features.split("+")
