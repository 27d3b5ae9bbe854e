"""What every room builds on: errors for people, files written whole, targets.

Imports no other room.
"""
