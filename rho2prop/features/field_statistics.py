"""Statistics of a periodic field, robust against rounding noise.

Histograms share each point linearly between the two nearest bins; quantiles are order statistics.
"""

import numpy as np

DENSITY_FLOOR = 1e-4  # e/Å³; below it PAW pseudo-densities are noise and may be negative
# Just under round fractions: q·N is then never an integer.
QUANTILES = np.array([0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995]) - 1e-7
LOG_DENSITY_BINS = np.linspace(-2.5, 1.5, 9)  # log10 of ρ in e/Å³
LOG_GRADIENT_BINS = np.linspace(-1.5, 1.0, 6)  # log10 of the reduced gradient s
SHELLS_PER_ANG = np.arange(1.0, 13.0, 1.0)  # |G| in 1/Å
POWER_FLOOR = 1e-9
QUANTILE_BINS = 2**14


def quantiles(name: str, field: np.ndarray, rho: np.ndarray) -> dict:
    """Quantiles of a field by volume and by charge.

    Parameters
    ----------
    name
        Start of the names of the features.
    field, rho
        Values on the points of the grid, shape (n,), and the charge at each.

    Notes
    -----
    Only the points in the few bins where a quantile lies are sorted: a full sort took half of the fingerprint's time.
    """
    low, high = field.min(), field.max()
    bins = ((field - low) * ((QUANTILE_BINS - 1) / max(high - low, 1e-300))).astype(np.int32)  # grows with the field
    n_in_bin = np.bincount(bins, minlength=QUANTILE_BINS)
    charge_in_bin = np.bincount(bins, rho, minlength=QUANTILE_BINS)
    n_until, charge_until = np.cumsum(n_in_bin), np.cumsum(charge_in_bin)
    ranks, charges = np.ceil(QUANTILES * field.size).astype(int) - 1, QUANTILES * charge_until[-1]
    of_ranks, of_charges = np.searchsorted(n_until, ranks, "right"), np.searchsorted(charge_until, charges)
    wanted = np.zeros(QUANTILE_BINS, dtype=bool)
    wanted[of_ranks] = wanted[of_charges] = True
    points = np.flatnonzero(wanted[bins])
    points = points[np.argsort(field[points], kind="stable")]
    start = np.searchsorted(bins[points], np.arange(QUANTILE_BINS))  # of each wanted bin among the sorted points
    by_volume = field[points[start[of_ranks] + ranks - (n_until - n_in_bin)[of_ranks]]]
    by_charge = []
    for charge, of_charge in zip(charges, of_charges, strict=True):
        inside = points[start[of_charge] : start[of_charge] + n_in_bin[of_charge]]
        reached = charge_until[of_charge] - charge_in_bin[of_charge] + np.cumsum(rho[inside])
        by_charge.append(field[inside[min(np.searchsorted(reached, charge), len(inside) - 1)]])
    features = {f"{name}_vq{q:.3f}": value for q, value in zip(QUANTILES + 1e-7, by_volume, strict=True)}
    return features | {f"{name}_cq{q:.3f}": value for q, value in zip(QUANTILES + 1e-7, by_charge, strict=True)}


def shares(field: np.ndarray, bins: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two nearest bins of each point and its linear share in each; points outside go to the last bin."""
    position = np.clip((field - bins[0]) / (bins[1] - bins[0]), 0, len(bins) - 1)
    lower = np.minimum(position.astype(int), len(bins) - 2)
    upper_share = position - lower
    return [(lower, 1 - upper_share), (lower + 1, upper_share)]


def half_weights(spectrum: np.ndarray) -> np.ndarray:
    """Multiplicity of each wave of a half-complex spectrum: rfftn keeps one of each pair ±G, except on the plane 0."""
    twice = np.full(spectrum.shape, 2.0)
    twice[..., 0] = 1.0
    return twice


def shell_powers(spectrum: np.ndarray, wave_squared: np.ndarray) -> dict:
    """log10 of Σ|f_G|² in shells of |G|, G = 0 left out.

    Parameters
    ----------
    spectrum
        Half-complex spectrum in the unit that powers are wanted in.
    wave_squared
        |G|² in 1/Å², of the same shape.
    """
    power = half_weights(spectrum) * np.abs(spectrum) ** 2
    power[0, 0, 0] = 0.0
    length = np.sqrt(wave_squared).ravel()
    inside = length < SHELLS_PER_ANG[-1] + 0.5
    total = np.zeros(len(SHELLS_PER_ANG))
    for index, share in shares(length[inside], SHELLS_PER_ANG):
        total += np.bincount(index, share * power.ravel()[inside], minlength=total.size)
    return {f"power_{g:.0f}": np.log10(p + POWER_FLOOR) for g, p in zip(SHELLS_PER_ANG, total, strict=True)}
