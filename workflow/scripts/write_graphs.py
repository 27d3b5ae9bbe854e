"""Crystal graphs of the training materials of one chunk."""

from tqdm import tqdm

from rho2prop.core.jobs.log import job
from rho2prop.features.crystal_graphs import write_graphs
from rho2prop.features.description import described
from rho2prop.features.registry import BLOCKS, GRAPH
from rho2prop.materials.collection import converged

with job(snakemake):
    block = BLOCKS[GRAPH]
    paths = tqdm(converged(snakemake.input.dft), desc="graphs")
    write_graphs({name: block.maker()(described(path, [block])) for name, path in paths}, snakemake.output.graphs)
