"""rho2prop: material properties from DFT charge densities.

The names of ``__all__`` are imported from their modules when they are first used: ``import rho2prop`` loads nothing.
"""

__version__ = "0.2.0"
__all__ = ["Density", "InputError", "__version__", "fingerprint", "predict"]

_MODULES = {
    "Density": "rho2prop.densities.density",
    "InputError": "rho2prop.core.errors",
    "fingerprint": "rho2prop.prediction.api",
    "predict": "rho2prop.prediction.api",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
