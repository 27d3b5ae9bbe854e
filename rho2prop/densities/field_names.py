"""Names of the fields of a material (``rho2prop.densities.fields``); nothing is imported here."""

TOTAL, PROMOLECULE, DEFORMATION, ATOM_POSITIONS = "total", "promolecule", "deformation", "atom_positions"
FIELDS = (TOTAL, PROMOLECULE, DEFORMATION, ATOM_POSITIONS)


def field_of(scope: str) -> tuple[str, str]:
    """Field and rest of the scope of an autoencoder: ``deformation-all``; of the total density ``all`` alone."""
    field, _, rest = scope.partition("-")
    return (field, rest) if field in FIELDS else (TOTAL, scope)
