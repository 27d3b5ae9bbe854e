"""The materials that single rules run on."""

import pytest
from standins.records import seal_in
from standins.tables import write_metals

COLUMNS = "material_id,role,formula,chemical_system,crystal_system,space_group_number,n_sites,volume_per_atom_ang3"


@pytest.fixture
def table(tmp_path):
    """A materials table of twelve labelled rows and the materials.csv of their converged calculations."""
    files = write_metals(tmp_path)
    names = [f"m-{i:02d}" for i in range(12)]
    rows = [f"{name},{files[i // 4]},{50 + i}" for i, name in enumerate(names)]
    (tmp_path / "materials.csv").write_text("material_id,structure,bulk_modulus_gpa\n" + "\n".join(rows) + "\n")
    results = tmp_path / "run" / "results"
    results.mkdir(parents=True)
    targets = "bulk_modulus_gpa,shear_modulus_gpa,youngs_modulus_gpa,debye_temperature_k,atomization_energy_ev_per_atom"
    lines = [f"{COLUMNS},structure,{targets}"]
    lines += [
        f"{name},train,Li{i // 2},Li-{i // 4},cubic,221,1,64.0,{files[i // 4]},{50 + i},,,,"
        for i, name in enumerate(names)
    ]
    (results / "materials.csv").write_text("\n".join(lines) + "\n")
    seal_in(tmp_path / "run", ["results/materials.csv"])
    return tmp_path
