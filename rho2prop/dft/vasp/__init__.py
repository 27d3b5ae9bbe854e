"""The engine VASP: inputs, runs under custodian, restarts, outputs and causes of failures.

Works on folders; VASP itself is started by run.py alone.
"""
