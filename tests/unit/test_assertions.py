"""Tests assert on data and codes: a message may be reworded without touching a test."""

import ast
from pathlib import Path

from standins.refusals import SENTENCE

TESTS = Path(__file__).parents[1]
READ = {"stdout", "stderr", "out", "err", "value", "problem", "fix", "reason", "text", "remarks", "warnings"}
FOREIGN = {"Nothing to be done", "The number of k-points is too small"}  # what Snakemake and VASP say


def is_sentence(value: object) -> bool:
    return isinstance(value, str) and value not in FOREIGN and SENTENCE.search(value) is not None


def sentences(tree: ast.Module) -> list[str]:
    """What ``match=`` and comparisons with a message hold of sentences, with the line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "match":
            places = [node.value]
        elif isinstance(node, ast.Compare) and any(isinstance(operation, ast.In) for operation in node.ops):
            names = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            is_text = any(isinstance(part, ast.Call) and ast.unparse(part.func) == "str" for part in ast.walk(node))
            places = [node.left] if names & READ or is_text else []
        else:
            continue
        texts = [part for place in places for part in ast.walk(place) if isinstance(part, ast.Constant)]
        found += [f"{part.lineno}: {part.value}" for part in texts if is_sentence(part.value)]
    return found


def test_no_test_repeats_a_sentence():
    found = {path: sentences(ast.parse(path.read_text())) for path in sorted(TESTS.rglob("test_*.py"))}
    assert len(found) > 100
    told = {path.relative_to(TESTS).as_posix(): lines for path, lines in found.items() if lines}
    assert not told, "use refused() or lacking() of tests/standins/refusals.py"


def test_sentences_are_found():
    tree = ast.parse('with raises(E, match="is not a file"):\n    assert "could not be read" in str(error.value)\n')
    assert len(sentences(tree)) == 2
    assert sentences(ast.parse('raises(E, match=r"a\\.npz"), "8.0000 electrons" in str(error)')) == []
