"""DFT engines, one folder or module each, and the outcomes of their calculations.

Imports densities and below; engines are imported when they are asked for.
"""
