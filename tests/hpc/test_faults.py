"""What goes wrong on a cluster, done to a real Slurm: nothing is lost or doubled, the chain finishes."""

import pytest
from standins.cluster import wait_for
from standins.refusals import lacking


@pytest.fixture(scope="module")
def hurt(cluster, faults):
    """A finished run in which one job ran over its time, one over its memory and one was cancelled."""
    run = faults("slow", "big", "stopped")
    run.hold("stopped")
    submission = run.submit()
    job = run.wait_for_start("stopped")
    cluster.run("scancel", job["JobId"])
    run.release("stopped")
    submission.wait()
    return run


def ends(run, name):
    """State, memory in MB and time limit of each job of ``name``."""
    jobs = [job for job in run.cluster.jobs(run.folder) if f"/rule_work/{name}/" in job["StdOut"]]
    return [(job["JobState"], job["MinMemoryNode"], job["TimeLimit"]) for job in jobs]


def test_a_job_over_its_time_limit_runs_again_with_more_time(hurt):
    assert ends(hurt, "slow") == [("TIMEOUT", "700M", "00:01:00"), ("COMPLETED", "1400M", "00:02:00")]
    assert [attempt for attempt, _ in hurt.starts("slow")] == ["1", "2"]
    assert hurt.finished()


def test_a_job_over_its_memory_runs_again_with_more_memory(hurt):
    (state, memory, _), second = ends(hurt, "big")
    assert state in ("OUT_OF_MEMORY", "FAILED")  # without cgroups Slurm ends the job and calls it failed
    assert (memory, second) == ("700M", ("COMPLETED", "1400M", "00:02:00"))
    assert [attempt for attempt, _ in hurt.starts("big")] == ["1", "2"]
    assert hurt.finished()


def test_a_cancelled_job_runs_again(hurt):
    assert [state for state, _, _ in ends(hurt, "stopped")] == ["CANCELLED", "COMPLETED"]
    assert [attempt for attempt, _ in hurt.starts("stopped")] == ["1", "2"]
    assert hurt.finished()


def test_a_job_whose_node_goes_down_starts_again_elsewhere(cluster, faults):
    run = faults("moved")
    run.hold("moved")
    submission = run.submit()
    job = run.wait_for_start("moved")
    node = job["NodeList"]
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    wait_for("requeued job", lambda: cluster.job(job["JobId"])["JobState"] == "PENDING")
    cluster.run("scontrol", "update", f"JobId={job['JobId']}", "StartTime=now")  # Slurm would let it wait two minutes
    run.wait_for_start("moved", count=2)
    cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    run.release("moved")
    submission.wait()
    first, second = run.starts("moved")
    assert first == ["1", node]
    assert second[1] != node
    assert run.finished()
    back = lambda: cluster.run("sinfo", "--noheader", "-n", node, "--Format=StateCompact").split()[0]  # noqa: E731
    wait_for(f"{node} back", lambda: back() in ("idle", "mix", "alloc"))


def test_jobs_survive_an_outage_of_the_controller(cluster, faults):
    run = faults("during", "after")
    run.hold("during")
    run.hold("after")
    submission = run.submit()
    jobs = {name: run.wait_for_start(name)["JobId"] for name in run.names}
    cluster.stop_controller()
    result = run.folder / "results" / "during.txt"
    run.release("during")  # ends while nobody can be told
    wait_for("end of a job during the outage", lambda: result.read_text() == "during whole\n")
    cluster.start()
    run.release("after")
    submission.wait()
    assert {name: len(run.starts(name)) for name in run.names} == {"during": 1, "after": 1}
    assert {name: run.job_of(name)["JobId"] for name in run.names} == jobs
    assert run.finished()


def test_a_killed_submitter_loses_and_doubles_nothing(cluster, faults):
    run = faults("running", "ended", "broken")
    run.hold("running")
    run.hold("broken")
    first = run.submit()
    jobs = {name: run.wait_for_start(name)["JobId"] for name in run.names}
    first.kill()
    cluster.cut_power(jobs["broken"])  # leaves half a result that nobody removes
    run.release("broken")
    wait_for("end of two jobs", lambda: cluster.active(run.folder) == [jobs["running"]])
    assert (run.folder / "results" / "broken.txt").read_text() == "half"

    assert run.submit().process.wait() != 0  # the lock of the killed run
    assert "--unlock" in run.submissions[-1].text()
    run.submit("--unlock").wait()
    refused = run.submit()
    assert refused.process.wait() != 0
    assert not lacking(refused.text(), 1, jobs["running"])
    assert "Traceback" not in refused.text()

    run.release("running")
    wait_for("end of the last job", lambda: not cluster.active(run.folder))
    run.submit().wait()
    assert {name: len(run.starts(name)) for name in run.names} == {"running": 1, "ended": 1, "broken": 2}
    assert run.finished()
