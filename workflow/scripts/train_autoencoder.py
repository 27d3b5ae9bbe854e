"""The autoencoder of one scope; an interrupted training goes on from its last epoch."""

import torch

from rho2prop.autoencoder.launch import launcher, train_ranks
from rho2prop.autoencoder.training import scope_split, train
from rho2prop.core.jobs.log import job
from rho2prop.densities.field_names import field_of
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    settings, threads = snakemake.params.autoencoder, snakemake.params.threads
    paths = density_paths(read_materials(snakemake.input.materials))
    request = {
        "paths": [(name, str(path)) for name, path in paths],
        "field": field_of(snakemake.wildcards.scope)[0],
        "split": scope_split(
            snakemake.wildcards.scope,
            [name for name, _ in paths],
            snakemake.input.get("splits") or None,
            snakemake.params.seed,
        ),
        "settings": settings,
        "grid": snakemake.params.grid,
        "out_dir": snakemake.output.folder,
        "work_dir": snakemake.params.work,
        "seed": snakemake.params.seed,
        "threads": threads,
        "mem_mb": snakemake.resources.mem_mb,
    }
    command = launcher(settings["devices"], settings["nodes"], threads, torch.cuda.device_count())
    if command is None:
        train(**request)
    else:
        train_ranks(command, request, snakemake.params.work)
