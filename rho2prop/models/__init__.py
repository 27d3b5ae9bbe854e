"""Families of models: how each is fitted, saved and loaded.

registry.py names them all and imports nothing slow.
"""
