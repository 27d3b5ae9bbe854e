"""The model bundle: one folder that holds all that predicts; written, checked, read.

Nothing of it is run before its checksums and formats are checked.
"""
