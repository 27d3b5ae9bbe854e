"""Figures of the report.

Each takes tables and returns a Matplotlib figure.
"""
