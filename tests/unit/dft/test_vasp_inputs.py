"""VASP's inputs: the paper's protocol to the letter, for every element, with and without POTCARs."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from monty.serialization import loadfn
from pymatgen.core import Element, Lattice, Structure
from pymatgen.io.vasp import sets
from pymatgen.io.vasp.inputs import POTCAR_STATS_PATH, Incar, Poscar
from standins.potcars import MARKER, write_potcars
from standins.refusals import refused
from standins.vasp_settings import vasp_settings

from rho2prop.dft.base import atom_in_box
from rho2prop.dft.failures import SetupError
from rho2prop.dft.vasp.inputs import PRESETS, incar_tags, load_preset, write_inputs, write_inputs_of_all

GOLDEN = Path(__file__).parents[2] / "golden" / "vasp"
SETTINGS = vasp_settings()
PRESET = load_preset("latentmatfusion")
SILICON = Structure(Lattice([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]]), ["Si", "Si"], [[0, 0, 0], [0.25] * 3])
# oxygen first: the sites are sorted, and MAGMOM with them
IRON_OXIDE = Structure(
    Lattice([[0, 2.1, 2.1], [2.1, 0, 2.1], [4.2, 4.2, 0]]),
    ["O", "Fe", "Fe", "O"],
    [[0.5, 0.5, 0.25], [0, 0, 0], [0, 0, 0.5], [0.5, 0.5, 0.75]],
)
CASES = {
    "silicon.relax": (SILICON, "relax"),
    "silicon.static": (SILICON, "static"),
    "silicon.atom": (atom_in_box("Si", 14.0), "atom"),
    "iron_oxide.relax": (IRON_OXIDE, "relax"),
    "iron_oxide.static": (IRON_OXIDE, "static"),
    "iron_oxide.atom": (atom_in_box("Fe", 14.0), "atom"),
}


@pytest.mark.parametrize("name", CASES)
def test_incar_is_the_golden_one(name, tmp_path):
    structure, step = CASES[name]
    write_inputs(structure, tmp_path, PRESET, step, SETTINGS, potcar_spec=True)
    assert (tmp_path / "INCAR").read_text() == (GOLDEN / f"{name}.INCAR").read_text()


def test_protocol_is_that_of_the_paper():
    relax, static = (incar_tags(SILICON, PRESET, step, SETTINGS) for step in ("relax", "static"))
    paper = {"ENCUT": 500, "EDIFF": 1e-5, "EDIFFG": -1e-3, "IBRION": 2, "ISIF": 3, "ISMEAR": 0, "KSPACING": 0.1}
    assert {tag: relax[tag] for tag in paper} == paper
    assert (static["ISMEAR"], static["NSW"], static["KSPACING"], static["ENCUT"]) == (-5, 0, 0.1, 500)
    assert (static["LCHARG"], static["LAECHG"]) == (True, True)
    assert not {"GGA", "METAGGA", "LDAU", "IVDW"} & {*relax, *static}  # PBE is that of the POTCARs


def test_k_points_come_from_kspacing_and_of_an_atom_from_gamma(tmp_path):
    write_inputs(SILICON, tmp_path / "crystal", PRESET, "relax", SETTINGS, potcar_spec=True)
    write_inputs(atom_in_box("O", 12.0), tmp_path / "atom", PRESET, "atom", SETTINGS, potcar_spec=True)
    assert not (tmp_path / "crystal" / "KPOINTS").exists()
    assert (tmp_path / "atom" / "KPOINTS").read_text().splitlines()[2:4] == ["Gamma", "1 1 1"]
    assert "KSPACING" not in Incar.from_file(tmp_path / "atom" / "INCAR")


def test_poscar_holds_the_same_crystal_to_all_digits(tmp_path):
    moved = IRON_OXIDE.copy()
    moved.apply_strain(1e-9)
    write_inputs(moved, tmp_path, PRESET, "static", SETTINGS, potcar_spec=True)
    written = Poscar.from_file(tmp_path / "POSCAR").structure
    np.testing.assert_allclose(written.lattice.matrix, moved.lattice.matrix, rtol=0, atol=1e-15)
    assert [site.specie.symbol for site in written] == ["Fe", "Fe", "O", "O"]
    assert (tmp_path / "POTCAR.spec").read_text().split() == ["Fe_pv", "O"]
    for site in written:
        assert moved.get_sites_in_sphere(site.coords, 1e-6)[0].specie == site.specie


def test_moments_are_those_of_the_materials_project_or_none():
    assert incar_tags(IRON_OXIDE, PRESET, "relax", SETTINGS)["MAGMOM"] == [5.0, 5.0, 0.6, 0.6]
    without = incar_tags(IRON_OXIDE, PRESET, "relax", vasp_settings(spin="none"))
    assert without["ISPIN"] == 1
    assert "MAGMOM" not in without


def test_tags_of_the_machine_are_added_and_change_nothing_else():
    plain = incar_tags(SILICON, PRESET, "static", SETTINGS)
    tuned = incar_tags(SILICON, PRESET, "static", vasp_settings(parallel={"NCORE": 4, "KPAR": 2}))
    assert {tag: tuned[tag] for tag in set(tuned) - set(plain)} == {"NCORE": 4, "KPAR": 2}
    assert {tag: tuned[tag] for tag in plain} == plain


@pytest.mark.slow
def test_each_atom_has_a_moment_that_its_valence_electrons_allow():
    shipped = loadfn(POTCAR_STATS_PATH)["PBE_54"].values()
    valence = {entry["symbol"]: entry["ZVAL"] for group in shipped for entry in group}
    table = yaml.safe_load((Path(sets.__file__).parent / "PBE54Base.yaml").read_text())["POTCAR"]
    assert len(PRESET.unpaired_electrons) > 90
    for symbol, unpaired in PRESET.unpaired_electrons.items():
        incar = incar_tags(atom_in_box(symbol, 12.0), PRESET, "atom", SETTINGS)
        assert (incar["NUPDOWN"], incar["MAGMOM"], incar["ISPIN"]) == (unpaired, [unpaired], 2)
        assert (valence[table[symbol]] - unpaired) % 2 == 0, symbol
        assert 0 <= unpaired <= valence[table[symbol]], symbol


@pytest.mark.parametrize(
    ("symbol", "unpaired"), [("H", 1), ("C", 2), ("N", 3), ("O", 2), ("Cr", 6), ("Fe", 4), ("Zn", 0)]
)
def test_atoms_follow_hund(symbol, unpaired):
    assert PRESET.unpaired_electrons[symbol] == unpaired


def test_every_element_of_pymatgen_s_table_gets_inputs(tmp_path):
    for number in [*range(1, 90), 74]:
        symbol = Element.from_Z(number).symbol
        crystal = Structure(Lattice.cubic(4.0), [symbol], [[0, 0, 0]])
        write_inputs(crystal, tmp_path / symbol, PRESET, "relax", SETTINGS, potcar_spec=True)
        name = (tmp_path / symbol / "POTCAR.spec").read_text().strip()
        assert name.split("_")[0] == symbol
    assert (tmp_path / "W" / "POTCAR.spec").read_text() == "W_sv\n"


def test_potcar_is_joined_in_the_order_of_the_poscar(tmp_path, monkeypatch):
    write_potcars(tmp_path / "library", ["Fe", "O"])
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "library"))
    write_inputs(IRON_OXIDE, tmp_path / "inputs", PRESET, "static", SETTINGS)
    text = (tmp_path / "inputs" / "POTCAR").read_text()
    titles = [line.split()[3] for line in text.splitlines() if "TITEL" in line]
    assert titles == ["Fe_pv", "O"]
    assert text.count(MARKER) == 2
    assert not (tmp_path / "inputs" / "POTCAR.spec").exists()


def test_a_missing_potcar_is_named(tmp_path, monkeypatch):
    write_potcars(tmp_path / "library", ["O"])
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "library"))
    with refused("Fe_pv", "PBE_54", source="library", code="potcar", by=SetupError):
        write_inputs(IRON_OXIDE, tmp_path / "inputs", PRESET, "static", SETTINGS)


def test_inputs_of_many_name_those_that_have_none(tmp_path, monkeypatch):
    write_potcars(tmp_path / "library", ["Si"])
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "library"))  # never used: what is shown holds no POTCAR
    Poscar(SILICON).write_file(tmp_path / "silicon.vasp")
    (tmp_path / "broken.vasp").write_text("nothing")
    structures = {"silicon": tmp_path / "silicon.vasp", "broken": tmp_path / "broken.vasp"}
    settings = vasp_settings(spin="none", parallel={"NCORE": 4})
    failures = write_inputs_of_all(structures, tmp_path / "out", settings, threads=2)
    assert list(failures) == ["broken"]
    assert "broken.vasp" in failures["broken"]
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    names = ("INCAR", "POSCAR", "POTCAR.spec")
    assert found == sorted(f"silicon/{step}/{name}" for step in ("relax", "static") for name in names)
    incar = Incar.from_file(tmp_path / "out" / "silicon" / "static" / "INCAR")
    assert incar["ISPIN"] == 1
    assert "NCORE" not in incar


@pytest.mark.parametrize(
    ("old", "new", "data"),
    [
        ("EDIFF: 1.0e-5", "EDIFF: 1e-5", ["EDIFF", "'1e-5'"]),
        ("potcar_map:", "potcars:", ["potcars", "potcar_map"]),
        ("  static: ", "  density: ", ["density", "static"]),
        ("PBE54Base", "PBE99", ["PBE99"]),
        ("MPRelaxSet ", "NoSuchSet ", ["NoSuchSet"]),
        ("incar: ", "incar: [", ["YAML"]),
    ],
)
def test_a_wrong_preset_is_told(tmp_path, old, new, data):
    text = (PRESETS / "latentmatfusion.yaml").read_text()
    assert old in text
    (tmp_path / "own.yaml").write_text(text.replace(old, new, 1))
    with refused(*data, by=SetupError):
        incar_tags(SILICON, load_preset(str(tmp_path / "own.yaml")), "relax", SETTINGS)


def test_an_unknown_preset_names_the_shipped_one():
    with refused("latentmatfusio", "latentmatfusion", source="dft.vasp.preset", by=SetupError):
        load_preset("latentmatfusio")
