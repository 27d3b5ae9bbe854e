"""Memory and time of the Gaussian process, from the number of its rows. The Snakefile reads it: no slow import.

``n_rows`` is the most that a property may have: each amount is the largest for that many rows or fewer.
"""

import math

from rho2prop.models.settings import GaussianProcessSettings

# Numbers of memory for each pair of rows that a setting stands for. Measured with 300 columns of 6 blocks: 42 for a
# likelihood of 600 rows and 32 to 38 for more, 1.1 for an exact solve of 5,000.
NUMBERS = {"likelihood_rows": 44, "subset_rows": 44, "exact_rows": 1, "inducing_rows": 3}
CHUNKS_MB = 80  # of a kernel that is assembled a chunk at a time
# Seconds on one core, measured there too: 0.18 for a likelihood of 600 rows, 3.9 for an exact solve of 5,000, 1.4 for
# one of 5,000 by 1,000 inducing points, 2.4 for the covariances of 12.5 million pairs.
LIKELIHOODS = 100  # in both searches together
LIKELIHOOD_S, EXACT_S, SPARSE_S, COVARIANCE_S = 8.2e-10, 3.1e-11, 2.8e-10, 2.0e-7


def rows_by_setting(n_rows: int, settings: GaussianProcessSettings) -> dict[str, int]:
    """Settings that ``n_rows`` or fewer reach, with the most rows that then take part at a time."""
    rows = {"likelihood_rows": min(n_rows, settings.likelihood_rows)}
    if n_rows > settings.likelihood_rows:
        rows |= {"subset_rows": min(n_rows, settings.subset_rows), "exact_rows": min(n_rows, settings.exact_rows)}
    if n_rows > settings.exact_rows:
        rows |= {"inducing_rows": min(n_rows, settings.inducing_rows)}
    return rows


def peak_mb(n_rows: int, settings: GaussianProcessSettings) -> int:
    """Largest memory of the fit of one target in MB, beside features and libraries."""
    return CHUNKS_MB + max(_mb(key, rows) for key, rows in rows_by_setting(n_rows, settings).items())


def most_rows(n_rows: int, settings: GaussianProcessSettings, mem_mb: int) -> tuple[str, int]:
    """The setting that takes the most memory with ``n_rows``, and its largest value that fits ``mem_mb``."""
    rows = rows_by_setting(n_rows, settings)
    key = max(rows, key=lambda name: _mb(name, rows[name]))
    return key, math.isqrt(int(max(0, mem_mb - CHUNKS_MB) * 1e6 / (8 * NUMBERS[key])))


def fit_s(n_rows: int, settings: GaussianProcessSettings) -> float:
    """Seconds for the fit of one target on one core."""
    rows = rows_by_setting(n_rows, settings)
    seconds = LIKELIHOODS * LIKELIHOOD_S * max(rows["likelihood_rows"], rows.get("subset_rows", 0)) ** 3
    seconds += EXACT_S * rows.get("exact_rows", 0) ** 3
    return seconds + SPARSE_S * n_rows * rows.get("inducing_rows", 0) ** 2


def kept_rows(n_rows: int, settings: GaussianProcessSettings) -> int:
    """Most rows that a prediction is a sum over."""
    return max(rows for key, rows in rows_by_setting(n_rows, settings).items() if key != "subset_rows")


def _mb(setting: str, rows: int) -> int:
    return math.ceil(8 * NUMBERS[setting] * rows**2 / 1e6)
