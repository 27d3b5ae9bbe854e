"""The trigger for running a rule again: every module that Python loads for its script counts, and nothing but code."""

import ast
import importlib.util
import io
import json
import keyword
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from rho2prop.core.jobs.code_digest import code_digest, import_closure

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
BINDING = ("def ", "with ", "class ")
WITHOUT_TRIGGER = {
    "run_dft",
    "run_dft_batch",
    "run_atom",
    "fetch_materials_project",
}  # too dear to compute or to fetch again
# For each script, in a process of its own: its imports, then all modules of its closure; what of the package is loaded.
LOADED = """
import ast, contextlib, importlib, json, os, sys, traceback
for name in json.loads(sys.stdin.readline()):  # other packages: once, and not for each script
    with contextlib.suppress(Exception):
        importlib.import_module(name)
def stages(script, closure):
    for node in ast.parse(open(script).read()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), script, "exec"))
    yield sorted(sys.modules)
    for name in closure:
        try:
            importlib.import_module(name)
        except ImportError as error:  # a package that is not installed here: gpaw, alignn
            if (error.name or "rho2prop").startswith("rho2prop"):
                raise
    yield sorted(sys.modules)
for line in sys.stdin:
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            found = [[name for name in stage if name.startswith("rho2prop.")] for stage in stages(*json.loads(line))]
        except BaseException:
            found = traceback.format_exc()
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        print(stream.read(), flush=True)
    os.wait()
"""


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> set[str]:
    """Modules that the import statements of a file name."""
    nodes = list(ast.walk(ast.parse(file.read_text()))) if file.suffix == ".py" else []
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def modules_of(script: Path) -> set[str]:
    """Names of the modules in a closure."""
    package = ROOT / "rho2prop"
    return {name_of(file) for file in import_closure(script) if file.suffix == ".py" and file.is_relative_to(package)}


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[list[str]] | str]:
    """Modules of the package by script: after its imports, and after those of its closure; or a traceback."""
    closures = {script: import_closure(script) for script in SCRIPTS}
    others = {
        name for file in frozenset().union(*closures.values()) for name in imported(file) if "rho2prop" not in name
    }
    questions = [sorted(others), *([str(script), sorted(modules_of(script))] for script in SCRIPTS)]
    answer = subprocess.run(
        [sys.executable, "-c", LOADED],
        input="".join(json.dumps(question) + "\n" for question in questions),
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    return {script.stem: stages for script, stages in zip(SCRIPTS, found, strict=True)}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_closure_holds_what_python_loads(loaded, script):
    closure = modules_of(script)
    assert isinstance(loaded[script.stem], list), loaded[script.stem]
    for modules in loaded[script.stem]:
        assert "rho2prop.core.jobs.log" in modules  # every script runs as a job
        assert set(modules) <= closure


def test_modules_that_are_named_and_not_imported_count():
    """A registry names its modules: no import statement leads from the script to an estimator or an engine."""
    assert "rho2prop.models.gaussian_process" in modules_of(ROOT / "workflow/scripts/fit_regression.py")
    assert "rho2prop.dft.gpaw.engine" in modules_of(ROOT / "workflow/scripts/run_dft.py")
    assert "rho2prop.report.render" not in modules_of(ROOT / "workflow/scripts/fit_regression.py")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """Package and scripts, without the shipped models."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "rho2prop", folder / "rho2prop", ignore=shutil.ignore_patterns("__pycache__", "pretrained"))
    shutil.copytree(ROOT / "workflow" / "scripts", folder / "scripts")
    return folder


def digest_in(copy: Path, script: str) -> str:
    """The digest of a script as the copied package computes it, which has forgotten all earlier files."""
    spec = importlib.util.spec_from_file_location("copied_digest", copy / "rho2prop/core/jobs/code_digest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.code_digest(copy / "scripts" / script)


def with_one_byte_changed(text: str) -> str:
    """The first digit of the code replaced, or a letter added to the first name outside its imports."""
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start[0] - 1, token.start[1]
        if token.type == tokenize.NUMBER and token.string[0].isdigit():
            digit = "2" if token.string[0] == "1" else "1"
            lines[row] = lines[row][:column] + digit + lines[row][column + 1 :]
            break
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string) and lines[row].startswith(BINDING):
            lines[row] = lines[row][:column] + "x" + lines[row][column:]
            break
    changed = "".join(lines)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    return changed


@pytest.mark.parametrize(
    "path",
    [
        "scripts/fit_regression.py",
        "rho2prop/core/tables.py",
        "rho2prop/models/gaussian_process.py",
        "rho2prop/features/design_matrix.py",
        "rho2prop/evaluation/cross_validation.py",
    ],
)
def test_one_byte_of_code_changes_the_digest_and_words_do_not(copy, path):
    text, before = (copy / path).read_text(), digest_in(copy, "fit_regression.py")
    docstring = re.match(r'"""\w', text)
    try:
        (copy / path).write_text(f"{text}\n\n# a remark\n".replace(docstring[0], f"{docstring[0]}Other words. "))
        assert digest_in(copy, "fit_regression.py") == before
        (copy / path).write_text(with_one_byte_changed(text))
        assert digest_in(copy, "fit_regression.py") != before
    finally:
        (copy / path).write_text(text)


def test_code_that_a_script_does_not_use_changes_nothing(copy):
    before = digest_in(copy, "fit_regression.py")
    path = copy / "rho2prop/report/render.py"
    path.write_text(with_one_byte_changed(path.read_text()))
    assert digest_in(copy, "fit_regression.py") == before
    assert digest_in(copy, "render_report.py") != code_digest(ROOT / "workflow/scripts/render_report.py")


def test_every_rule_but_the_dear_ones_runs_again_when_its_code_changes():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    blocks = re.split(r"^ *(?:rule|checkpoint)(?: \w+)?:\n", text, flags=re.MULTILINE)[1:]
    triggers = {}
    for block in blocks:
        scripts = re.findall(r'SCRIPTS / "(\w+)\.py"', block)
        for script in scripts:
            triggers.setdefault(script, []).append(re.findall(r'code=code_of\("(\w+)\.py"[,)]', block))
    assert set(triggers) == {script.stem for script in SCRIPTS}
    for script, codes in triggers.items():
        assert codes == [[] if script in WITHOUT_TRIGGER else [script]] * len(codes), script
