"""The autoencoder of one scope; an interrupted training resumes from its last epoch."""

from pathlib import Path

import torch

from rho2prop.autoencoder.grid_store import GridStore
from rho2prop.autoencoder.launch import launcher, train_ranks
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.autoencoder.training import scope_split, train
from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.densities.field_names import field_of
from rho2prop.densities.grids import Grid

with job(snakemake, later=["grids"]):  # each grid is checked when it is read
    scope, params = snakemake.wildcards.scope, snakemake.params
    settings = read_section(TrainingSettings, params.autoencoder, "autoencoder")
    with GridStore(snakemake.input.grids) as store:
        names = store.material_ids
    request = TrainingRequest(
        grids=Path(snakemake.input.grids),
        split=scope_split(scope, names, snakemake.input.get("splits") or None, params.seed),
        settings=settings,
        grid=read_section(Grid, params.grid, "grid"),
        out_dir=Path(snakemake.output.folder),
        work_dir=Path(params.work),
        seed=params.seed,
        field=field_of(scope)[0],
        mem_mb=snakemake.resources.mem_mb,
    )
    command = launcher(settings, torch.cuda.device_count())
    if command is None:
        train(request)
    else:
        train_ranks(command, request)
