"""Regression models: how each is fitted, saved and loaded.

registry.py lists them and imports nothing slow.
"""
