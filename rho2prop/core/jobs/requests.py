"""Memory and time that the jobs of a rule request, from the size of their work.

The Snakefile imports this module: nothing heavy at the top.
"""

import math
from dataclasses import dataclass

MEMORY_MARGIN, TIME_MARGIN = 1.4, 3.0  # requested over measured; of time for slow and shared cores
LEAST_MB, LEAST_MINUTES = 1000, 30
STEP_MB, STEP_MINUTES = 100, 10  # requests are multiples of these
ALL, LABELLED, CHUNK, BATCH, ONE = "all", "labelled", "chunk", "batch", "one"


@dataclass(frozen=True)
class Work:
    """Size of the work of one job.

    Parameters
    ----------
    materials
        Number of materials that it reads.
    voxels
        Points of the cube that the autoencoder reads; with the network ``fast`` a share of them.
    orientations
        In which a cube is encoded for a latent.
    latent_values
        Values of the latent of a material.
    threads
        Threads or processes that the job has.
    """

    materials: int = 1
    voxels: float = 0.0
    orientations: int = 1
    latent_values: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Request:
    """Need of the jobs of a rule, as measured.

    Parameters
    ----------
    materials
        Which materials count: all of the run, those with labels, of a chunk, of a batch, or one.
    fixed_mb, fixed_s
        Memory and time without any material: libraries, models, a large cell.
    material_mb, material_s
        For each material; the time of a mean cell of the paper.
    voxel_bytes, voxel_s
        For each point of the cube; the time for each material too.
    is_encoding
        Whether each material is encoded, in all orientations.
    latent_bytes
        For each value of the latents of all its materials.
    thread_mb
        For each process beside the first, if processes share the work.
    """

    materials: str
    fixed_mb: float
    fixed_s: float = 20.0
    material_mb: float = 0.0
    material_s: float = 0.0
    voxel_bytes: float = 0.0
    voxel_s: float = 0.0
    is_encoding: bool = False
    latent_bytes: float = 0.0
    thread_mb: float = 0.0

    def mem_mb(self, work: Work) -> int:
        """Memory to request in MB."""
        of_each = self.material_mb + work.latent_values * self.latent_bytes / 1e6
        of_job = self.fixed_mb + (work.threads - 1) * self.thread_mb + work.voxels * self.voxel_bytes / 1e6
        return rounded_up(max(LEAST_MB, MEMORY_MARGIN * (of_job + work.materials * of_each)), STEP_MB)

    def minutes(self, work: Work) -> int:
        """Time to request in minutes."""
        of_each = self.material_s + work.voxels * self.voxel_s * (work.orientations if self.is_encoding else 1)
        seconds = self.fixed_s + work.materials * of_each / (work.threads if self.thread_mb else 1)
        return rounded_up(max(LEAST_MINUTES, TIME_MARGIN * seconds / 60), STEP_MINUTES)


# Measured: benchmarks/requests.csv, which a test compares with these. Not measured with many materials: material_mb of
# the last five rows.
REQUESTS = {
    "write_materials_project": Request(ALL, fixed_mb=700, material_mb=0.02, material_s=0.02),
    "write_vasp_inputs": Request(ALL, fixed_mb=200, material_s=0.1, thread_mb=150),
    "collect_materials": Request(LABELLED, fixed_mb=160, material_mb=0.01, material_s=0.04),
    "write_descriptors": Request(CHUNK, fixed_mb=250, material_s=0.6),
    "write_graphs": Request(CHUNK, fixed_mb=250, material_s=0.2),
    "write_fingerprints": Request(CHUNK, fixed_mb=330, material_s=0.4, thread_mb=200),
    "write_grids": Request(LABELLED, fixed_mb=350, material_s=0.2, voxel_bytes=50, voxel_s=2e-7),
    "encode_latents": Request(
        CHUNK, fixed_mb=1100, material_s=0.3, voxel_bytes=100, voxel_s=1.2e-6, is_encoding=True, latent_bytes=8
    ),
    "encode_material": Request(ONE, fixed_mb=1100, voxel_bytes=100, voxel_s=1.2e-6, is_encoding=True),
    "evaluate_reconstruction": Request(LABELLED, fixed_mb=440, material_s=0.4, voxel_bytes=400, voxel_s=1.5e-6),
    "write_slices": Request(ONE, fixed_mb=440, voxel_bytes=400),
    "evaluate_invariance": Request(  # of a few materials in 31 descriptions each
        ONE, fixed_mb=1300, fixed_s=300, voxel_bytes=100, voxel_s=1.2e-4, is_encoding=True
    ),
    "write_latent_database": Request(ALL, fixed_mb=450, material_mb=0.01, material_s=0.2, voxel_bytes=400),
    "predict_properties": Request(ALL, fixed_mb=550, material_mb=0.05, material_s=0.05),
    "write_bundle": Request(LABELLED, fixed_mb=400, material_mb=0.05, material_s=0.01),
    "plot_figures": Request(LABELLED, fixed_mb=300, material_mb=0.03, material_s=0.01),
    "render_report": Request(LABELLED, fixed_mb=300, material_mb=0.03, material_s=0.01),
}
REGRESSIONS = ("fit_regression", "fit_network", "learn_from_fewer", "learn_network", "explain_regression")
MEASURED_ENGINES = {  # of run_dft; the need of others depends on the material: dft.machine
    "atoms": Request(BATCH, fixed_mb=2200, material_s=1.0),  # half of 32 batches below 700 MB, three 2.1 to 2.9 GB
    "files": Request(BATCH, fixed_mb=500, material_s=0.5),
}


def rounded_up(amount: float, step: int) -> int:
    """The least multiple of ``step`` that is not below ``amount``."""
    return step * math.ceil(amount / step)
