"""Digest of the code that a script runs: Snakemake's missing re-run trigger for packages.

A script's code is its import closure: every module of the package that it imports, directly or through another, at the
top or inside a function. Modules that are imported by name (registries hold ``"rho2prop.models.boosting"``) count where
the full name appears. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
# a full stop behind the name ends a sentence; the face of the package hands names on and defines nothing
_NAME = re.compile(rf"{PACKAGE.name}(\.[a-z_0-9]+)+")


@cache
def code_digest(*paths: Path | str) -> str:
    """12 hexadecimal digits that change when the code of these files, or of a module that they import, does.

    Parameters
    ----------
    paths
        Scripts or modules; other files (templates) count byte by byte.
    """
    files = sorted({file for path in paths for file in import_closure(Path(path))})
    return hashlib.sha256(b"".join(_digest(file) for file in files)).hexdigest()[:12]


@cache
def import_closure(path: Path) -> frozenset[Path]:
    """A file and all files of the package that it imports, with the data files beside them.

    Parameters
    ----------
    path
        Python file, of the package or beside it.
    """
    closure, waiting = set(), [path.resolve()]
    while waiting:
        file = waiting.pop()
        if file in closure:
            continue
        closure.add(file)
        if file.suffix == ".py":
            waiting += _imported(file)
            if file.is_relative_to(PACKAGE):
                closure.update(_data_beside(file.parent))
    return frozenset(closure)


@cache
def _data_beside(folder: Path) -> tuple[Path, ...]:
    return tuple(file for file in folder.iterdir() if file.is_file() and file.suffix in (".json", ".yaml", ".j2"))


@cache  # most files are in the closures of many scripts
def _imported(path: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.match(node.value):
            names.add(node.value.partition(":")[0])
    return tuple(file for name in names for file in _files(name))


def _files(name: str) -> list[Path]:
    """Files that an import of a dotted name runs: its packages below the top, and the module."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return []
    files = []
    for end in range(2, len(parts) + 1):
        place = PACKAGE.joinpath(*parts[1:end])
        files += [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
    return files


@cache
def _tree(path: Path) -> ast.Module:
    """Syntax of a file without its docstrings."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


@cache
def _digest(path: Path) -> bytes:
    content = ast.dump(_tree(path)).encode() if path.suffix == ".py" else path.read_bytes()
    return hashlib.sha256(content).digest()
