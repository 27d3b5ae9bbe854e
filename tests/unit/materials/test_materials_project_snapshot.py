"""Snapshots of the Materials Project: complete, dated, resumed, readable without network and key."""

import gzip
import json
from dataclasses import replace

import pytest
from emmet.core.mpid import AlphaID
from standins.mp_materials import CRYSTALS
from standins.mp_server import KEY, Fault
from standins.refusals import refused

from rho2prop.dft.materials_project.client import ServiceError
from rho2prop.materials.materials_project.snapshot import (
    FORMAT,
    Download,
    fetch_snapshot,
    read_header,
    read_records,
    require_all_materials,
)

pytestmark = pytest.mark.slow  # a server answers

SETTINGS = Download(page_size=3, pause_s=0, timeout_s=20, retries=0, backoff_s=0)
PAGES = [1, 2, 3, 4]  # ten materials by three


@pytest.fixture
def path(tmp_path):
    return tmp_path / "resources" / "snapshot.jsonl.gz"


def files_below(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def test_snapshot_holds_both_documents_of_each_material(server, path):
    fetch_snapshot(path, SETTINGS)
    records = {record["material_id"]: record for record in read_records(path)}
    assert set(records) == set(CRYSTALS)
    for name, (_, _, _, k_gpa, g_gpa, energy_ev, _) in CRYSTALS.items():
        assert records[name]["elasticity"]["bulk_modulus"]["vrh"] == k_gpa
        assert records[name]["elasticity"]["shear_modulus"]["vrh"] == g_gpa
        assert records[name]["elasticity"]["warnings"] == []
        assert records[name]["summary"]["formation_energy_per_atom"] == energy_ev
        assert len(records[name]["summary"]["structure"]["sites"]) == records[name]["summary"]["nsites"]
    assert files_below(path.parent) == [path]


def test_all_materials_are_fetched_where_the_others_are_to_be_predicted(server, path):
    without = "mp-149"
    server.elasticity = [document for document in server.elasticity if document["material_id"] != without]
    for document in server.summary:
        document["has_props"] = {"elasticity": document["material_id"] != without}
    fetch_snapshot(path, SETTINGS, all_materials=True)
    records = {record["material_id"]: record for record in read_records(path)}
    assert set(records) == set(CRYSTALS)
    assert [name for name, record in records.items() if record["elasticity"] is None] == [without]
    assert all("has_props" not in query for _, query in server.requests)
    require_all_materials(read_header(path), path)
    only_tensors = path.with_name("tensors.jsonl.gz")
    fetch_snapshot(only_tensors, SETTINGS)
    assert {record["material_id"] for record in read_records(only_tensors)} == set(CRYSTALS) - {without}
    with refused(code="only_tensors"):
        require_all_materials(read_header(only_tensors), only_tensors)


def test_first_line_says_what_when_and_how(server, path):
    fetch_snapshot(path, SETTINGS)
    header = read_header(path)
    assert (header["format"], header["schema"]) == (FORMAT, 1)
    assert header["database_version"] == server.database_version
    assert header["fetched_utc"][:2] == "20"
    assert header["fetched_utc"].endswith("+00:00")
    assert header["client"] == "mp-api 0.46.5"
    assert header["n_materials"] == len(CRYSTALS)
    assert {query["route"]: query["documents"] for query in header["queries"]} == {"elasticity": 10, "summary": 10}
    # what was written is what was sent
    sent = dict(server.requests)
    for query in header["queries"]:
        for name, value in query["filters"].items():
            assert sent[f"materials/{query['route']}"][name] == str(value)


def test_each_request_has_a_filter_and_pages_are_small(server, path):
    fetch_snapshot(path, SETTINGS)
    searches = [(route, query) for route, query in server.requests if route != "heartbeat"]
    assert [route for route, _ in searches] == ["materials/elasticity"] * 4 + ["materials/summary"] * 4
    for route, query in searches:
        assert any(not name.startswith("_") for name in query), route
        assert int(query["_limit"]) == SETTINGS.page_size
    assert server.pages("materials/elasticity") == server.pages("materials/summary") == PAGES


def test_requests_are_paused(server, path, monkeypatch):
    pauses = []
    monkeypatch.setattr("rho2prop.materials.materials_project.snapshot.time.sleep", pauses.append)
    fetch_snapshot(path, replace(SETTINGS, pause_s=0.25))
    assert pauses.count(0.25) == 2 * len(PAGES)


@pytest.mark.parametrize("kind", [429, 504, "cut"])
def test_an_interrupted_download_goes_on_where_it_stopped(server, path, tmp_path, kind):
    fetch_snapshot(tmp_path / "straight.jsonl.gz", SETTINGS)
    server.requests.clear()
    server.faults["materials/summary"] = Fault(kind, times=None, after=2)
    with refused(by=ServiceError):
        fetch_snapshot(path, SETTINGS)
    assert not path.exists()
    server.faults.clear()
    server.requests.clear()
    fetch_snapshot(path, SETTINGS)
    assert server.pages("materials/elasticity") == []
    assert server.pages("materials/summary") == [3, 4]
    assert list(read_records(path)) == list(read_records(tmp_path / "straight.jsonl.gz"))
    assert not (path.parent / f"{path.name}.parts").exists()


@pytest.mark.parametrize("change", ["database", "page_size"])
def test_pages_of_another_database_or_request_are_not_mixed_in(server, path, change):
    server.faults["materials/summary"] = Fault(504, times=None, after=2)
    with pytest.raises(ServiceError):
        fetch_snapshot(path, SETTINGS)
    server.faults.clear()
    server.requests.clear()
    settings = SETTINGS
    if change == "database":
        server.database_version = "2026.12.1"
        server.elasticity[0]["bulk_modulus"]["vrh"] = 25.5
    else:
        settings = replace(SETTINGS, page_size=5)
    fetch_snapshot(path, settings)
    assert server.pages("materials/elasticity")[0] == 1
    assert read_header(path)["database_version"] == server.database_version
    first = next(r for r in read_records(path) if r["material_id"] == server.elasticity[0]["material_id"])
    assert first["elasticity"]["bulk_modulus"] == server.elasticity[0]["bulk_modulus"]
    assert len(list(read_records(path))) == len(CRYSTALS)


@pytest.mark.parametrize("change", ["version", "fewer", "shifted"])
def test_a_database_that_changes_meanwhile_is_noticed(server, path, monkeypatch, change):
    answer = server.answer

    def changing(route, query):
        status, content = answer(route, query)
        if route == "materials/summary" and query["_page"] == "2":
            if change == "version":
                server.database_version = "2026.12.1"
            elif change == "fewer":
                server.summary.pop()
            else:  # the second page begins with the last of the first
                content["data"] = answer(route, query | {"_page": "1"})[1]["data"][-1:] + content["data"][:-1]
        return status, content

    monkeypatch.setattr(server, "answer", changing)
    with refused(code="changed", by=ServiceError):
        fetch_snapshot(path, SETTINGS)
    assert files_below(path.parent) == []


def test_documents_are_joined_across_old_and_new_ids_and_none_is_lost(server, path):
    assert server.summary[0]["material_id"] == "mp-22862"
    server.elasticity[0]["material_id"] = str(AlphaID(22862, padlen=8, prefix="mp"))  # the new style
    assert server.elasticity[0]["material_id"].startswith("mp-aaaa")
    del server.summary[1], server.elasticity[2]
    fetch_snapshot(path, SETTINGS)
    records = {record["material_id"]: record for record in read_records(path)}
    assert set(records) == set(CRYSTALS)
    assert records["mp-22862"]["elasticity"]["formula_pretty"] == "NaCl"
    assert records["mp-22862"]["summary"]["formula_pretty"] == "NaCl"
    assert records["mp-1265"]["summary"] is None
    assert records["mp-149"]["elasticity"] is None


def test_an_id_that_the_unsorted_answer_gives_twice_counts_once(server, path):
    server.elasticity.append(server.elasticity[0] | {"debye_temperature": 1.0})
    fetch_snapshot(path, SETTINGS)
    records = {record["material_id"]: record for record in read_records(path)}
    assert len(list(read_records(path))) == len(records) == len(CRYSTALS)
    first = server.elasticity[0]
    assert records[first["material_id"]]["elasticity"]["debye_temperature"] == first["debye_temperature"]
    assert [query["repeated_ids"] for query in read_header(path)["queries"]] == [1, 0]


def test_with_a_snapshot_neither_key_nor_network_is_used(server, path, monkeypatch):
    fetch_snapshot(path, SETTINGS)
    before = path.read_bytes()
    server.requests.clear()
    monkeypatch.delenv("MP_API_KEY")
    fetch_snapshot(path, SETTINGS)
    assert server.requests == []
    assert path.read_bytes() == before


def test_the_key_is_written_nowhere(server, path, capsys, caplog):
    caplog.set_level("DEBUG")
    server.faults["materials/summary"] = Fault(504, times=4, after=1)  # all attempts of the client's own
    with pytest.raises(ServiceError) as error:
        fetch_snapshot(path, SETTINGS)
    server.key = "another" + KEY[7:]
    with refused(code="key", by=ServiceError) as refusal:
        fetch_snapshot(path, SETTINGS)
    server.key = KEY
    while_parts = [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in parts(path)]
    assert len(while_parts) == 6  # plan, four pages of elasticity, one of summary
    fetch_snapshot(path, SETTINGS)
    seen = capsys.readouterr()
    texts = [str(error.value), str(refusal.value), repr(error.value), seen.out, seen.err, caplog.text]
    texts += [text.decode() for text in [*while_parts, gzip.decompress(path.read_bytes())]]
    assert all(KEY not in text for text in texts)
    assert any("api.materialsproject" in text or server.url in text for text in texts)


def parts(path):
    return files_below(path.with_name(f"{path.name}.parts"))


def written(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


def test_a_snapshot_of_an_older_schema_is_refused(path):
    written(path, [{"format": FORMAT, "schema": 0, "n_materials": 0}])
    with refused(0, 1, source="snapshot.jsonl.gz", code="version"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"no gzip at all", gzip.compress(b""), gzip.compress(b"[1]\n")])
def test_what_is_no_snapshot_is_refused(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with refused(source="snapshot.jsonl.gz"):
        list(read_records(path))


def test_a_missing_snapshot_is_named(path):
    with refused(code="missing"):
        read_header(path)


def test_a_cut_snapshot_is_noticed(server, path):
    fetch_snapshot(path, SETTINGS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refused(code="truncated"):
        list(read_records(path))
    lines = gzip.decompress(whole).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with refused(9, 10):
        list(read_records(path))


def test_a_document_without_a_readable_id_costs_nothing_else(server, path):
    for name in (None, "no id"):
        server.elasticity.insert(3, server.elasticity[0] | {"material_id": name})
    fetch_snapshot(path, SETTINGS)
    assert {record["material_id"] for record in read_records(path)} == set(CRYSTALS)
    assert [query["documents"] for query in read_header(path)["queries"]] == [12, 10]
    assert [query["repeated_ids"] for query in read_header(path)["queries"]] == [0, 0]


def test_a_damaged_page_of_an_earlier_attempt_is_fetched_again(server, path, tmp_path):
    fetch_snapshot(tmp_path / "straight.jsonl.gz", SETTINGS)
    server.faults["materials/summary"] = Fault(504, times=None, after=2)
    with pytest.raises(ServiceError):
        fetch_snapshot(path, SETTINGS)
    page = path.parent / f"{path.name}.parts" / "elasticity-00002.json.gz"
    page.write_bytes(page.read_bytes()[:-20])
    server.faults.clear()
    server.requests.clear()
    fetch_snapshot(path, SETTINGS)
    assert server.pages("materials/elasticity") == [2]
    assert list(read_records(path)) == list(read_records(tmp_path / "straight.jsonl.gz"))
