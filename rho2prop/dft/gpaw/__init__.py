"""The engine GPAW: densities, free atoms and what its failures mean.

Nothing of GPAW is imported outside this folder.
"""
