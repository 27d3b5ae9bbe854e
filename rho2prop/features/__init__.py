"""Feature blocks: what models read of a composition, a structure or a density.

registry.py names them all and imports nothing slow.
"""
