"""Jobs of the workflow: logs, records of results, locks, requests to Slurm.

Imports core only.
"""
