"""Engines by name; a module is imported when a calculation asks for it."""

ENGINES = {
    "gpaw": "rho2prop.dft.gpaw.engine",
    "vasp": "rho2prop.dft.vasp.engine",
    "materials_project": "rho2prop.dft.materials_project.engine",
    "files": "rho2prop.dft.files",
}
ATOM_ENGINES = ("gpaw", "vasp")  # compute densities of any structure, and free atoms
