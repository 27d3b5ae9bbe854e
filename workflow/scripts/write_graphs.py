"""Crystal graphs of the training materials."""

from tqdm import tqdm

from rho2prop.core.jobs.log import job
from rho2prop.crystals.structures import structure_from_density
from rho2prop.features.crystal_graphs import crystal_graph, write_graphs
from rho2prop.materials.collection import load, read_materials

with job(snakemake):
    ids = read_materials(snakemake.input.materials)["material_id"]
    graphs = {name: crystal_graph(structure_from_density(load(name))) for name in tqdm(ids, desc="graphs")}
    write_graphs(graphs, snakemake.output.graphs)
