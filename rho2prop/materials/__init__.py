"""The materials table, the converged materials and the folds.

Imports dft and below.
"""
