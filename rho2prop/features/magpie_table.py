"""MAGPIE descriptors from the frozen element tables, bit-identical to matminer's."""

import numpy as np

from rho2prop.crystals.element_tables import checked, magpie_table
from rho2prop.densities.crystal_description import CrystalDescription

STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
PREFIX = "MagpieData"


def magpie_row(crystal: CrystalDescription) -> dict[str, float]:
    """The 132 MAGPIE composition descriptors, as matminer's preset "magpie".

    Returns
    -------
    dict
        Named and ordered as matminer does. Source: L. Ward et al., npj Comput. Mater. 2, 16028 (2016).
    """
    numbers, first, counts = np.unique(crystal.structure.atomic_numbers, return_index=True, return_counts=True)
    order = np.argsort(first)  # sums depend on the order of the terms in their last bit: that of the sites, as matminer
    elements, weights = numbers[order], counts[order].astype(float)
    properties, table = magpie_table()
    row: dict[str, float] = {}
    for name, values in zip(properties, table[checked(elements) - 1].T, strict=True):
        row |= {f"{PREFIX} {statistic} {name}": x for statistic, x in _statistics(values, weights).items()}
    return row


def _statistics(values: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    if np.isnan(values).any():
        low = high = float("nan")
    else:
        low, high = float(values.min()), float(values.max())
    mean = np.average(values, weights=weights)
    most_frequent = np.isclose(weights, weights.max())
    deviation = np.average(np.abs(values - mean), weights=weights)
    numbers = low, high, high - low, mean, deviation, values[most_frequent].min()
    return {name: float(x) for name, x in zip(STATISTICS, numbers, strict=True)}
