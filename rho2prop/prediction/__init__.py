"""Predictions of new materials, and how far they can be trusted.

Imports evaluation and below.
"""
