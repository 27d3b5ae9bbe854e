"""Names of the fields of a material (``rho2prop.densities.fields``); nothing is imported here."""

TOTAL, PROMOLECULE, DEFORMATION, ATOM_POSITIONS = "total", "promolecule", "deformation", "atom_positions"
FIELDS = (TOTAL, PROMOLECULE, DEFORMATION, ATOM_POSITIONS)


def field_of(name: str) -> tuple[str, str]:
    """Field and rest of the name of a block (``deformation_latent``) or of an autoencoder (``deformation-all``)."""
    for field in FIELDS[1:]:
        for prefix in (f"{field}-", f"{field.removesuffix('s')}_"):
            if name.startswith(prefix):
                return field, name.removeprefix(prefix)
    return TOTAL, name
