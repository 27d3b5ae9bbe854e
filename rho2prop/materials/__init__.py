"""The table of materials: what is asked for, what converged, and the folds.

Imports dft and below.
"""
