"""The featurizers in matminer's own hands: labels, data frames, several columns, errors."""

import doctest
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matminer.featurizers.base import MultipleFeaturizer
from matminer.featurizers.structure import DensityFeatures
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.outputs import Chgcar
from standins.bundle_run import made_density
from standins.crystals import face_centred_cubic
from standins.descriptors import descriptor_tables
from standins.refusals import lacking, refused

from rho2prop.crystals.structures import structure_from_density
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.densities.density import write_npz
from rho2prop.features import matminer_featurizers
from rho2prop.features.fingerprint import fingerprint
from rho2prop.features.matminer_featurizers import DensityFingerprintFeaturizer, SpringNetworkFeaturizer

SALT = face_centred_cubic(5.64, "Na", "Cl")
STRUCTURES = {"NaCl": SALT, "CsCl": Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])}


def test_spring_networks_of_a_data_frame_are_those_of_the_workflow():
    frame = pd.DataFrame({"structure": STRUCTURES})
    featurizer = SpringNetworkFeaturizer()
    featurizer.set_n_jobs(1)
    found = featurizer.featurize_dataframe(frame, "structure", pbar=False)
    expected = descriptor_tables(STRUCTURES, {"spring_network"})["spring_network"]
    assert found.columns.tolist() == ["structure", *(f"spring_network {name}" for name in expected)]
    np.testing.assert_allclose(found.iloc[:, 1:].to_numpy(dtype=float), expected.to_numpy(), rtol=1e-12)


def test_densities_of_every_form_give_the_fingerprint_of_the_workflow(tmp_path):
    density = made_density()
    write_npz(density, tmp_path / "density.npz")
    write_chgcar(density, tmp_path / "CHGCAR")
    given = [density, tmp_path / "density.npz", Chgcar.from_file(str(tmp_path / "CHGCAR")), str(tmp_path / "CHGCAR")]
    featurizer = DensityFingerprintFeaturizer()
    featurizer.set_n_jobs(1)
    found = featurizer.featurize_dataframe(pd.DataFrame({"density": given}), "density", pbar=False)
    expected = fingerprint(density)
    assert found.columns[1:].tolist() == [f"fingerprint {name}" for name in expected]
    for row in found.iloc[:, 1:].to_numpy(dtype=float):
        np.testing.assert_allclose(row, list(expected.values()), rtol=1e-4, atol=1e-6)


def test_each_field_has_its_own_labels_which_fit_its_values():
    density = made_density()
    density = replace(density, promolecule=np.roll(density.values, 1, axis=0))
    labels = {}
    for field in ("total", "promolecule", "deformation", "atom_positions"):
        featurizer = DensityFingerprintFeaturizer(field)
        values = dict(zip(featurizer.feature_labels(), featurizer.featurize(density), strict=True))
        expected = fingerprint(density, field)
        assert [label.split(" ", 1)[1] for label in values] == list(expected)
        assert list(values.values()) == list(expected.values())
        labels[field] = set(values)
    assert len(set.union(*labels.values())) == sum(map(len, labels.values()))


def test_they_combine_with_featurizers_of_matminer():
    combined = MultipleFeaturizer([DensityFeatures(), SpringNetworkFeaturizer()])
    labels, values = combined.feature_labels(), combined.featurize(SALT)
    assert len(labels) == len(values) == len(set(labels))
    assert values[-len(SpringNetworkFeaturizer().feature_labels()) :] == SpringNetworkFeaturizer().featurize(SALT)


def test_what_cannot_be_featurized_is_named_or_left_blank():
    half = Structure(Lattice.cubic(3.5), [{"Li": 0.5}], [[0, 0, 0]])
    with refused("Li0.5", source="Structure Li0.5"):
        SpringNetworkFeaturizer().featurize(half)
    with refused("promolecule"):
        DensityFingerprintFeaturizer("deformation").featurize(made_density())
    with pytest.raises(TypeError, match="Structure"):
        DensityFingerprintFeaturizer().featurize(structure_from_density(made_density()))
    with pytest.raises(ValueError, match="atom_positions"):
        DensityFingerprintFeaturizer("spin")
    featurizer = SpringNetworkFeaturizer()
    featurizer.set_n_jobs(1)
    frame = pd.DataFrame({"structure": [half, SALT]})
    found = featurizer.featurize_dataframe(frame, "structure", ignore_errors=True, return_errors=True, pbar=False)
    assert found.iloc[0, 1:-1].isna().all()
    assert found.iloc[1, 1:-1].notna().all()
    assert "Li0.5" in found.iloc[0, -1]


@pytest.mark.parametrize("featurizer", [SpringNetworkFeaturizer(), DensityFingerprintFeaturizer("deformation")])
def test_sources_are_bibtex(featurizer):
    assert len(featurizer.citations()) == 2
    for entry in featurizer.citations():
        assert entry.startswith("@")
        assert entry.count("{") == entry.count("}")
    assert featurizer.implementors()


def test_the_examples_run():
    results = doctest.testmod(matminer_featurizers)
    assert (results.attempted >= 3, results.failed) == (True, 0)


@pytest.mark.slow
def test_without_matminer_the_error_says_what_to_install():
    program = "import sys; sys.modules['matminer'] = None; import rho2prop.features.matminer_featurizers"
    root = Path(matminer_featurizers.__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert result.returncode == 1
    assert lacking(result.stderr.splitlines()[-1], "pip", "matminer") == []
