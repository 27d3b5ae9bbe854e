"""Functions and classes by name: registries name what does the work and import nothing."""

from importlib import import_module
from typing import Any


def load_named(name: str) -> Any:
    """Object named ``module:attribute``, such as ``rho2prop.models.boosting:Boosting``; its module is imported now."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
