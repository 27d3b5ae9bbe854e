"""The engine that takes densities from the Materials Project, and its client.

All requests to the API pass client.py.
"""
