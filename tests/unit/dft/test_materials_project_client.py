"""The real mp-api client against a local server: what a user is told, and what is tried again."""

import socket

import pytest
from standins.mp_server import KEY, Fault
from standins.refusals import refused

from rho2prop.dft.materials_project import client
from rho2prop.dft.materials_project.client import Patience, ServiceError, connect, material_id, with_retries

pytestmark = pytest.mark.slow  # a server answers

AT_ONCE = Patience(timeout_s=20, retries=1, backoff_s=0)


def ask(patience=AT_ONCE):
    """A search through the client's public interface, as any user of it would make."""
    client, _ = connect(patience)
    return with_retries(
        lambda: client.materials.elasticity.search(g_vrh=(0, 1000), fields=["material_id"]), patience, "elasticity"
    )


def test_the_real_client_gets_all_documents(server):
    assert {document["material_id"] for document in ask()} == {d["material_id"] for d in server.elasticity}
    client, version = connect(AT_ONCE)
    assert version == "2026.11.1"
    assert client.db_version == version


def test_a_new_database_version_is_seen_in_the_same_process(server):
    assert connect(AT_ONCE)[1] == "2026.11.1"
    server.database_version = "2026.12.1"
    client, version = connect(AT_ONCE)
    assert (version, client.db_version) == ("2026.12.1", "2026.12.1")


@pytest.mark.parametrize("key", [None, "", "0" * 31, KEY + "\n", f'"{KEY[:30]}"'])
def test_without_a_well_formed_key_nothing_is_asked(server, monkeypatch, key):
    monkeypatch.delenv("MP_API_KEY")
    if key is not None:
        monkeypatch.setenv("MP_API_KEY", key)
    with refused(source="MP_API_KEY", code="key", by=ServiceError) as error:
        connect(AT_ONCE)
    assert not key or key.strip() not in str(error.value)
    assert server.requests == []


def test_a_refused_key_is_not_tried_again(server, monkeypatch):
    wrong = KEY[::-1]
    monkeypatch.setenv("MP_API_KEY", wrong)
    with refused("MP_API_KEY", 401, code="key", by=ServiceError) as error:
        ask()
    assert wrong not in str(error.value)
    assert len([route for route, _ in server.requests if route == "materials/elasticity"]) == 1


@pytest.mark.parametrize(
    ("kind", "code", "data"),
    [
        (429, "rate_limit", [429, "pause_s"]),
        (504, "server", [504]),
        ("cut", "cut", []),
    ],
)
def test_trouble_that_lasts_ends_in_one_line(server, kind, code, data):
    server.faults["materials/elasticity"] = Fault(kind, times=None)
    with refused(*data, "attempt 2", code=code, by=ServiceError) as error:
        ask()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [429, 504, "cut"])
def test_trouble_that_passes_is_waited_for(server, kind):
    # the client itself asks four times where it is told a status, once where the answer is cut
    server.faults["materials/elasticity"] = Fault(kind, times=1 if kind == "cut" else 5)
    assert len(ask()) == len(server.elasticity)


def test_trouble_of_the_heartbeat_is_waited_for(server):
    server.faults["heartbeat"] = Fault(504, times=1)
    assert connect(AT_ONCE)[1] == "2026.11.1"


def test_no_network(monkeypatch):
    with socket.socket() as held:  # bound, but nobody listens
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("MP_API_ENDPOINT", f"http://127.0.0.1:{held.getsockname()[1]}")
        with refused("attempt 1", code="network", by=ServiceError):
            connect(Patience(20, retries=5, backoff_s=100))


def test_no_name_service(monkeypatch):
    def nowhere(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.delenv("MP_API_ENDPOINT", raising=False)
    with refused("api.materialsproject.org", code="network", by=ServiceError):
        connect(AT_ONCE)


def test_a_network_that_is_lost_meanwhile_is_waited_for(server, monkeypatch):
    client, _ = connect(AT_ONCE)
    address, calls = socket.getaddrinfo, []

    def lost_at_first(*arguments, **options):
        calls.append(arguments)
        if len(calls) <= 4:  # all attempts of the client's own
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return address(*arguments, **options)

    client.session.close()  # or the open connection would be used
    monkeypatch.setattr(socket, "getaddrinfo", lost_at_first)
    found = with_retries(lambda: client.materials.elasticity.search(g_vrh=(0, 1000)), AT_ONCE, "elasticity")
    assert len(found) == len(server.elasticity)
    assert len(calls) == 5


def test_a_login_page_is_not_the_materials_project(server):
    server.faults["heartbeat"] = Fault("html", times=None)
    with refused("db_version", by=ServiceError):
        connect(AT_ONCE)


def test_a_request_that_the_interface_does_not_know_is_refused_at_once(server):
    client, _ = connect(AT_ONCE)
    with refused(400, code="request", by=ServiceError):
        with_retries(
            lambda: client.materials.elasticity.search(g_vrh=(0, 1000), chunk_size=5000), AT_ONCE, "elasticity"
        )


def test_pauses_double_up_to_five_minutes(monkeypatch):
    pauses = []
    monkeypatch.setattr(client.time, "sleep", pauses.append)

    def always_late():
        raise TimeoutError("timed out")

    with refused("attempt 8", "anything", code="timeout", by=ServiceError):
        with_retries(always_late, Patience(1, retries=7, backoff_s=10), "anything")
    assert pauses == [10, 20, 40, 80, 160, 300, 300]


def test_a_fault_of_the_program_is_not_taken_for_trouble_of_the_service():
    with pytest.raises(ZeroDivisionError):
        with_retries(lambda: 1 / 0, AT_ONCE, "anything")


def test_old_and_new_ids_are_one():
    assert material_id("mp-149") == material_id("mp-ft") == material_id("mp-aaaaaaft") == "mp-149"
    assert material_id("mvc-12") == "mvc-12"
