"""The layout of the package: imports run downward only, no cycles, files one can read in one sitting."""

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
PACKAGE = ROOT / "rho2prop"
ROOMS = (  # from the ground up: a room imports only from rooms before it
    "core",
    "crystals",
    "densities",
    "dft",
    "materials",
    "features",
    "autoencoder",
    "models",
    "evaluation",
    "prediction",
    "report",
    "app",
)
MAX_LINES = 400
MAX_ENTRIES = 15
CATCH_ALL_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "handler", "tools"}


def module_name(path):
    """``rho2prop/dft/__init__.py`` to ``rho2prop.dft``."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module, source, modules=MODULES):
    """Modules of this package that a module imports, anywhere in its code."""
    package = module if modules[module].name == "__init__.py" else module.rpartition(".")[0]
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            imported |= {name if name in modules else base for name in names}
    return {name for name in imported if name.split(".")[0] == PACKAGE.name}


IMPORTS = {module: imports_of(module, path.read_text()) for module, path in MODULES.items()}


def room_of(module):
    """The room of a module; empty for the package itself and for modules that lie directly in it."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


def upward_imports(imports):
    """Pairs of modules of which the first lies in a lower room than the second, which it imports."""
    floor = {room: number for number, room in enumerate(ROOMS)}
    return [
        (module, imported)
        for module, imported in ((module, imported) for module in imports for imported in sorted(imports[module]))
        if room_of(module) and room_of(imported) and floor[room_of(module)] < floor[room_of(imported)]
    ]


def import_cycles(imports):
    """Each cycle that a walk along the imports runs into, as the modules on it."""
    cycles, finished = [], set()

    def walk(module, path):
        if module in path:
            cycles.append([*path[path.index(module) :], module])
        elif module not in finished:
            for imported in sorted(imports.get(module, ())):
                walk(imported, [*path, module])
            finished.add(module)

    for module in imports:
        walk(module, [])
    return cycles


def test_each_folder_of_the_package_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(ROOMS)


def test_imports_run_downward_only():
    assert upward_imports(IMPORTS) == []


def test_no_module_imports_itself_through_others():
    # the package's own __init__ offers the API lazily; a room that imports it asks for the version alone
    assert import_cycles({module: names - {PACKAGE.name} for module, names in IMPORTS.items()}) == []


def test_the_checks_find_an_upward_import_and_a_cycle():
    imports = {"rho2prop.core.a": {"rho2prop.dft.b"}, "rho2prop.dft.b": {"rho2prop.core.a"}}
    assert upward_imports(imports) == [("rho2prop.core.a", "rho2prop.dft.b")]
    assert import_cycles(imports) == [["rho2prop.core.a", "rho2prop.dft.b", "rho2prop.core.a"]]


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("from rho2prop.core import errors", {"rho2prop.core.errors"}),
        ("from rho2prop.core.errors import InputError", {"rho2prop.core.errors"}),
        ("import rho2prop.core.errors", {"rho2prop.core.errors"}),
        ("def f():\n    from ..core.errors import InputError", {"rho2prop.core.errors"}),
        ("from . import deadline", {"rho2prop.dft.deadline"}),
        ("import numpy", set()),
    ],
)
def test_imports_are_read_in_every_form(source, imported):
    assert imports_of("rho2prop.dft.base", source) == imported


def test_modules_named_in_strings_exist():
    # registries name the module of an engine, a block or a model, which is imported when it is asked for
    dotted = re.compile(rf"{PACKAGE.name}((?:\.[a-z]\w*)+)(?::\w+)?")
    named = {
        (module, node.value)
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and dotted.fullmatch(node.value)
    }
    assert [pair for pair in sorted(named) if pair[1].partition(":")[0] not in MODULES] == []


def test_no_file_is_longer_than_can_be_read_at_once():
    files = itertools.chain(
        PACKAGE.rglob("*.py"),
        (ROOT / "tests").rglob("*.py"),
        (ROOT / "workflow" / "scripts").glob("*.py"),
        (ROOT / "rules").glob("*.smk"),
    )
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_the_package_holds_few_entries():
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__" and path.suffix != ".pyc"]
    assert len(entries) <= MAX_ENTRIES, sorted(entries)


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_in_two_lines_what_it_is_for(room):
    docstring = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    assert len([line for line in docstring.splitlines() if line.strip()]) == 2, docstring


def test_the_tree_in_the_documentation_is_that_of_the_repository():
    lines = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    above, paths = [], []
    for line in lines:
        if match := re.match(r"((?:│   |    )*)[├└]── (\S+)", line):
            above[len(match[1]) // 4 :] = [match[2].rstrip("/")]
            paths.append("/".join(above))
    assert [path for path in paths if not (ROOT / path).exists()] == []
    rooms = [path.removeprefix("rho2prop/") for path in paths if path.removeprefix("rho2prop/") in ROOMS]
    assert rooms == list(ROOMS)


def test_the_picture_of_the_workflow_names_rules_that_exist():
    picture = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    named = {rule for label in re.findall(r'-- "(.+?)" -->', picture) for rule in label.split("<br/>")}
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    defined = set(re.findall(r"^ *(?:rule|checkpoint|use rule \w+ as) (\w+)", rules, re.MULTILINE))
    assert len(named) > 10
    assert named - defined == set()


def test_nothing_is_named_for_everything():
    names = {path.stem for path in PACKAGE.rglob("*") if path.suffix in ("", ".py")}
    assert names & CATCH_ALL_NAMES == set()
