"""Crystal graphs of the training materials."""

from tqdm import tqdm

from rho2prop.core.jobs.log import job
from rho2prop.densities.crystal_description import CrystalDescription
from rho2prop.features.crystal_graphs import write_graphs
from rho2prop.features.registry import BLOCKS, GRAPH
from rho2prop.materials.collection import load, read_materials

with job(snakemake):
    ids, graph = read_materials(snakemake.input.materials)["material_id"], BLOCKS[GRAPH].maker()
    graphs = {name: graph(CrystalDescription(load(name), name)) for name in tqdm(ids, desc="graphs")}
    write_graphs(graphs, snakemake.output.graphs)
