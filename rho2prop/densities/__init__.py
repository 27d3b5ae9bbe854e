"""Electron densities: reading and writing files, fields, grids, points they are looked at from.

Imports core and crystals.
"""
