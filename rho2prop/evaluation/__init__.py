"""Honest evaluation: cross-validation, metrics, intervals, invariance, importance.

Imports models and features; checks of the configuration stand here too.
"""
