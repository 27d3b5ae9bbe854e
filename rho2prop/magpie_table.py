"""MAGPIE descriptors from a stored table of elements: matminer's numbers to the last bit, without importing it.

A model bundle carries the table, so that its features stay what they were at training whatever matminer is installed.
"""

import numpy as np

from rho2prop.errors import InputError

STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
PREFIX = "MagpieData"
LARGEST_ATOMIC_NUMBER = 118


def element_table() -> tuple[list[str], np.ndarray]:
    """Elemental properties of matminer's preset "magpie".

    Returns
    -------
    list
        Names of the properties.
    np.ndarray
        Values in matminer's units, shape (118, P), row Z − 1; NaN where unknown.
    """
    from matminer.featurizers.composition import ElementProperty
    from pymatgen.core import Element

    featurizer = ElementProperty.from_preset("magpie", impute_nan=False)
    elements = [Element.from_Z(number) for number in range(1, LARGEST_ATOMIC_NUMBER + 1)]
    source, names = featurizer.data_source, list(featurizer.features)
    return names, np.array([[source.get_elemental_property(e, name) for name in names] for e in elements], dtype=float)


def magpie_row(numbers: np.ndarray, properties: list[str], table: np.ndarray) -> dict[str, float]:
    """The MAGPIE descriptors of a crystal.

    Parameters
    ----------
    numbers
        Atomic numbers of the cell, shape (n,).
    properties, table
        As ``element_table`` gives them.

    Returns
    -------
    dict
        Named and ordered as matminer does. Source: L. Ward et al., npj Comput. Mater. 2, 16028 (2016).
    """
    found, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    order = np.argsort(first)  # sums depend on the order of the terms in their last bit: that of the sites, as matminer
    elements, weights = found[order], counts[order].astype(float)
    if elements.min() < 1 or elements.max() > len(table):
        raise InputError("atomic numbers", f"{elements.min()} to {elements.max()}", f"Give 1 to {len(table)}")
    row = {}
    for name, values in zip(properties, table[elements - 1].T, strict=True):
        row |= {f"{PREFIX} {statistic} {name}": x for statistic, x in _statistics(values, weights).items()}
    return row


def _statistics(values: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    if np.isnan(values).any():
        low = high = float("nan")
    else:
        low, high = float(values.min()), float(values.max())
    mean = np.average(values, weights=weights)
    most_frequent = np.isclose(weights, weights.max())
    numbers = low, high, high - low, mean, np.average(np.abs(values - mean), weights=weights)
    numbers = *numbers, values[most_frequent].min()
    return {name: float(x) for name, x in zip(STATISTICS, numbers, strict=True)}
