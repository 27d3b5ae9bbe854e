"""Outcomes of the training materials and the table of those that converged."""

from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.table_digest import require_same_table
from rho2prop.materials.collection import collect_materials

with job(snakemake):
    require_same_table(*snakemake.params.table)
    collect_materials(
        snakemake.params.labels,
        snakemake.params.structures,
        snakemake.params.min_converged_fraction,
        list(snakemake.input.atoms) if snakemake.params.computed else None,
        snakemake.output.materials,
        snakemake.output.outcomes,
        snakemake.output.atoms,
    )
