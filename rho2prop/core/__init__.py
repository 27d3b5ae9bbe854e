"""Foundations of all rooms: errors for users, atomic files, settings, targets.

Imports no other room.
"""
