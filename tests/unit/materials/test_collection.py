from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from standins.refusals import refused

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.log import logged
from rho2prop.core.tables import join_tables, write_table
from rho2prop.core.targets import ATOMIZATION_ENERGY, FORMATION_ENERGY
from rho2prop.densities.density import write_npz
from rho2prop.dft.atomization_energy import cohesive_energies_ev
from rho2prop.dft.outcome import Outcome
from rho2prop.features.block_files import block_data, write_block
from rho2prop.materials.collection import collect_materials, read_materials


def outcome_folder(folder, name, density, status="converged", reason="", energy_ev=None, version="1"):
    (folder / name).mkdir(parents=True)
    if density is not None:
        write_npz(density, folder / name / "density.npz")
    outcome = Outcome(
        material_id=name, status=status, reason=reason, corrections=[], energy_ev=energy_ev, n_electrons=8.0,
        grid=(20, 24, 27), wall_time_s=1.0, core_hours=0.001, engine="test", engine_version=version, code_version="0",
    )  # fmt: skip
    (folder / name / "outcome.json").write_text(outcome.to_json())


def collect(tmp_path, names, share=0.5):
    labels = {name: {"bulk_modulus_gpa": 10.0 + i} for i, name in enumerate(names)}
    structures = dict.fromkeys(names, "a.cif")
    outputs = [tmp_path / f"{table}.csv" for table in ("materials", "dft_outcomes", "atoms")]
    collect_materials(labels, structures, share, None, *outputs, dft_folder=tmp_path / "dft")
    return outputs[:2]


def test_converged_materials_are_listed_with_formula_and_labels_and_odd_ids_stay_text(density, tmp_path):
    names = ["NaN", "1e5", "007", "lost"]
    for name in names[:3]:
        outcome_folder(tmp_path / "dft", name, density)
    outcome_folder(tmp_path / "dft", "lost", None, status="failed", reason="diverged")
    materials_path, outcomes_path = collect(tmp_path, names)
    materials = read_materials(materials_path)
    assert list(materials["material_id"]) == names[:3]
    assert set(materials["formula"]) == {"LiB"}
    assert set(materials["chemical_system"]) == {"B-Li"}
    assert list(materials["bulk_modulus_gpa"]) == [10.0, 11.0, 12.0]
    assert materials["shear_modulus_gpa"].isna().all()
    assert materials["volume_per_atom_ang3"][0] == pytest.approx(density.volume_ang3 / 2)
    assert "diverged" in outcomes_path.read_text()


def test_densities_of_two_engines_or_kinds_are_refused(density, tmp_path):
    outcome_folder(tmp_path / "dft", "a", density)
    outcome_folder(tmp_path / "dft", "b", replace(density, engine="vasp 6"))
    with refused("b", "vasp 6"):
        collect(tmp_path, ["a", "b"])
    assert not (tmp_path / "materials.csv").exists()


def test_patch_levels_of_one_release_are_one_engine_and_both_are_recorded(density, tmp_path, capsys):
    for name, engine in (("a", "vasp 6.4.2"), ("b", "vasp 6.4.3"), ("c", "VASP 6.4.2")):
        outcome_folder(tmp_path / "dft", name, replace(density, engine=engine))
    materials_path, _ = collect(tmp_path, ["a", "b", "c"])
    assert list(read_materials(materials_path)["density_engine"]) == ["vasp 6.4.2", "vasp 6.4.3", "VASP 6.4.2"]
    said = capsys.readouterr().out
    assert "vasp 6.4.2" in said
    assert "vasp 6.4.3" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("vasp 6.4.2", "vasp 6.3.2"),
        ("gpaw 25.7.0", "gpaw 25.1.0"),
        ("vasp 6.4.2", "gpaw 6.4.2"),
        ("vasp 6.4.2", "vasp"),  # may be any
        ("vasp", "vasp (Materials Project)"),
    ],
)
def test_other_releases_and_programs_are_not_mixed(density, tmp_path, first, second):
    outcome_folder(tmp_path / "dft", "a", replace(density, engine=first))
    outcome_folder(tmp_path / "dft", "b", replace(density, engine=second))
    with refused("b", first, second):
        collect(tmp_path, ["a", "b"])


def test_kinds_are_not_mixed(density, tmp_path):
    outcome_folder(tmp_path / "dft", "a", density)
    outcome_folder(tmp_path / "dft", "b", replace(density, kind="promolecule"))
    with refused("b", "promolecule"):
        collect(tmp_path, ["a", "b"])


def test_a_table_without_any_label_is_told_so(tmp_path):
    with refused("bulk_modulus_gpa"):
        collect(tmp_path, [])


@pytest.mark.parametrize(("version", "is_refused"), [("6.4.3", False), ("6.3.0", True)])
def test_energies_of_crystals_and_atoms_have_one_zero(density, tmp_path, version, is_refused):
    outcome_folder(tmp_path / "dft", "a", density, energy_ev=-10.0, version="VASP 6.4.2")
    for symbol, energy_ev in (("Li", -1.0), ("B", -3.0)):
        outcome_folder(tmp_path / "atoms", symbol, None, energy_ev=energy_ev, version=f"VASP {version}")
    # one that failed never learned the program's own version
    outcome_folder(tmp_path / "atoms", "Be", None, "failed", "not converged", version="VASP under custodian 2026.10")
    outputs = [tmp_path / f"{table}.csv" for table in ("materials", "dft_outcomes", "atoms")]
    atoms = [str(tmp_path / "atoms" / symbol) for symbol in ("Li", "B", "Be")]
    arguments = {"a": {"bulk_modulus_gpa": 9.0}}, {"a": "a.cif"}, 1.0, atoms, *outputs, tmp_path / "dft"
    if is_refused:
        with refused("6.3.0", "6.4.2"):
            collect_materials(*arguments)
    else:
        collect_materials(*arguments)
        assert list(read_materials(outputs[0])["atomization_energy_ev_per_atom"]) == [3.0]


@pytest.mark.parametrize("change", [{"n_electrons": 9.0}, {"values": np.full((20, 24, 26), 0.1)}])
def test_a_density_that_its_outcome_does_not_tell_of_is_refused(density, tmp_path, change):
    other = replace(density, **change)
    scale = other.n_electrons / other.integral()
    outcome_folder(tmp_path / "dft", "a", density)
    outcome_folder(tmp_path / "dft", "b", replace(other, values=other.values * scale))
    with refused("b", "20x24x27", 8):
        collect(tmp_path, ["a", "b"])


def test_computed_atomization_energies_replace_the_labels_and_lack_where_an_atom_does(density, tmp_path):
    for name, energy_ev in (("a", -10.0), ("b", -12.0)):
        outcome_folder(tmp_path / "dft", name, density, energy_ev=energy_ev)
    for symbol, energy_ev in (("Li", -1.0), ("B", -3.0)):
        outcome_folder(tmp_path / "atoms", symbol, None, energy_ev=energy_ev)
    labels = {name: {"atomization_energy_ev_per_atom": 9.0} for name in ("a", "b")}
    outputs = [tmp_path / f"{table}.csv" for table in ("materials", "dft_outcomes", "atoms")]
    atoms = [str(tmp_path / "atoms" / symbol) for symbol in ("Li", "B")]
    collect_materials(labels, dict.fromkeys(labels, "a.cif"), 1.0, atoms, *outputs, dft_folder=tmp_path / "dft")
    assert list(read_materials(outputs[0])["atomization_energy_ev_per_atom"]) == [3.0, 4.0]
    assert list(pd.read_csv(outputs[1])["atomization_energy_ev_per_atom"]) == [3.0, 4.0]
    assert list(pd.read_csv(outputs[2])["material_id"]) == ["Li", "B"]
    collect_materials(labels, dict.fromkeys(labels, "a.cif"), 1.0, atoms[:1], *outputs, dft_folder=tmp_path / "dft")
    assert read_materials(outputs[0])["atomization_energy_ev_per_atom"].isna().all()


def test_formation_energies_relative_to_the_elements_become_atomization_energies(density, tmp_path, capsys):
    astatide = replace(density, numbers=np.where(density.numbers == 3, 85, density.numbers))
    for name, one in (("a", density), ("b", astatide), ("c", density)):
        outcome_folder(tmp_path / "dft", name, one)
    labels = {"a": {FORMATION_ENERGY: -0.5}, "b": {FORMATION_ENERGY: -0.5}, "c": {ATOMIZATION_ENERGY: 3.0}}
    outputs = [tmp_path / f"{table}.csv" for table in ("materials", "dft_outcomes", "atoms")]
    arguments = dict.fromkeys(labels, "a.cif"), 1.0, None, *outputs, tmp_path / "dft"
    collect_materials(labels, *arguments)
    materials = read_materials(outputs[0]).set_index("material_id")
    known = cohesive_energies_ev()
    assert materials.loc["a", ATOMIZATION_ENERGY] == pytest.approx((known["Li"] + known["B"]) / 2 + 0.5)
    assert materials[ATOMIZATION_ENERGY].isna().tolist() == [False, True, False]
    assert FORMATION_ENERGY not in materials
    assert "At (1)" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"formation_energy_ev_per_atom of a.*not bound"):
        collect_materials({"a": {FORMATION_ENERGY: 5.0}}, *arguments)


def test_too_few_converged_materials_stop_with_the_reasons(density, tmp_path):
    outcome_folder(tmp_path / "dft", "a", density)
    outcome_folder(tmp_path / "dft", "b", None, status="failed", reason="diverged")
    with refused("b", "diverged"):
        collect(tmp_path, ["a", "b"], share=0.9)


def test_blocks_written_are_blocks_read(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(2, 3)), index=["NaN", "b"], columns=list("xyz"))
    write_block(frame, tmp_path / "magpie.csv")
    np.testing.assert_array_equal(
        block_data([str(tmp_path / "magpie.csv")]).table("magpie", ["b", "NaN"]), frame.loc[["b", "NaN"]]
    )


def test_joined_tables_keep_every_row_and_an_empty_join_its_header(tmp_path):
    for name in ("a", "b"):
        write_table(pd.DataFrame({"x": [name], "y": ["NA"]}), tmp_path / f"{name}.csv")
    join_tables([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], ["x", "y"], tmp_path / "both.csv")
    assert (tmp_path / "both.csv").read_text() == "x,y\na,NA\nb,NA\n"
    join_tables([], ["x", "y"], tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == "x,y\n"


def test_a_users_error_is_one_line_in_log_and_terminal(tmp_path, capsys):
    error = InputError("a.csv", "problem", "fix")

    def script():
        with logged(str(tmp_path / "rule.log")):
            print("at work")
            raise error

    with pytest.raises(SystemExit) as stop:
        script()
    assert stop.value.code == 1
    assert (tmp_path / "rule.log").read_text() == f"at work\nrho2prop: {error}\n"
    assert capsys.readouterr().err == f"rho2prop: {error}\n"


def test_a_fault_of_ours_leaves_its_traceback_in_the_log(tmp_path, capsys):
    with pytest.raises(SystemExit), logged(str(tmp_path / "rule.log")):
        raise ZeroDivisionError("ours")
    assert "ZeroDivisionError: ours" in (tmp_path / "rule.log").read_text()
    assert "Traceback" in capsys.readouterr().err
