"""Crystal graphs of the training materials."""

from tqdm import tqdm

from rho2prop.collection import load, read_materials
from rho2prop.graphs import crystal_graph, write_graphs
from rho2prop.script_log import job
from rho2prop.structures import structure_from_density

with job(snakemake):
    ids = read_materials(snakemake.input.materials)["material_id"]
    graphs = {name: crystal_graph(structure_from_density(load(name))) for name in tqdm(ids, desc="graphs")}
    write_graphs(graphs, snakemake.output.graphs)
