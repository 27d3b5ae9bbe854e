"""Crystal structures: reading, checks, symmetry, tables of the elements.

Imports core only; knows no densities.
"""
