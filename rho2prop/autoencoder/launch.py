"""Start training on several GPUs or nodes: one process per GPU, by srun or, on one machine, by torchrun.

``python -m rho2prop.autoencoder.launch request.json`` is one of these processes; Lightning Fabric finds its place
among them in the environment.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import rho2prop
from rho2prop.autoencoder.request import TrainingRequest, TrainingSettings
from rho2prop.autoencoder.training import train
from rho2prop.core.atomic_files import atomic
from rho2prop.core.errors import InputError
from rho2prop.core.jobs.running_jobs import running_job


def launcher(settings: TrainingSettings, n_gpus: int) -> list[str] | None:
    """Command that starts ``devices`` ranks on each of ``nodes`` nodes, or None where one process trains.

    Parameters
    ----------
    settings
        Their ``devices``, ``nodes`` and ``threads`` count.
    n_gpus
        GPUs that this process sees; on a CPU outside Slurm one process trains.
    """
    devices, nodes = settings.devices, settings.nodes
    if devices * nodes == 1:
        return None
    if "SLURM_JOB_ID" in os.environ:
        counts = [f"--nodes={nodes}", f"--ntasks={devices * nodes}", f"--ntasks-per-node={devices}"]
        return ["srun", *counts, f"--cpus-per-task={settings.threads}", "--kill-on-bad-exit=1", sys.executable]
    if n_gpus == 0:
        return None
    if nodes > 1:
        raise InputError(
            "autoencoder.nodes", f"{nodes} nodes, but this is not a Slurm job", "Use profiles/slurm, or nodes: 1"
        )
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]


def train_ranks(command: list[str], request: TrainingRequest) -> None:
    """Run ``train(request)`` in every rank that ``command`` starts.

    The ranks' messages go to ``sys.stderr``, which may be a log without a file descriptor.

    Raises
    ------
    InputError
        A rank failed.
    """
    path = request.work_dir / "request.json"
    with atomic(path) as temporary:
        temporary.write_text(request.to_json(), encoding="utf-8")
    home = Path(rho2prop.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])}
    command = [*command, "-m", "rho2prop.autoencoder.launch", str(path)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as ranks:
        while ranks.stdout is not None and (text := ranks.stdout.read(4096)):
            sys.stderr.write(text.decode("utf-8", errors="replace"))
    if ranks.returncode == 0:
        path.unlink()
        with contextlib.suppress(OSError):  # not empty
            path.parent.rmdir()
    else:
        fix = "See the messages above in this log; the next attempt resumes from the last epoch"
        raise InputError(
            "train_autoencoder", f"a rank of {' '.join(command[:6])} ended with code {ranks.returncode}", fix
        )


def main() -> None:
    """One rank."""
    request = TrainingRequest.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        with running_job(f"a rank of the training in {request.work_dir}"):  # it may outlive the job that started it
            train(request)
    except InputError as error:
        sys.exit(f"rho2prop: {error}")


if __name__ == "__main__":
    main()
