"""The web app: pages, workers, guards.

Imports prediction and below.
"""
