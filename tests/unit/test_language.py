"""The words of README, documents, messages and comments: terms of the field, lines that a diff can show."""

import ast
import re
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
MAX_LINE = 120
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for folder in (".", "docs", "benchmarks", "config", ".github")
    for path in (ROOT / folder).glob("*.md")
)
TEXTS = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"] + sorted(  # which names what was renamed
    path.relative_to(ROOT)
    for pattern in (
        "Snakefile",
        "config.yaml",
        "config/*.yaml",
        "profiles/*/*.yaml",
        "rules/*.smk",
        "rho2prop/**/*.py",
        "rho2prop/**/*.html",
        "rho2prop/**/*.yaml",
        "workflow/**/*.py",
        "workflow/**/*.rst",
        "workflow/**/*.yaml",
        "benchmarks/*.py",
    )
    for path in ROOT.glob(pattern)
)
UNWANTED = {  # pattern: what to write instead
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bset right\b": "fix",
    r"(?<!there)\s(is|are|was) no (folder|file|directory|number)\b": "is not a …",
    r"\bstands? already\b": "already appears",
    r"\bgoes on\b": "continues, resumes",
    r"\bthe models? that predicts?\b": "selected model, final model",
    r"\b(honest|honestly)\b": "say what is measured",
    r"\brivals?\b": "baselines, other methods",
    r"\bsuperposed atoms\b": "promolecule",
    r"(?<!`)\bsuperposition\b(?! of atomic densities)": "promolecule",
    r"\bdifference (density|to superposed)": "deformation density",
    r"[`\"'](springs|cohesion)[`\"']": "spring_network, cohesive_energy",
    r"\b(robustness|novelty)\.(csv|py)": "invariance, applicability",
    r"\b(the|Gaussian) process alone\b": "Gaussian process (GP) alone",
    r"\b(cross-validation|evaluation), and how honest": "evaluation protocol",
}
EXEMPT = {  # names in files of earlier versions are still read, and terms of another field
    ("rho2prop/densities/density.py", "superposition"),
    ("rho2prop/evaluation/earlier_version.py", "robustness.csv"),
}


def findings(text, patterns=UNWANTED):
    """Line number, phrase found and what to write instead, for each unwanted phrase of a text."""
    return [
        (text.count("\n", 0, match.start()) + 1, " ".join(match.group(0).split()), instead)
        for pattern, instead in patterns.items()
        for match in re.finditer(pattern.replace(" ", r"\s+"), text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_lines_of_documents_fit_into_a_diff(path):
    lines = (ROOT / path).read_text().splitlines()
    assert [(number, len(line)) for number, line in enumerate(lines, 1) if len(line) > MAX_LINE] == []


def test_texts_use_the_terms_of_the_field():
    unwanted = [
        f"{path}:{number}: {phrase!r}, better: {instead}"
        for path in TEXTS
        for number, phrase, instead in findings((ROOT / path).read_text())
        if (path.as_posix(), phrase.lower()) not in EXEMPT
    ]
    assert unwanted == []


def test_the_search_finds_unwanted_words_and_leaves_the_definition():
    text = "the promolecule (superposition of atomic\ndensities)\nMend the file"
    assert findings(text) == [(3, "Mend", "fix")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_between_documents_lead_somewhere(path):
    text = (ROOT / path).read_text()
    targets = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    broken = [target for target in sorted(targets) if target and not (ROOT / path.parent / target).exists()]
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_to_sections_name_a_heading(path):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / path).read_text()):
        target, _, section = link.partition("#")
        document = ROOT / path.parent / target if target else ROOT / path
        if section and "://" not in link and document.suffix == ".md" and section not in anchors(document):
            broken.append(link)
    assert broken == []


def anchors(document):
    """Anchors of the headings of a Markdown file, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def docstrings(path):
    """Line and first line of each docstring of a Python file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.splitlines()[0]


def test_docstrings_say_what_they_do_or_return():
    questions = re.compile(
        r"(What|How|Where|Why|Who|Whose|Is|Are|Do|Does|Can)\b|(All|Those) (that|of|which)\b|The same\b"
    )
    riddles = [
        f"{path.relative_to(ROOT)}:{line}: {first}"
        for folder in ("rho2prop", "workflow", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, first in docstrings(path)
        if questions.match(first)
    ]
    assert riddles == []
