"""Feature blocks: descriptors of a composition, a structure or a density.

registry.py lists them and imports nothing slow.
"""
