"""The report of a run: ``render`` writes one HTML file, ``save_figures`` the main figures.

Reads tables of results; computes no score of its own.
"""

from rho2prop.report.render import FIGURE_FILES, render, save_figures

__all__ = ["FIGURE_FILES", "render", "save_figures"]
