"""Names of the fields of a material (``rho2prop.densities.fields``); nothing is imported here."""

TOTAL, SUPERPOSITION, DIFFERENCE, OCCUPANCY = "total", "superposition", "difference", "occupancy"
FIELDS = (TOTAL, SUPERPOSITION, DIFFERENCE, OCCUPANCY)


def field_of(name: str) -> tuple[str, str]:
    """Field and rest of the name of a block (``difference_latent``) or of an autoencoder (``difference-all``)."""
    for field in FIELDS[1:]:
        for mark in "_-":
            if name.startswith(field + mark):
                return field, name.removeprefix(field + mark)
    return TOTAL, name
