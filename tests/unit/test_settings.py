"""Settings: dataclasses, schema and config.yaml name the same keys with the same types and values."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from rho2prop.autoencoder.request import TrainingSettings
from rho2prop.core.errors import InputError
from rho2prop.core.settings import read_section
from rho2prop.densities.grids import Grid
from rho2prop.dft.atoms import AtomsSettings
from rho2prop.dft.files import FilesSettings
from rho2prop.dft.gpaw.settings import GpawSettings
from rho2prop.dft.materials_project.engine import MaterialsProjectSettings
from rho2prop.dft.vasp.settings import VaspSettings
from rho2prop.evaluation.settings import IntervalSettings
from rho2prop.materials.materials_project.records import Filters
from rho2prop.materials.materials_project.snapshot import Download
from rho2prop.materials.table import ElementalCrystals
from rho2prop.models.registry import MODELS

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
# section: the dataclasses that its keys are divided among, and the keys that only the rules read
SECTIONS = {
    "elements": ((ElementalCrystals,), set()),
    "materials_project": ((Download, Filters), {"snapshot"}),
    "dft.gpaw": ((GpawSettings,), set()),
    "dft.atoms": ((AtomsSettings,), {"machine"}),
    "dft.vasp": ((VaspSettings,), set()),
    "dft.materials_project": ((MaterialsProjectSettings,), set()),
    "dft.files": ((FilesSettings,), {"machine"}),
    "grid": ((Grid,), set()),
    "autoencoder": ((TrainingSettings,), {"scope", "compared_fields"}),
    "intervals": ((IntervalSettings,), set()),
    **{spec.section: ((spec.settings,), set()) for spec in MODELS.values() if spec.settings and spec.section},
}

NAMES = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}


def schema_of(section: str) -> dict:
    schema = SCHEMA
    for key in section.split("."):
        schema = schema["properties"][key]
    return schema


def required(kind) -> set[str]:
    """Names of the fields without a default: those with one are filled in by the workflow from other sections."""
    return {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}


def assert_same_type(hint, schema: dict, name: str) -> None:
    """The type hint of a field allows what the schema of its key does."""
    if is_dataclass(hint):
        assert required(hint) == set(schema["properties"]) == set(schema["required"]), name
        for key, inner in get_type_hints(hint).items():
            assert_same_type(inner, schema["properties"][key], f"{name}.{key}")
    elif get_origin(hint) is Literal:
        assert sorted(get_args(hint)) == sorted(schema["enum"]), name
    elif "enum" in schema:
        assert {type(value) for value in schema["enum"]} == {hint}, name
    elif get_origin(hint) is tuple:
        assert schema["type"] == "array", name
        first, *others = get_args(hint)
        assert schema["items"].get("type", "string") == NAMES[first], name
        if others != [...]:
            assert schema["minItems"] == schema["maxItems"] == 1 + len(others), name
    elif get_origin(hint) is Mapping:
        assert schema["type"] == "object", name
        values = get_args(get_args(hint)[1])
        assert {NAMES[kind] for kind in values} == set(schema["additionalProperties"]["type"]), name
    elif get_origin(hint) is UnionType:
        assert {NAMES[kind] for kind in get_args(hint)} == set(schema["type"]), name
    else:
        assert schema["type"] == NAMES[hint], name


@pytest.mark.parametrize("section", SECTIONS)
def test_schema_and_dataclasses_name_the_same_keys_with_the_same_types(section):
    kinds, of_the_rules = SECTIONS[section]
    schema = schema_of(section)
    named = [name for kind in kinds for name in required(kind)]
    assert sorted([*named, *of_the_rules]) == sorted(schema["properties"]) == sorted(schema["required"])
    for kind in kinds:
        for name, hint in get_type_hints(kind).items():
            if name in required(kind):
                assert_same_type(hint, schema["properties"][name], f"{section}.{name}")


@pytest.mark.parametrize("section", SECTIONS)
def test_the_shipped_configuration_is_read_key_by_key(section):
    kinds, of_the_rules = SECTIONS[section]
    content = CONFIG
    for key in section.split("."):
        content = content[key]
    assert set(content) == {name for kind in kinds for name in required(kind)} | of_the_rules
    for kind in kinds:
        own = {key: value for key, value in content.items() if key in required(kind)}
        settings = read_section(kind, own, section)
        for key, value in own.items():
            found = getattr(settings, key)
            assert found == (tuple(value) if isinstance(value, list) else value) or is_dataclass(found)


def test_every_section_of_the_schema_is_compared_or_named_here():
    """A new section needs its dataclass above, or its place among those that only rules and checks read."""
    compared = {section.split(".")[0] for section in SECTIONS}
    others = {"materials", "seed", "labels", "features", "feature_sets", "evaluation", "learning_curve", "predict"}
    others |= {"invariance"}
    assert compared | others == set(SCHEMA["properties"])


@dataclass(frozen=True)
class Inner:
    depth: int


@dataclass(frozen=True)
class Outer:
    sizes: tuple[int, ...]
    inner: Inner
    extra: str | None = None


def test_a_section_becomes_its_dataclass_with_the_sections_in_it():
    assert read_section(Outer, {"sizes": [1, 2], "inner": {"depth": 3}}, "outer") == Outer((1, 2), Inner(3))


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"sizes": [1], "inner": {"depth": 3}, "size": 1}, "outer.size"),
        ({"inner": {"depth": 3}}, "outer.sizes"),
        ({"sizes": [1], "inner": {}}, "outer.inner.depth"),
        ({"sizes": [1], "inner": {"depth": 1, "width": 2}}, "outer.inner.width"),
        ({"sizes": [1], "inner": 3}, "outer.inner"),
    ],
)
def test_an_unknown_or_missing_key_is_refused_by_its_name(content, key):
    with pytest.raises(InputError) as caught:
        read_section(Outer, content, "outer")
    assert caught.value.source == key
