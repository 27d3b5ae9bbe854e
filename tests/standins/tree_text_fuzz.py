"""Run as a program: loads and applies damaged tree texts that the check lets pass; counts go to stdout.

``python tree_text_fuzz.py FOLDER N SEED``. A text that passes and ends this process by a signal fails the test.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import lightgbm
import numpy as np

from rho2prop.core.errors import InputError
from rho2prop.prediction.bundle.tree_text import check_tree_text

N_FEATURES = 4
NUMBERS = ("-1", "0", "1", "7", "31", "-32", "2147483647", "-2147483648", "99999999999", "nan", "inf", "1e308", "", "x")


def booster_text(objective: str = "tweedie", n_rows: int = 200) -> str:
    """A small model of the kind that the package writes."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(n_rows, N_FEATURES))
    labels = np.exp(features[:, 0] + 0.3 * features[:, 1] * features[:, 2])
    parameters = {"objective": objective, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 9}
    return lightgbm.train(parameters, lightgbm.Dataset(features, labels), 6).model_to_string()


def with_sizes(text: str) -> str:
    """The text with tree_sizes that agree with it."""
    head, separator, rest = text.partition("\n\nTree=")
    trees, end, tail = (separator[2:] + rest).partition("end of trees")
    parts = re.split(r"(?=^Tree=)", trees, flags=re.MULTILINE)
    sizes = " ".join(str(len(part)) for part in parts if part)
    return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head) + "\n\n" + trees + end + tail


def damaged(text: str, rng: np.random.Generator) -> str:
    """The text with one to three faults; most have tree_sizes that agree, so that they get past the first check."""
    for _ in range(rng.integers(1, 4)):
        lines = text.split("\n")
        chosen = int(rng.integers(max(1, len(lines))))
        words = lines[chosen].split("=")[-1].split(" ")
        word = int(rng.integers(len(words)))
        fault = rng.integers(6)
        if fault == 0:
            place = int(rng.integers(len(text) + 1))
            text = text[:place] + chr(int(rng.integers(1, 128))) + text[place + 1 :]
            continue
        if fault == 1:
            words[word] = NUMBERS[rng.integers(len(NUMBERS))]
        elif fault == 2:
            words[word : word + 1] = []
        elif fault == 3:
            words.insert(word, words[int(rng.integers(len(words)))])
        elif fault == 4:
            lines[chosen] = lines[int(rng.integers(len(lines)))]
        else:
            words[word] = str(rng.integers(-40, 40))
        if fault != 4:
            key, equals, _ = lines[chosen].rpartition("=")
            lines[chosen] = key + equals + " ".join(words)
        text = "\n".join(lines)
    return with_sizes(text) if rng.uniform() < 0.85 else text


def main(folder: Path, n: int, seed: int) -> None:
    """Try ``n`` texts."""
    rng, counts = np.random.default_rng(seed), Counter()
    texts = [booster_text("tweedie"), booster_text("regression")]
    rows = np.vstack([rng.normal(size=(20, N_FEATURES)), np.full(N_FEATURES, np.nan), np.full(N_FEATURES, 1e300)])
    path = folder / "trees.txt"
    for number in range(n):
        path.write_text(damaged(texts[number % 2], rng), encoding="latin-1")
        try:
            check_tree_text(path, N_FEATURES)
        except InputError:
            counts["refused"] += 1
            continue
        counts["passed"] += 1
        booster = lightgbm.Booster(model_file=path)
        counts["finite"] += bool(np.isfinite(booster.predict(rows)).all())
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
