"""Records of results: what a job checks before it reads, what Snakemake's main process checks when it starts."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest
from standins.refusals import refused

from rho2prop.core.errors import InputError
from rho2prop.core.jobs.log import job
from rho2prop.core.jobs.provenance import (
    CheckedPaths,
    accept,
    check_input,
    check_inputs,
    digest,
    keep,
    read_record,
    record_path,
    seal,
)
from rho2prop.core.jobs.run_check import check_run

FOLDER, TABLE, WEIGHTS = "results/dft/m-1", "results/features/magpie.csv", "results/dft/m-1/density.npz"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two folders and a table made of them and of a structure; the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.cif").write_text("cell 1")
    os.utime("a.cif", (10**9, 10**9))
    for name, text in (("m-1", "density 1"), ("m-2", "density 2")):
        folder = tmp_path / "results/dft" / name
        folder.mkdir(parents=True)
        (folder / "density.npz").write_text(text)
        (folder / ".snakemake_timestamp").touch()
        seal([f"results/dft/{name}"], "run_dft", {"material": name}, *check_inputs(["a.cif"]))
    (tmp_path / "results/features").mkdir()
    (tmp_path / TABLE).write_text("material_id,x\nm-1,1\nm-2,2\n")
    seal([TABLE], "write_descriptors", {}, *check_inputs(["results/dft/m-1", "results/dft/m-2"]))
    return tmp_path


def rewrite(path, content: bytes, keep_time=False):
    before = os.stat(path)
    with open(path, "wb") as stream:
        stream.write(content)
    os.utime(path, ns=(before.st_mtime_ns,) * 2 if keep_time else (before.st_mtime_ns + 10**9,) * 2)


def test_a_record_names_rule_wildcards_inputs_and_digests(run):
    check_run()
    record = read_record(TABLE)
    assert record.rule == "write_descriptors"
    assert record.sha256 == digest(run / TABLE)
    assert record.inputs == {f"results/dft/m-{i}": read_record(f"results/dft/m-{i}").sha256 for i in (1, 2)}
    folder = read_record(FOLDER)
    assert folder.wildcards == {"material": "m-1"}
    assert set(folder.files) == {"density.npz"}  # without Snakemake's time stamp
    assert folder.outside["a.cif"][2] == digest(run / "a.cif")


@pytest.mark.parametrize("keep_time", [False, True])
@pytest.mark.parametrize("path", [TABLE, WEIGHTS])
def test_another_content_is_refused_by_the_job_that_reads_it(run, path, keep_time):
    content = (run / path).read_bytes()
    rewrite(path, bytes([content[0] ^ 1]) + content[1:], keep_time)
    unit = FOLDER if path == WEIGHTS else path
    for given in {unit, path, str(run / path)}:
        with refused("SHA-256", f"rm -r {unit}", source=unit, code="damaged"):
            check_inputs([given])
    if not keep_time:
        with refused(unit, f"rm -r {unit}", code="damaged") as refusal:
            check_run()
        assert refusal.value.source.split()[0] == "1"


def test_files_added_lost_or_replaced_by_a_folder_are_noticed(run):
    (run / FOLDER / "extra.csv").write_text("x")
    for look in (lambda: check_inputs([FOLDER]), check_run):
        with refused("extra.csv", code="damaged"):
            look()
    (run / FOLDER / "extra.csv").unlink()
    (run / WEIGHTS).unlink()
    for look in (lambda: check_inputs([FOLDER]), check_run):
        with refused("density.npz", code="damaged"):
            look()
    shutil.rmtree(run / FOLDER)
    check_run()  # what is not there is Snakemake's concern
    (run / FOLDER).write_text("density 1")
    for look in (lambda: check_inputs([FOLDER]), check_run):
        with refused(FOLDER, code="damaged"):
            look()


def test_results_that_changed_places_together_with_their_records_are_refused(run):
    for path in (run / FOLDER, record_path(run / FOLDER)):
        other = path.with_name(path.name.replace("m-1", "m-2"))
        path.rename(run / "aside")
        other.rename(path)
        (run / "aside").rename(other)
    for look in (lambda: check_inputs([FOLDER]), check_run):
        with refused(FOLDER, "results/dft/m-2", code="damaged"):
            look()


def test_a_result_without_a_record_is_refused_until_it_is_accepted(run):
    record_path(FOLDER).unlink()
    with refused(f"python -m rho2prop.core.jobs.provenance {FOLDER}", source=FOLDER, code="no_record"):
        check_inputs([FOLDER])
    accept([FOLDER])
    check_inputs([FOLDER])
    assert read_record(FOLDER).rule == "accepted"
    for other in ("a.cif", "results/dft/m-3"):
        with refused(source=other, code="not_a_result"):
            accept([other])


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: "", lambda text: text.replace("1", "2")])
def test_a_damaged_record_is_no_record(run, damage):
    path = record_path(TABLE)
    path.write_text(damage(path.read_text()))
    for look in (lambda: check_inputs([TABLE]), check_run):
        with refused(TABLE):
            look()


def test_what_was_made_of_an_input_that_is_another_one_now_is_refused(run):
    rewrite(WEIGHTS, b"density 3")
    seal([FOLDER], "run_dft")
    os.utime(run / FOLDER / ".snakemake_timestamp", (10**9, 10**9))
    for look in (lambda: check_inputs([TABLE]), check_run):
        with refused(TABLE, FOLDER, code="damaged"):
            look()
    os.utime(run / FOLDER / ".snakemake_timestamp")  # newer than the table: Snakemake makes the table anew
    check_run()


def test_a_result_whose_input_was_replaced_by_an_older_file_is_dated_back(run):
    os.utime("a.cif", (2 * 10**9, 2 * 10**9))
    assert check_run() == []  # touched only
    (run / "a.cif").write_text("cell 2")
    os.utime("a.cif", (10**8, 10**8))
    assert set(check_run()) == {"results/dft/m-1", "results/dft/m-2"}
    assert os.stat(run / FOLDER / ".snakemake_timestamp").st_mtime < 10**8
    os.utime("a.cif", (2 * 10**9, 2 * 10**9))
    assert check_run() == []  # Snakemake compares the times


def test_files_that_were_only_touched_are_read_once(run, monkeypatch):
    for path in (TABLE, WEIGHTS):
        os.utime(run / path, (10**9, 10**9))
    check_run()
    monkeypatch.setattr("rho2prop.core.jobs.run_check.digest", lambda path: pytest.fail(f"{path} is read again"))
    monkeypatch.setattr("rho2prop.core.jobs.provenance.digest", lambda path: pytest.fail(f"{path} is read again"))
    check_run()


def test_ten_damaged_results_are_named_and_the_others_counted(run):
    for i in range(3, 15):
        (run / f"results/m-{i}.csv").write_text("x")
        seal([f"results/m-{i}.csv"], "rule")
        (run / f"results/m-{i}.csv").write_text("")
    with refused(12, 2, code="damaged") as error:
        check_run()
    assert error.value.fix.count("results/m-") == 10


def test_paths_are_checked_when_they_are_looked_up(run):
    paths = CheckedPaths({"m-1": run / WEIGHTS, "m-2": run / "results/dft/m-2/density.npz"})
    rewrite(WEIGHTS, b"density 3")
    assert paths["m-2"].is_file()
    with refused(source=FOLDER, code="damaged"):
        paths["m-1"]


def test_a_file_that_is_brought_up_to_date_survives_a_killed_job_and_no_damage(run):
    keep(TABLE)  # and the job is killed here
    assert not record_path(TABLE).exists()
    keep(TABLE)
    assert (run / TABLE).is_file()
    rewrite(TABLE, b"half")
    keep(TABLE)
    assert not (run / TABLE).exists()


class Items(list):
    """What Snakemake hands to a script as inputs, outputs and wildcards."""

    def __init__(self, **named):
        super().__init__(named.values())
        self.named = named

    def get(self, name, default=None):
        return self.named.get(name, default)

    def items(self):
        return self.named.items()


def test_a_job_refuses_before_and_seals_after_and_leaves_no_record_when_it_fails(run):
    new = "results/new.csv"
    snakemake = SimpleNamespace(
        log=["rule.log"], input=Items(table=TABLE), output=Items(new=new), threads=1, rule="make",
        wildcards=Items(split="random"), resources={},
    )  # fmt: skip
    with job(snakemake):
        (run / new).write_text("1")
    record = read_record(new)
    assert (record.rule, record.wildcards, record.inputs) == (
        "make", {"split": "random"}, {TABLE: read_record(TABLE).sha256},
    )  # fmt: skip
    (run / new).write_text("2")
    with pytest.raises(SystemExit), job(snakemake):
        raise InputError("x", "y", "z")
    assert not record_path(new).exists()
    rewrite(TABLE, b"")
    with pytest.raises(SystemExit), job(snakemake):
        pytest.fail("the body ran on a damaged input")
    assert f"rho2prop: {TABLE}" in (run / "rule.log").read_text()


def test_inputs_of_one_job_give_the_same_digests_with_any_threads(run):
    names = ["results/dft/m-1", "results/dft/m-2", TABLE, "a.cif"]
    assert check_inputs(names, threads=1) == check_inputs(names, threads=4)
    assert check_input(WEIGHTS) == digest(run / WEIGHTS)
    assert json.loads(record_path(TABLE).read_text())["format"] == 1
