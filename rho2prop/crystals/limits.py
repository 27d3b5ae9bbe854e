"""Limits that every crystal must keep."""

LARGEST_FRACTIONAL = 1e6  # beyond it a coordinate says nothing about the place in the cell
SHORTEST_DISTANCE_ANG = 0.5  # between two atoms
