"""Materials and labels from the Materials Project: a dated snapshot, and the table made of it.

The client is that of dft/materials_project.
"""
