"""Engines by name; a module is imported when a calculation asks for it."""

ENGINES = {
    "gpaw": "rho2prop.dft.gpaw.engine",
    "vasp": "rho2prop.dft.vasp.engine",
    "atoms": "rho2prop.dft.atoms",
    "materials_project": "rho2prop.dft.materials_project.engine",
    "files": "rho2prop.dft.files",
}
COMPUTING_ENGINES = ("gpaw", "vasp", "atoms")  # compute the density of any structure
ATOM_ENGINES = ("gpaw", "vasp")  # and energies of free atoms
EXTRAS = {
    "gpaw": "gpaw",
    "vasp": "vasp",
    "atoms": "gpaw",
    "materials_project": "workflow",
}  # that install what they use
