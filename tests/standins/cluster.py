"""A Slurm of this machine and runs of Snakemake on it, as the tests of this folder use them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "hpc"
MARK = "RHO2PROP_CLUSTER"  # in the environment of all that runs because of a cluster; the plugin strips SLURM_*
PATIENCE_S = 300  # bound of every wait; only a fault reaches it


def wait_for(what: str, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> object:
    """Ask ``condition`` until it holds and give its value; fail, naming ``what``, when it never does."""
    end = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience_s} s")
        time.sleep(0.2)
    return value


def free_ports(count: int) -> int:
    """First of ``count`` consecutive ports that nobody uses now."""

    def is_free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    return next(port for port in range(16817, 32768, count) if all(is_free(port + i) for i in range(count)))


@dataclass(frozen=True)
class Cluster:
    """A Slurm that ``slurm-up.sh`` starts, with all its files in one folder.

    Parameters
    ----------
    folder
        Keys, sockets, configuration, logs, process ids; short, since sockets live in it.
    nodes
        Number of nodes, all of them this machine.
    port
        First of the ports that it listens on.
    """

    folder: Path
    nodes: int = 2
    port: int = field(default_factory=lambda: free_ports(8))

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which Slurm's commands talk to this cluster."""
        settings = {
            "SLURM_SANDBOX": self.folder,
            "SLURM_CONF": self.folder / "etc" / "slurm.conf",
            "SLURM_PORT": self.port,
            "SLURM_NODES": self.nodes,
            "SLURM_CPUS": 16,  # more than there are: jobs of the profile fit, and wait for each other's CPU time
            "SLURM_MEM_MB": 64000,
            "MASTER_ADDR": "127.0.0.1",  # both nodes are this machine, and their names resolve nowhere
            "OMP_NUM_THREADS": 1,
            MARK: self.folder,
        }
        return os.environ | {name: str(value) for name, value in settings.items()}

    def start(self) -> None:
        """Start it, or what is missing of it."""
        self.run("bash", str(HERE / "slurm-up.sh"))

    def stop(self) -> None:
        """Cancel its jobs, stop its daemons, delete its folder.

        Without cgroups Slurm loses sight of a job's process whose parent has ended; such are ended here.
        """
        self.run("bash", str(HERE / "slurm-down.sh"), "--purge")
        lost = [process for process in self.processes() if "SLURM_JOB_ID" in (process.info["environ"] or {})]
        for process in lost:
            process.kill()
        psutil.wait_procs(lost, timeout=PATIENCE_S)

    def stop_controller(self) -> None:
        """Stop slurmctld as its administrator would: jobs go on, nobody answers."""
        controller = psutil.Process(int((self.folder / "pid" / "slurmctld").read_text()))
        controller.terminate()
        controller.wait(PATIENCE_S)

    def run(self, *command: str) -> str:
        """Output of a command that must succeed."""
        result = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def job(self, job_id: str) -> dict[str, str]:
        """What the controller knows about a job."""
        words = self.run("scontrol", "show", "job", "--oneliner", job_id).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def jobs(self, folder: Path, states: str = "all") -> list[dict[str, str]]:
        """Jobs of the run in ``folder``, oldest first."""
        lines = self.run("squeue", "--noheader", f"--states={states}", "--Format=JobID:32,STDOUT:4096").splitlines()
        found = sorted(int(line.split()[0]) for line in lines if f"{folder.resolve()}/" in line)
        return [self.job(str(job_id)) for job_id in found]

    def active(self, folder: Path) -> list[str]:
        """Ids of the jobs of the run in ``folder`` that have not ended."""
        states = "PENDING,RUNNING,SUSPENDED,CONFIGURING,COMPLETING,REQUEUED"
        return [job["JobId"] for job in self.jobs(folder, states)]

    def processes(self) -> list[psutil.Process]:
        """Everything that runs because of this cluster: daemons, job steps and what they started."""
        found = []
        for process in psutil.process_iter(["name", "environ"]):
            try:
                if process.info["name"] == "slurmstepd":  # overwrites its environment, but keeps the daemon's log open
                    mine = any(file.path.startswith(f"{self.folder}/") for file in process.open_files())
                else:
                    mine = (process.info["environ"] or {}).get(MARK) == str(self.folder)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:  # it has just ended
                continue
        return found

    def cut_power(self, job_id: str) -> None:
        """End all processes of a job at once, as a power cut would; scancel lets Snakemake tidy up."""
        found = [process for process in self.processes() if process.info["name"] != "slurmstepd"]
        programs = [process for process in found if process.info["environ"].get("SLURM_JOB_ID") == job_id]
        for process in programs:
            process.suspend()
        for process in programs:
            process.kill()


@dataclass
class Submission:
    """One Snakemake that submits to the cluster, in the background."""

    process: subprocess.Popen
    output: Path

    def wait(self) -> str:
        """Its output once it has ended well."""
        code = self.process.wait(3 * PATIENCE_S)
        assert code == 0, self.text()
        return self.text()

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    def kill(self) -> None:
        """End it as a crash of the login node would: at once, without a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Run:
    """A run of Snakemake through ``profiles/slurm`` in its own folder."""

    def __init__(self, cluster: Cluster, folder: Path, *options: str):
        self.cluster, self.folder, self.options = cluster, folder, options
        self.submissions: list[Submission] = []
        folder.mkdir(parents=True, exist_ok=True)

    def submit(self, *arguments: str) -> Submission:
        """Start Snakemake; its output is kept."""
        output = self.folder / f"snakemake-{len(self.submissions)}.out"
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--nocolor"]
        command += ["--directory", str(self.folder), *self.options, *arguments]
        with output.open("w") as stream:
            environment = self.cluster.environment
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        self.submissions.append(Submission(process, output))
        return self.submissions[-1]

    def close(self) -> None:
        """End what a failed test left: submitting processes and their jobs."""
        for submission in self.submissions:
            if submission.process.poll() is None:
                submission.kill()
        if left := self.cluster.active(self.folder):
            self.cluster.run("scancel", *left)


class Faults(Run):
    """A run of ``faults.smk``."""

    def __init__(self, cluster: Cluster, folder: Path, *names: str):
        super().__init__(
            cluster, folder, "--snakefile", str(HERE / "faults.smk"), "--config", f"names={','.join(names)}"
        )
        self.names = names
        for name in ("held", "starts"):
            (folder / name).mkdir()

    def hold(self, name: str) -> None:
        """Let the job ``name`` wait in its middle."""
        (self.folder / "held" / name).touch()

    def release(self, name: str) -> None:
        """Let it go on."""
        (self.folder / "held" / name).unlink()

    def starts(self, name: str) -> list[list[str]]:
        """Attempt and node of each start of the job ``name``."""
        path = self.folder / "starts" / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def job_of(self, name: str) -> dict[str, str]:
        """The last job of ``name``."""
        return [job for job in self.cluster.jobs(self.folder) if f"/rule_work/{name}/" in job["StdOut"]][-1]

    def wait_for_start(self, name: str, count: int = 1) -> dict[str, str]:
        """The job ``name`` once it has started ``count`` times and its half-written result is there."""
        result = self.folder / "results" / f"{name}.txt"

        def started() -> bool:
            submission = self.submissions[-1]
            assert submission.process.poll() is None, submission.text()
            return len(self.starts(name)) >= count and result.exists()

        wait_for(f"start {count} of {name}", started)
        return self.job_of(name)

    def finished(self) -> bool:
        """Whether the last rule saw whole results only, each once."""
        joined = self.folder / "results" / "joined.txt"
        return joined.read_text() == "".join(f"{name} whole\n" for name in self.names)
