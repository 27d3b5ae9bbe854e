"""Engines that make densities, one folder or module each, and what became of each calculation.

Imports densities and below; engines are imported when they are asked for.
"""
