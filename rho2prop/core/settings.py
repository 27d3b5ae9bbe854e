"""Sections of the configuration as frozen dataclasses, each defined in the room that uses it.

``workflow/schemas/config.schema.yaml`` checks values and bounds; a test compares it with the dataclasses.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from rho2prop.core.errors import InputError, suggestion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Section = TypeVar("Section", bound=DataclassInstance)


def read_section(kind: "type[Section]", content: Mapping[str, Any], name: str) -> "Section":
    """A section of the configuration as its dataclass.

    Parameters
    ----------
    kind
        Frozen dataclass of the section. A field that is a dataclass is a section inside it; a tuple takes a list, of
        sections if its elements are dataclasses.
    content
        Keys and values as in ``config.yaml``.
    name
        Name of the section in messages, for example ``dft.vasp``.

    Raises
    ------
    InputError
        A key is unknown or missing.
    """
    if not isinstance(content, Mapping):
        raise InputError(name, f"is a {type(content).__name__}, expected keys and values", "See config.yaml")
    keys = [field.name for field in fields(kind)]
    required = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    for key in content:
        if key not in keys:
            raise InputError(f"{name}.{key}", "unknown key", suggestion(str(key), keys))
    for key in required:
        if key not in content:
            raise InputError(f"{name}.{key}", "is missing", "Copy it from config.yaml")
    types = get_type_hints(kind)
    return kind(**{key: _value(types[key], value, f"{name}.{key}") for key, value in content.items()})


def _value(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return read_section(kind, value, name)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], element, f"{name}[{i}]") for i, element in enumerate(value))
    return value
