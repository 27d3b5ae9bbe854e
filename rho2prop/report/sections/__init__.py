"""Sections of the report, one module each.

Each takes a Run and returns blocks.
"""
