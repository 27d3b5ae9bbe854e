"""What a configuration may choose is checked whole before anything starts."""

import copy
import subprocess
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from standins.regressions import block_list, set_name

from rho2prop.core.errors import InputError
from rho2prop.evaluation import config_check
from rho2prop.evaluation.config_check import problems
from rho2prop.evaluation.settings import (
    EvaluationSettings,
    InvarianceSettings,
    LearningCurveSettings,
)
from rho2prop.features.registry import BLOCKS
from rho2prop.models.estimator import estimator_class
from rho2prop.models.registry import MODELS, check, least_labels, models_that_need_gpu

ROOT = Path(__file__).parents[3]
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PREDICTED = DEFAULTS["predict"]


def merged(config: dict, changes: dict) -> dict:
    """As Snakemake extends a configuration by another: section by section, lists as a whole."""
    result = copy.deepcopy(config)
    for key, value in changes.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


def places(changes: dict, **options) -> dict[str, InputError]:
    """The problems of the default configuration with changes, by the key that is wrong; each block is a set too."""
    changes = merged({"feature_sets": {block: [block] for block in BLOCKS}}, changes)
    return {error.source: error for error in problems(merged(DEFAULTS, changes), **options)}


def regressions(**joined) -> dict:
    """Regressions on sets that are written as their blocks."""
    sets = {set_name(name): list(block_list(name)) for names in joined.values() for name in names if "+" in name}
    names = {model: [set_name(name) for name in of_model] for model, of_model in joined.items()}
    return {"evaluation": {"regressions": names}, "feature_sets": sets}


def sets(**definitions) -> dict:
    return {"feature_sets": definitions}


def test_the_defaults_and_the_shipped_configurations_have_no_problem():
    assert problems(DEFAULTS) == []
    bench = merged(
        DEFAULTS | {"materials": "table.csv"}, yaml.safe_load((ROOT / "config/bench.yaml").read_text(encoding="utf-8"))
    )
    study = merged(bench, yaml.safe_load((ROOT / "config/study.yaml").read_text(encoding="utf-8")))
    paper = yaml.safe_load((ROOT / "config/latentmatfusion.yaml").read_text(encoding="utf-8"))
    assert problems(bench) == []
    assert problems(merged(DEFAULTS | {"materials": "table.csv"}, paper)) == []
    assert problems(study, "alignn==1") == []


@pytest.mark.parametrize(
    ("changes", "place", "word"),
    [
        (regressions(lightgbm=["magpie+latent"]), "evaluation.regressions.lightgbm", "latent_pca"),
        (regressions(gaussian_process=["deformation_latent"]), "evaluation.regressions.gaussian_process", "latent_pca"),
        (regressions(multiscale_cnn=["magpie+latent"]), "evaluation.regressions.multiscale_cnn", "densities only"),
        (regressions(attention_cnn=["graph"]), "evaluation.regressions.attention_cnn", "graph"),
        (regressions(graph_network=["magpie"]), "evaluation.regressions.graph_network", "graph"),
        (regressions(mean=["magpie"]), "evaluation.regressions.mean", "none"),
        (regressions(blend=["none"]), "evaluation.regressions.blend", "at least one block"),
        (regressions(blend=["cohesive_energy"]), "evaluation.regressions.blend", "zero of atomization energies"),
        (sets(mine=["magpie", "magpie"]), "feature_sets.mine", "twice"),
        (sets(mine=["magpie", "fingerprnt"]), "feature_sets.mine", "Did you mean 'fingerprint'?"),
        (sets(mine=[]), "feature_sets.mine", "no block"),
        (sets(none=["magpie"]), "feature_sets.none", "reserved"),
        (sets(mine={"extends": "ful", "add": []}), "feature_sets.mine", "Did you mean 'full'?"),
        (sets(mine={"extends": "full", "add": ["magpie"]}), "feature_sets.mine", "'magpie' appears twice"),
        (sets(a={"extends": "b", "add": []}, b={"extends": "a", "add": []}), "feature_sets.a", "a extends b extends a"),
        (regressions(lightgbm=["fingerprnt"]), "evaluation.regressions.lightgbm", "Did you mean 'fingerprint'?"),
        (regressions(lightbgm=["magpie"]), "evaluation.regressions.lightbgm", "Did you mean 'lightgbm'?"),
        (regressions(gaussian_process=["magpie", "magpie"]), "evaluation.regressions.gaussian_process", "2 times"),
        ({"invariance": {"models": [{"model": "lightgbm", "features": "magpy"}]}}, "invariance.models", "'magpie'?"),
        ({"invariance": {"models": [{"model": "lightgbm", "features": "deformation_latent_pca"}]}},
         "invariance.models", "another density"),
        ({"learning_curve": {"models": [{"model": "lightgbm", "features": "structure"}]}},
         "learning_curve.models", "not evaluated"),
        ({"learning_curve": {"sizes": [50, 6]}, "evaluation": {"validation_fraction": 0.3}},
         "learning_curve.sizes", "at least 7"),
        ({"predict": [{"model": "lightgbm", "features": "structure"}]}, "predict", "not evaluated"),
        ({"predict": [{"model": "mean", "features": "none"}]}, "predict", "the mean"),
        ({"predict": [PREDICTED[0], PREDICTED[0]]}, "predict", "2 times"),
        (regressions(lightgbm=["promolecule_fingerprint", "magpie", "magpie+structure", "magpie+fingerprint"])
         | {"dft": {"gpaw": {"promolecule": False}}}, "evaluation.regressions.lightgbm", "promolecule: true"),
        (regressions(gaussian_process=["deformation_fingerprint"])
         | {"materials": "table.csv", "dft": {"engine": "materials_project"}},
         "evaluation.regressions.gaussian_process", "stores no promolecule"),
        ({"autoencoder": {"compared_fields": ["deformation"]},
          "dft": {"engine": "vasp", "vasp": {"promolecule": False}}},
         "autoencoder.compared_fields", "promolecule: true"),
        ({"dft": {"engine": "files"}}, "materials", "files"),
        ({"materials": "materials_project", "dft": {"engine": "files"}}, "materials", "files"),
        ({"materials": "t.csv", "dft": {"engine": "files", "atomization_energy": "computed"}},
         "dft.atomization_energy", "no free atoms"),
        (regressions(lightgbm=["field_fingerprints", "magpie", "magpie_structure", "magpie_fingerprint"])
         | {"feature_sets": {"field_fingerprints": ["promolecule_fingerprint", "deformation_fingerprint"]},
            "dft": {"engine": "atoms"}}, "evaluation.regressions.lightgbm", "deformation_fingerprint"),
        ({"materials": "t.csv", "dft": {"engine": "files", "files": {"kind": "all_electron", "promolecule": "gpaw"}}},
         "dft.files.promolecule", "as_given"),
        ({"grid": {"size": 16}, "autoencoder": {"latent_size": 16}}, "autoencoder.latent_size", "16"),
        (regressions(multiscale_cnn=["latent"]) | {"attention_cnn": {"channels": [8, 10]}},
         "attention_cnn.channels", "multiple of 4"),
        ({"lightgbm": {"learning_rate": [0.2, 0.1]}}, "lightgbm.learning_rate", "[0.1, 0.2]"),
        ({"attention_cnn": {"dropout": [0.5, 0.1]}}, "attention_cnn.dropout", "[0.1, 0.5]"),
        ({"materials_project": {"n_elements": [3, 1]}}, "materials_project.n_elements", "[1, 3]"),
        ({"materials_project": {"bulk_modulus_gpa": [9.0, 1.0]}}, "materials_project.bulk_modulus_gpa", "[1.0, 9.0]"),
        ({"materials_project": {"elements": ["Li", "O"], "exclude_elements": ["O"]}},
         "materials_project.exclude_elements", "O"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_named_with_its_key_and_a_way_out(changes, place, word):
    error = places(changes)[place]
    assert word in f"{error.problem} {error.fix}"


def test_a_table_of_ones_own_may_hold_superpositions():
    own = {"materials": "table.csv", "dft": {"engine": "files"}}
    assert not places(regressions(gaussian_process=["deformation_fingerprint"]) | own)


def test_all_problems_are_told_at_once():
    found = places(regressions(blend=[]) | {"grid": {"size": 16}, "autoencoder": {"latent_size": 16}})
    assert {"predict", "learning_curve.models", "autoencoder.latent_size"} <= set(found)


def test_a_network_without_its_package_is_told(monkeypatch):
    monkeypatch.setattr(config_check, "is_installed", lambda name: False)
    graph = regressions(graph_network=["graph"])
    assert "requirements-graph.txt" in places(graph)["evaluation.regressions.graph_network"].fix
    assert "envs/rho2prop.yaml" in places(graph, environment="- torch==2")["evaluation.regressions.graph_network"].fix
    assert not places(graph, environment="- torch==2\n- alignn==1")
    assert not places({})


@pytest.mark.slow  # imports each model
@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_fitted_and_read_and_takes_some_block(model):
    if not MODELS[model].package or find_spec(MODELS[model].package):
        methods = {
            name for name in ("fit", "predict", "save", "load") if callable(getattr(estimator_class(model), name))
        }
        assert methods == {"fit", "predict", "save", "load"}
    taken = []
    for block in BLOCKS:
        try:
            check(model, block, (block,))
        except InputError:
            continue
        taken.append(block)
    assert bool(taken) == (model != "mean")
    settings = MODELS[model].settings_of(MODELS[model].content(DEFAULTS))
    assert (settings is None) == (MODELS[model].settings is None)


@pytest.mark.slow  # imports each model
def test_networks_are_the_models_that_are_trained_by_torch():
    here = [name for name, spec in MODELS.items() if not spec.package or find_spec(spec.package)]
    from rho2prop.models.network_training import NetworkModel

    trained_by_torch = {name for name in here if issubclass(estimator_class(name), NetworkModel)}
    assert trained_by_torch == set(models_that_need_gpu(True)) & set(here)


def test_fewest_labels_of_which_every_fold_has_enough():
    assert least_labels("lightgbm", 5, 0.15) == 10  # 8 remain beside the test part: 7 train, 1 validates
    assert least_labels("lightgbm", 2, 0.15) == 12  # 6 remain
    assert least_labels("attention_cnn", 5, 0.15) == 13  # 10 remain, of which 2 validate
    assert least_labels("attention_cnn", 5, 0.25) == 10


def test_the_snakefile_imports_no_numerical_library_for_it():
    code = "import sys, rho2prop.evaluation.config_check, rho2prop.evaluation.label_check; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert not {"numpy", "scipy", "pandas", "torch", "pymatgen", "ase"} & set(modules.split())


def test_a_set_of_ones_own_may_extend_a_shipped_one_and_unused_sets_are_no_problem():
    mine = sets(mine={"extends": "magpie", "add": ["spring_network"]}, spare={"extends": "mine", "add": ["graph"]})
    assert not places(mine | {"evaluation": {"regressions": {"gaussian_process": ["mine"]}}})


def test_sections_on_evaluation_have_the_keys_of_their_dataclasses():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))["properties"]
    sections = {
        "evaluation": EvaluationSettings,
        "learning_curve": LearningCurveSettings,
        "invariance": InvarianceSettings,
    }
    for name, kind in sections.items():
        assert {field.name for field in fields(kind)} == set(schema[name]["properties"]), name
