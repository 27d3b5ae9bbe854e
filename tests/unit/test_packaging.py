"""The package as users install it: dependencies, data files, light imports, systems that are no POSIX."""

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from standins.densities import gaussian_density

import rho2prop
from rho2prop.core.targets import TARGETS
from rho2prop.densities.chgcar_writer import write_chgcar
from rho2prop.prediction.pretrained import SHIPPED

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
PACKAGE = ROOT / "rho2prop"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DATA = ("*.j2", "*.json", "*.yaml", "py.typed")
# what a distribution is imported as, where that is another name
DISTRIBUTIONS = {
    "jarvis": "jarvis-tools",
    "lightning_fabric": "lightning-fabric",
    "mp_api": "mp-api",
    "pymatgen": "pymatgen-core",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# of these each release brings the one that fits: nothing to declare
COMES_WITH = {
    "botocore": "mp-api",
    "emmet": "mp-api",
    "fastapi": "nicegui",
    "markupsafe": "jinja2",
    "requests": "mp-api",
    "s3transfer": "mp-api",
    "starlette": "nicegui",
}
IN_TWO_EXTRAS = {"ase"}  # GPAW's interface, and colours of atoms in the app
OPT_IN = {"features/matminer_featurizers.py"}  # for those who have matminer: nothing else imports it
LIGHT_ROOMS = ("core", "crystals", "densities", "features", "prediction")  # what runs when a density is given
NOT_LIGHT = ("torch", "lightning_fabric", "optuna", "safetensors", "sklearn", "shap", "zfpy", "ase", "gpaw", "matminer")
NOT_LIGHT += ("snakemake", "jinja2", "jsonschema", "yaml", "mp_api", "custodian", "nicegui", "uvicorn", "alignn")

FORGET_POSIX = """
import os, signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("fork", "getuid", "geteuid", "getppid", "sched_getaffinity", "uname", "sysconf", "killpg", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGSTOP"):
    delattr(signal, name)
"""


def names_of(requirements: list[str]) -> list[str]:
    found = [Requirement(text).name.lower() for text in requirements]
    return [name for name in found if name != "rho2prop"]


CORE = names_of(PROJECT["dependencies"])
EXTRAS = {extra: names_of(texts) for extra, texts in PROJECT["optional-dependencies"].items()}


def third_party_imports() -> list[tuple[str, str, bool]]:
    """Module of the package, distribution, and whether it is imported with the module rather than in a function."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for name in (
                {module.partition(".")[0] for module in modules}
                - {"rho2prop"}
                - sys.stdlib_module_names
                - {"_typeshed"}
            ):
                name = DISTRIBUTIONS.get(name, COMES_WITH.get(name, name)).lower()
                found.append((path.relative_to(PACKAGE).as_posix(), name, node in tree.body))
    return found


IMPORTS = third_party_imports()


def test_each_import_is_declared_once():
    declared = [*CORE, *(name for names in EXTRAS.values() for name in names)]
    assert {name for _, name, _ in IMPORTS} <= set(declared)
    assert {name for name in declared if declared.count(name) > 1} == IN_TWO_EXTRAS


def test_what_reads_and_predicts_imports_nothing_but_the_core():
    heavy = [(path, name) for path, name, at_top in IMPORTS if at_top and path.partition("/")[0] in LIGHT_ROOMS]
    assert [(path, name) for path, name in heavy if name not in CORE and path not in OPT_IN] == []


def test_what_is_pinned_for_the_workflow_satisfies_the_package():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines += (ROOT / "requirements-graph.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    texts = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    texts.remove("pre-commit>=4.0")  # a tool of whoever commits
    for wanted in map(Requirement, PROJECT["dependencies"] + texts):
        assert wanted.name.lower() in {*pins, "rho2prop"}, f"{wanted.name} is not pinned"
        assert wanted.name == "rho2prop" or wanted.specifier.contains(pins[wanted.name.lower()]), str(wanted)


def test_the_version_stands_in_one_place_and_the_rest_agrees():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == rho2prop.__version__
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest[1] == rho2prop.__version__
    assert "version" in PROJECT["dynamic"]


def test_one_version_of_the_trained_models_is_kept():
    assert [path.name for path in SHIPPED.parent.iterdir() if path.is_dir() and path.name != "__pycache__"] == ["bench"]


@pytest.fixture(scope="module")
def chgcar(tmp_path_factory):
    """A made-up density of silicon, whose valence electrons it has."""
    made = gaussian_density()
    made.numbers[:] = 14
    path = tmp_path_factory.mktemp("given") / "CHGCAR"
    write_chgcar(made, path)
    return path


def run_python(code: str, *arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300, **options)


def assert_predicted_by_the_trees_alone(result: subprocess.CompletedProcess) -> None:
    """The shipped networks need torch, the blend GPAW's atoms: both are left out with a word."""
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)[0]
    rows = found["predictions"]
    assert {row["target"] for row in rows} == set(TARGETS)
    assert {row["model"].removesuffix("_from_kg") for row in rows} == {"lightgbm"}
    assert all(np.isfinite(row["value"]) for row in rows)
    assert any('pip install "rho2prop[train]"' in warning for warning in found["warnings"])


@pytest.mark.slow
def test_a_chgcar_is_predicted_without_what_only_extras_install(chgcar, tmp_path):
    forget = f"import sys; sys.modules.update(dict.fromkeys({NOT_LIGHT!r}))\n"
    code = forget + "from rho2prop.__main__ import main; sys.exit(main())"
    options = ["--bundle", SHIPPED, "--allow-other-engine", "--format", "json", "--threads", "1"]
    assert_predicted_by_the_trees_alone(run_python(code, "predict", chgcar, *options))
    encoded = run_python(code, "encode", chgcar, "--bundle", SHIPPED, "--allow-other-engine", "-o", tmp_path / "x.npz")
    assert (encoded.returncode, encoded.stdout) == (1, "")
    assert 'pip install "rho2prop[train]"' in encoded.stderr


@pytest.mark.slow  # the libraries of the app and torch are loaded first
def test_nothing_needs_posix_to_be_imported_or_to_predict(chgcar):
    """All modules of the light rooms and of the app, where a system lacks what only POSIX has."""
    modules = [
        "rho2prop." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] in (*LIGHT_ROOMS, "app") and path.name != "__main__.py"
    ]
    code = f"""
import importlib, sys
names = {modules!r}
for name in names:  # the libraries, as they are here
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] == "rho2prop"]:
    del sys.modules[name]
{FORGET_POSIX}
for name in names:
    importlib.import_module(name)
sys.modules["torch"] = sys.modules["gpaw"] = None
from rho2prop.__main__ import main
sys.exit(main())
"""
    options = ["--bundle", SHIPPED, "--allow-other-engine", "--format", "json", "--threads", "1"]
    assert_predicted_by_the_trees_alone(run_python(code, "predict", chgcar, *options))


def test_locks_of_runs_are_refused_with_a_word_where_there_are_none(tmp_path):
    code = (
        FORGET_POSIX
        + "from rho2prop.core.jobs.running_jobs import running_job\nwith running_job('job', sys.argv[1]): pass"
    )
    result = run_python(code, tmp_path)
    assert result.returncode == 1
    assert "WSL" in result.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source archive, made from a copy of the tree without network."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in tracked:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    code = (
        "import sys; from setuptools import build_meta as b; out = sys.argv[1]; b.build_sdist(out); b.build_wheel(out)"
    )
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=copy, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.mark.slow
def test_wheel_and_source_archive_hold_code_data_and_models_and_nothing_else(built):
    files = {path for pattern in ("*.py", *DATA) for path in PACKAGE.rglob(pattern)}
    files |= {path for path in SHIPPED.rglob("*") if path.is_file()}
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert any(name.endswith("report.html.j2") for name in expected)
    with zipfile.ZipFile(built[0]) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
        for path in SHIPPED.rglob("*.json"):  # line endings are part of the checksums
            assert wheel.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()
    assert inside == expected
    with tarfile.open(built[1]) as source:
        kept = {name.partition("/")[2] for name in source.getnames()}
    assert expected | {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= kept
    assert not any(name.startswith(("tests", "docs", "benchmarks")) for name in kept)


def with_their_dependencies(names: list[str]) -> set[str]:
    """Distributions, installed here, that pip would install for these."""
    found, waiting = set(), [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        if wanted.name.lower() not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(wanted.name.lower())
            waiting += map(Requirement, distribution(wanted.name).requires or [])
    return found


@pytest.mark.slow
def test_the_wheel_predicts_where_only_the_core_is_installed(built, chgcar, tmp_path):
    """An environment of its own, into which the packages of the core, and no others, are linked from this one."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    place = next((environment / "lib").glob("python*")) / "site-packages"
    for name in with_their_dependencies(PROJECT["dependencies"]):
        files = distribution(name).files
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            if not (place / top).exists():
                (place / top).symlink_to(distribution(name).locate_file(top))
    install = [python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--disable-pip-version-check", built[0]]
    subprocess.run(install, check=True, env={"PATH": ""}, timeout=300)
    command = [python, "-X", "importtime", environment / "bin" / "rho2prop", "predict", chgcar]
    options = ["--allow-other-engine", "--format", "json", "--threads", "1"]
    result = subprocess.run(
        [*command, *options], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, timeout=300
    )
    assert_predicted_by_the_trees_alone(result)
    # pymatgen-core brings more than is used: what is slow to import stays out
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if "import time:" in line}
    assert "lightgbm" in modules
    assert not {module.partition(".")[0] for module in modules} & {"matplotlib", "plotly", "sympy", "networkx"}
