"""What is read of VASP's output, what is refused, and which deviations from the protocol are told."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Poscar
from pymatgen.io.vasp.outputs import Chgcar
from standins.densities import gaussian_density
from standins.refusals import lacking, refused
from standins.vasp_settings import vasp_settings

from rho2prop.crystals.structures import structure_from_density
from rho2prop.dft.failures import EngineError, SetupError
from rho2prop.dft.vasp import causes
from rho2prop.dft.vasp.causes import Crashed
from rho2prop.dft.vasp.inputs import incar_tags, load_preset
from rho2prop.dft.vasp.output import (
    StepResult,
    corrections_of,
    keep_logs,
    protocol_changes_of,
    read_aeccar,
    read_static_density,
    read_step,
    require_plausible,
    was_stopped,
)
from rho2prop.dft.vasp.run import STOPPED, DeadlineHandler, UnconvergedHandler

PRESET = load_preset("latentmatfusion")
CRYSTAL = structure_from_density(gaussian_density())  # Li and B
TAGS = PRESET.protocol_tags


def vasprun(n_scf=5, n_ionic=1, nelm=60, nsw=0, nelect=8.0, energy_ev=-7.5, ispin=2) -> str:
    """A small vasprun.xml of CRYSTAL."""
    rows = "".join(f"<v> {' '.join(map(str, row))} </v>" for row in CRYSTAL.lattice.matrix)
    positions = "".join(f"<v> {' '.join(map(str, row))} </v>" for row in CRYSTAL.frac_coords)
    geometry = f'<crystal><varray name="basis">{rows}</varray></crystal><varray name="positions">{positions}</varray>'
    energy = (
        f'<energy><i name="e_fr_energy">{energy_ev - 0.2}</i><i name="e_wo_entrp">{energy_ev + 0.2}</i>'
        f'<i name="e_0_energy">{energy_ev}</i></energy>'
    )
    forces = '<varray name="forces"><v>0 0 0</v><v>0 0 0</v></varray>'
    scf = f"<scstep>{energy}</scstep>" * n_scf
    step = f"<calculation>{scf}<structure>{geometry}</structure>{forces}{energy}</calculation>"
    return (
        '<?xml version="1.0"?><modeling><generator><i name="version" type="string">6.4.2 </i></generator>'
        f'<incar><i type="int" name="NSW">{nsw}</i></incar><kpoints><generation param="Gamma">'
        '<v type="int" name="divisions">4 4 4</v></generation><varray name="kpointlist"><v>0 0 0</v></varray>'
        '<varray name="weights"><v>1</v></varray></kpoints><parameters>'
        f'<i type="int" name="NELM">{nelm}</i><i type="int" name="NSW">{nsw}</i><i type="int" name="IBRION">2</i>'
        f'<i type="int" name="ISPIN">{ispin}</i><i name="NELECT">{nelect}</i><i name="ENMAX">500.0</i>'
        '<i type="string" name="PREC">accura</i></parameters>'
        '<atominfo><array name="atoms"><set><rc><c>Li</c><c>1</c></rc><rc><c>B</c><c>2</c></rc></set></array>'
        '<array name="atomtypes"><set><rc><c>1</c><c>Li</c><c>7</c><c>3</c><c>PAW_PBE Li_sv 10Sep2004</c></rc>'
        "<rc><c>1</c><c>B</c><c>11</c><c>5</c><c>PAW_PBE B 06Sep2000</c></rc></set></array></atominfo>"
        f'<structure name="initialpos">{geometry}</structure>{step * n_ionic}'
        f'<structure name="finalpos">{geometry}</structure></modeling>'
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    """A finished run of CRYSTAL: 3 + 5 valence electrons."""
    (tmp_path / "vasprun.xml").write_text(vasprun())
    (tmp_path / "POTCAR").write_text(
        "   POMASS = 7.0; ZVAL   =    3.000\nSECRET\n   POMASS = 11.0; ZVAL = 5.000  mass\n"
    )
    Poscar(CRYSTAL).write_file(tmp_path / "POSCAR")
    (tmp_path / "OSZICAR").write_text(
        "   1 F= -.7 E0= -.7  d E =0.0  mag=     1.0\n   2 F= -.7 E0= -.7  d E =0.0  mag=    -2.50\n"
    )
    return tmp_path


def write_field(path, values):
    Chgcar(Poscar(CRYSTAL), {"total": values * CRYSTAL.volume}).write_file(path)


def record(folder, *corrections):
    entries = [{"errors": errors, "actions": actions, "handler": {}} for errors, actions in corrections]
    (folder / "custodian.json").write_text(json.dumps([{"job": {}, "corrections": entries}]))


def set_tags(**tags):
    return {"dict": "INCAR", "action": {"_set": tags}}


def test_a_finished_run_is_read(folder):
    result = read_step(folder, "static")
    assert result.energy_ev == -7.5  # energy(sigma->0), not the free energy
    assert (result.magnetic_moment_mub, result.n_electrons, result.version) == (-2.5, 8.0, "6.4.2")
    np.testing.assert_allclose(result.structure.lattice.matrix, CRYSTAL.lattice.matrix)
    assert result.tags["ENCUT"] == 500.0
    (folder / "vasprun.xml").write_text(vasprun(ispin=1))
    assert read_step(folder, "static").magnetic_moment_mub is None


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"n_scf": 60}, ["static", 60]),
        ({"nsw": 3, "n_ionic": 3}, ["static", 3, "NSW"]),
        ({"nelect": 9.0}, ["9.0000", "8.0000"]),
        ({"energy_ev": float("nan")}, ["vasprun.xml"]),
    ],
)
def test_a_run_that_is_not_as_it_must_be_is_refused(folder, changes, data):
    (folder / "vasprun.xml").write_text(vasprun(**changes))
    with refused(*data, by=EngineError):
        read_step(folder, "static")


@pytest.mark.parametrize("algorithm", ["BSE", "CHI", "Exact", "GW0"])
@pytest.mark.parametrize("shape", [{"n_scf": 0}, {"n_ionic": 0}])  # as BSE, response and optics runs leave it
def test_a_run_without_a_self_consistency_cycle_is_a_fault_of_the_preset(folder, algorithm, shape):
    (folder / "INCAR").write_text(f"ALGO = {algorithm}\nLOPTICS = .TRUE.\n")
    text = vasprun(**shape).replace("<incar>", f'<incar><i type="string" name="ALGO">{algorithm}</i>')
    (folder / "vasprun.xml").write_text(text)
    with refused("ALGO", "LOPTICS", source="dft.vasp.preset", by=SetupError) as caught:
        read_step(folder, "static")
    assert algorithm.lower() in str(caught.value).lower()
    assert "IndexError" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_outputs_cut_anywhere_are_crashes_and_no_verdict_on_the_material(folder, share):
    whole = {name: (folder / name).read_bytes() for name in ("vasprun.xml", "OSZICAR")}
    (folder / "vasprun.xml").write_bytes(whole["vasprun.xml"][: int(share * len(whole["vasprun.xml"]))])
    with pytest.raises(Crashed):
        read_step(folder, "static")
    (folder / "vasprun.xml").write_bytes(whole["vasprun.xml"])
    for n_bytes in range(len(whole["OSZICAR"])):
        (folder / "OSZICAR").write_bytes(whole["OSZICAR"][:n_bytes])
        assert read_step(folder, "static").magnetic_moment_mub in (None, 1.0, -2.5)  # never half a number


def test_a_relaxation_must_have_reached_its_accuracy(folder):
    (folder / "vasprun.xml").write_text(vasprun(nsw=10, n_ionic=3))
    with refused("relax", "OUTCAR", by=Crashed):  # the line may have been lost with the rest
        read_step(folder, "relax")
    (folder / "OUTCAR").write_text(" General timing and accounting informations for this job:\n")
    with refused("relax", 3, "EDIFFG", by=EngineError):
        read_step(folder, "relax")
    (folder / "OUTCAR").write_text(" reached required accuracy - stopping structural energy minimisation\n")
    assert read_step(folder, "relax").energy_ev == -7.5


def test_a_cut_vasprun_is_refused(folder):
    os.truncate(folder / "vasprun.xml", 1500)
    with refused("relax", "vasprun.xml", by=Crashed):
        read_step(folder, "relax")


@pytest.mark.parametrize(
    ("text", "stopped"),
    [
        (" soft stop encountered!  aborting job ...\n", True),
        (" hard stop encountered!  aborting job ...\n", True),
        (" reached required accuracy - stopping\n soft stop encountered!  aborting job ...\n", False),
        (" aborting loop because EDIFF is reached\n", False),
    ],
)
def test_a_stop_by_stopcar_is_no_convergence(folder, text, stopped):
    (folder / "OUTCAR").write_text(text)
    assert was_stopped(folder) == stopped


def test_density_and_superposition_belong_together(folder):
    density = gaussian_density()
    wave = 0.01 * np.sin(2 * np.pi * np.arange(20) / 20)[:, None, None] * np.ones((1, 24, 27))
    write_field(folder / "CHGCAR", density.values)
    write_field(folder / "AECCAR2", 3 * density.values + wave)
    write_field(folder / "AECCAR1", 3 * density.values)
    result = read_step(folder, "static")
    found, notes = read_static_density(folder, result, promolecule=True)
    assert (found.n_electrons, found.kind, found.engine, notes) == (8.0, "valence", "vasp 6.4.2", [])
    np.testing.assert_allclose(found.values, density.values, atol=1e-6)
    np.testing.assert_allclose(found.promolecule, density.values - wave, atol=1e-6)
    assert read_static_density(folder, result, promolecule=False)[0].promolecule is None


def test_grid_error_of_the_aeccars_is_told_and_a_wrong_file_refused(folder):
    density = gaussian_density()
    write_field(folder / "CHGCAR", density.values)
    write_field(folder / "AECCAR1", density.values)
    result = read_step(folder, "static")
    write_field(folder / "AECCAR2", density.values + 0.04 / CRYSTAL.volume)
    found, notes = read_static_density(folder, result, promolecule=True)
    assert found.promolecule.mean(dtype=float) * CRYSTAL.volume == pytest.approx(8.0, abs=1e-4)
    assert len(notes) == 1
    assert not lacking(notes[0], "promolecule", "+0.0400")
    write_field(folder / "AECCAR2", density.values * 1.5)
    with refused("4.000", "0", by=EngineError):
        read_static_density(folder, result, promolecule=True)


def test_a_density_of_another_cell_or_charge_is_refused(folder):
    density = gaussian_density()
    result = read_step(folder, "static")
    write_field(folder / "CHGCAR", density.values * 7 / 8)
    with refused("7.000", "8.000", by=EngineError):
        read_static_density(folder, result, promolecule=False)
    strained = CRYSTAL.copy()
    strained.apply_strain(0.05)
    write_field(folder / "CHGCAR", density.values)
    with refused(source="CHGCAR", code="crystal"):
        read_static_density(folder, StepResult(strained, -1.0, None, 8.0, "6.4.2", {}), promolecule=False)


def test_cut_files_of_a_density_are_refused(folder):
    result = read_step(folder, "static")
    density = gaussian_density()
    for name in ("CHGCAR", "AECCAR1", "AECCAR2"):
        write_field(folder / name, density.values)
    for name in ("AECCAR2", "CHGCAR"):
        size = (folder / name).stat().st_size
        for length in (size - 6, size // 2, 100):
            os.truncate(folder / name, length)
            with refused(name):
                read_static_density(folder, result, promolecule=True)
    (folder / "AECCAR1").unlink()
    with refused(source="AECCAR1", code="missing"):
        read_aeccar(folder / "AECCAR1")


def test_the_density_that_the_run_started_from_is_not_its_result(folder):
    write_field(folder / "CHGCAR", gaussian_density().values)
    os.utime(folder / "CHGCAR", (0, 0))
    with refused(source="CHGCAR", code="stale"):
        read_static_density(folder, read_step(folder, "static"), promolecule=False)


def test_a_lost_cell_is_refused():
    require_plausible(CRYSTAL, CRYSTAL)
    swollen = CRYSTAL.copy()
    swollen.apply_strain(0.5)
    with refused("Å³", by=EngineError):
        require_plausible(CRYSTAL, swollen)
    with refused("Li1", "Li1 B1", by=EngineError):
        require_plausible(CRYSTAL, Structure(Lattice.cubic(4), ["Li"], [[0, 0, 0]]))


def test_corrections_are_one_line_each(tmp_path):
    record(
        tmp_path,
        (["zbrent"], [set_tags(IBRION=1), {"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}}]),
        (["brmix"], [{"file": "WAVECAR", "action": {"_file_delete": {"mode": "actual"}}}, set_tags(Algo="Fast")]),
        (["Unconverged"], [set_tags(IBRION=3), {"dict": "INCAR", "action": {"_unset": {"NELMIN": 1}}}]),
        (["Walltime reached"], None),
    )
    assert corrections_of(tmp_path, "relax", incar_tags(CRYSTAL, PRESET, "relax", vasp_settings())) == [
        "relax: zbrent: IBRION 2 → 1, CONTCAR → POSCAR",
        "relax: brmix: WAVECAR deleted, ALGO Normal → Fast",
        "relax: Unconverged: IBRION 1 → 3, NELMIN 4 → default",
    ]


@pytest.mark.parametrize(
    ("step", "found", "changes"),
    [
        ("static", {"ISMEAR": 0}, ["ISMEAR -5 → 0 (static run)"]),
        ("static", {"ENCUT": 400.0}, ["ENCUT 500 → 400 (static run)"]),
        ("static", {"PREC": "normal"}, ["PREC Accurate → normal (static run)"]),
        ("relax", {"EDIFF": 1e-4}, ["EDIFF 1e-05 → 0.0001 (relax run)"]),
        ("relax", {"EDIFF": 1e-6, "EDIFFG": -5e-4}, []),
        ("relax", {"EDIFFG": 1e-4}, ["EDIFFG -0.001 → 0.0001 (relax run)"]),
        ("relax", {"ALGO": "All", "IBRION": 1, "NELM": 500, "ISYM": 0, "POTIM": 0.1}, []),
        ("static", {"PREC": "accura", "ENCUT": 500.0, "LREAL": False, "METAGGA": "--", "GGA": "PE"}, []),
    ],
)
def test_only_what_changes_the_meaning_is_a_change_of_the_protocol(tmp_path, step, found, changes):
    incar = incar_tags(CRYSTAL, PRESET, step, vasp_settings())
    assert protocol_changes_of(tmp_path, step, incar, {**incar, **found}, TAGS) == changes


def test_a_functional_that_a_correction_brings_in_is_flagged(tmp_path):
    record(tmp_path, (["x"], [set_tags(METAGGA="R2scan")]), (["y"], [{"dict": "POSCAR", "action": {"_set": {}}}]))
    incar = incar_tags(CRYSTAL, PRESET, "static", vasp_settings())
    changes = protocol_changes_of(tmp_path, "static", incar, {**incar, "METAGGA": "R2scan"}, TAGS)
    assert changes == ["METAGGA unset → R2scan (static run)", "POSCAR changed (static run)"]


def test_logs_hold_no_line_of_a_potcar(folder):
    secret = "SECRET of the POTCAR\n"
    (folder / "OUTCAR").write_text(secret * 500 + " General timing and accounting informations for this job:\n 1.0\n")
    (folder / "INCAR").write_text("ENCUT = 500\n")
    (folder / "vasp.out").write_text("running\n" * 50_000)
    (folder / "error.1.tar.gz").write_text(secret)
    keep_logs(folder, folder / "kept")
    kept = {path.name: path.read_text() for path in (folder / "kept").iterdir()}
    assert set(kept) == {"INCAR", "POSCAR", "OSZICAR", "vasp.out", "OUTCAR.account"}
    assert not [name for name, text in kept.items() if "SECRET" in text or "TITEL" in text]
    assert all(len(text) <= 100_000 for text in kept.values())
    assert kept["OUTCAR.account"].endswith(" 1.0\n")


def test_vasp_is_asked_to_stop_in_time_for_three_of_its_steps(tmp_path):
    (tmp_path / "OUTCAR").write_text(
        "     LOOP:  cpu time 1.0: real time 1.0\n     LOOP+:  cpu time 90.0: real time  100.0\n"
    )
    for seconds_left, relaxing, static in ((250.0, True, False), (350.0, False, False), (50.0, True, True)):
        at = time.time() + seconds_left
        assert DeadlineHandler(at, 60.0).check(str(tmp_path)) == relaxing
        assert DeadlineHandler(at, 60.0, electronic_step_stop=True).check(str(tmp_path)) == static


def test_the_stop_is_a_request_first_and_an_end_only_late(tmp_path):
    assert not DeadlineHandler(time.time() + 50.0, 60.0).is_terminating
    assert DeadlineHandler(time.time() + 10.0, 60.0).is_terminating
    handler = DeadlineHandler(time.time() + 50.0, 60.0, electronic_step_stop=True)
    assert handler.check(str(tmp_path))  # also before there is an OUTCAR
    handler.correct(str(tmp_path))
    assert "LABORT = .TRUE." in (tmp_path / "STOPCAR").read_text()
    assert DeadlineHandler.from_dict(handler.as_dict()).deadline_s == handler.deadline_s  # as custodian records it


def test_a_stopped_run_is_not_corrected_as_unconverged(folder):
    (folder / "vasprun.xml").write_text(vasprun(n_scf=60))
    assert UnconvergedHandler().check(str(folder))
    (folder / STOPPED).touch()
    assert not UnconvergedHandler().check(str(folder))


def test_the_last_words_are_whole_lines(tmp_path):
    (tmp_path / "vasp.out").write_text("".join(f"line {i}\n" for i in range(1000)))
    assert causes.tail(tmp_path / "vasp.out", 25).splitlines() == ["line 998", "line 999"]
    assert causes.tail(tmp_path / "none") == ""


def test_incar_of_the_preset_is_not_touched_by_a_record(tmp_path):
    record(tmp_path, (["tet"], [set_tags(ISMEAR=0)]))
    incar = incar_tags(CRYSTAL, PRESET, "static", vasp_settings())
    before = Incar(incar)
    corrections_of(tmp_path, "static", incar)
    assert incar == before
    assert incar["ISMEAR"] == -5
