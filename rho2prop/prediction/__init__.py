"""Predictions for new materials, the model bundle, and the applicability domain.

Imports evaluation and below.
"""
