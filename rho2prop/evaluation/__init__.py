"""Evaluation: cross-validation, metrics, intervals, invariance, importance.

Imports models and features; checks of the configuration live here too.
"""
