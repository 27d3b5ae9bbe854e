"""The autoencoder of one scope; an interrupted training resumes from its last epoch."""

from pathlib import Path

import torch

from rho2prop.autoencoder.launch import launcher, train_ranks
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.autoencoder.training import scope_split, train
from rho2prop.core.jobs.log import job
from rho2prop.core.settings import read_section
from rho2prop.densities.field_names import field_of
from rho2prop.densities.grids import Grid
from rho2prop.materials.collection import density_paths, read_materials

with job(snakemake):
    scope, params = snakemake.wildcards.scope, snakemake.params
    settings = read_section(TrainingSettings, params.autoencoder, "autoencoder")
    paths = density_paths(read_materials(snakemake.input.materials))
    request = TrainingRequest(
        paths=paths,
        split=scope_split(scope, [name for name, _ in paths], snakemake.input.get("splits") or None, params.seed),
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
