"""Settings of the engine VASP for tests."""

from dataclasses import fields

from rho2prop.dft.vasp.settings import VaspMachine, VaspSettings

MACHINE = {
    "ranks": 1, "launch": "", "binary": "vasp_std", "atom_binary": "", "parallel": {}, "polling_s": 0.1,
    "walltime_margin_s": 3.0,
}  # fmt: skip
SETTINGS = {
    "preset": "latentmatfusion", "relax": True, "promolecule": True, "spin": "materials_project", "max_errors": 5,
    "max_walltime_stops": 3, "atom_box_ang": 9.0,
}  # fmt: skip


def vasp_settings(**changes) -> VaspSettings:
    """Settings with some keys changed, whichever of the two sections they belong to."""
    of_machine = {field.name for field in fields(VaspMachine)}
    machine = MACHINE | {key: value for key, value in changes.items() if key in of_machine}
    others = SETTINGS | {key: value for key, value in changes.items() if key not in of_machine}
    return VaspSettings(**others, machine=VaspMachine(**machine))
