"""The model bundle: one portable folder with everything needed for predictions.

Nothing of it is run before its checksums and formats are checked.
"""
