"""A local stand-in of the Materials Project: its REST interface and its S3 store, with faults on request.

Query parameters that the real interface does not know for a route are refused as it refuses them, so that a mistake
of the client (``search(k_vrh=…)``) shows.
"""

import gzip
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from monty.json import MontyEncoder

KEY = "k3Y" + "0123456789abcdefghijklmnopqrs"  # 32 characters, as a real key has
LARGEST_PAGE = 1000
PAGING = {"_page", "_per_page", "_skip", "_limit", "_fields", "_all_fields"}
KNOWN = {
    "materials/elasticity": {f"{m}_{a}_{e}" for m in "kg" for a in ("vrh", "reuss", "voigt") for e in ("min", "max")},
    "materials/summary": {"has_props", "deprecated", "material_ids", "_sort_fields"},
    "materials/core": {"material_ids", "deprecated"},
    "materials/tasks": {"task_ids"},
}
MODULUS = {"k": "bulk_modulus", "g": "shear_modulus"}


@dataclass
class Fault:
    """What to do instead of answering: an HTTP status, "cut" in the middle of the body, or "html".

    Parameters
    ----------
    kind
        A status such as 429, or "cut" or "html".
    times
        How many requests it hits; None: all.
    after
        How many requests to the same route are answered first.
    """

    kind: int | str
    times: int | None = 1
    after: int = 0


@dataclass
class MaterialsProjectServer:
    """Serve documents on a free port of the loopback; use as a context manager.

    Parameters
    ----------
    elasticity, summary
        Documents of these routes.
    densities
        CHGCARs in the store, by material id; the task of a material has its id.
    without_task
        Materials whose calculations are no static ones.
    compressed
        Whether the store holds its objects gzipped.
    faults
        By route ("heartbeat", "materials/summary", "s3", ...).
    """

    elasticity: list[dict] = field(default_factory=list)
    summary: list[dict] = field(default_factory=list)
    densities: dict = field(default_factory=dict)
    without_task: set[str] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)
    database_version: str = "2026.11.1"
    key: str = KEY
    compressed: bool = True
    requests: list[tuple[str, dict]] = field(default_factory=list)

    def __enter__(self) -> "MaterialsProjectServer":
        self.store = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """Variables that lead mp-api and boto3 here."""
        return {"MP_API_KEY": self.key, "MP_API_ENDPOINT": self.url, "AWS_ENDPOINT_URL_S3": self.url}

    def pages(self, route: str) -> list[int]:
        """Numbers of the pages that were asked for."""
        return [int(query["_page"]) for path, query in self.requests if path == route and "_page" in query]

    def fault(self, route: str) -> Fault | None:
        """The fault that hits this request, if any."""
        fault = self.faults.get(route)
        if fault is None or fault.times == 0:
            return None
        if fault.after > 0:
            fault.after -= 1
            return None
        if fault.times is not None:
            fault.times -= 1
        return fault

    def answer(self, route: str, query: dict[str, str]) -> tuple[int, dict]:
        """Status and content for a route of the REST interface."""
        if route == "heartbeat":
            content = {"status": "OK", "version": "0.86.4", "db_version": self.database_version}
            return 200, content | {"access_controlled_batch_ids": []}
        if route not in KNOWN:
            return 404, {"detail": "Not Found"}
        unknown = set(query) - KNOWN[route] - PAGING
        if unknown:
            return 404, {"detail": f"Request contains query parameters which cannot be used: {', '.join(unknown)}"}
        found = self._found(route, query)
        limit = int(query.get("_per_page" if "_page" in query else "_limit", 100))
        if limit > LARGEST_PAGE:
            return 400, {"detail": f"Requested more data per query than allowed. The max limit is {LARGEST_PAGE}"}
        skip = (int(query["_page"]) - 1) * limit if "_page" in query else int(query.get("_skip", 0))
        fields = query["_fields"].split(",") if "_fields" in query else ["material_id"]
        page = [{key: document[key] for key in fields if key in document} for document in found[skip : skip + limit]]
        return 200, {"data": page, "meta": {"total_doc": len(found)}}

    def _found(self, route: str, query: dict[str, str]) -> list[dict]:
        if route == "materials/elasticity":
            return [d for d in self.elasticity if _in_range(d, query)]
        if route == "materials/summary":
            found = [d for d in self.summary if d["has_props"]["elasticity"] or "has_props" not in query]
            wanted = {"true": True, "false": False}.get(query.get("deprecated", "").lower())
            found = [d for d in found if wanted is None or d["deprecated"] is wanted]
            return sorted(found, key=lambda d: d["material_id"]) if "_sort_fields" in query else found
        if route == "materials/core":
            ids = query["material_ids"].split(",")
            static = {name: "GGA Structure Optimization" if name in self.without_task else "GGA Static" for name in ids}
            known = [name for name in ids if name in {d["material_id"] for d in self.summary}]
            return [{"material_id": name, "calc_types": {name: static[name]}} for name in known]
        ids = [name for name in query["task_ids"].split(",") if name in {d["material_id"] for d in self.summary}]
        return [{"task_id": name, "last_updated": "2024-05-01T00:00:00"} for name in ids]

    def stored_object(self, path: str) -> bytes | None:
        """Bytes of an object of the store, by bucket and key."""
        match = re.fullmatch(r"materialsproject-parsed/chgcars/(.+)\.json\.gz", path)
        name = match and next((n for n in self.densities if _is_same(n, match[1])), None)
        if not name:
            return None
        if name not in self.store:
            text = json.dumps({"data": self.densities[name]}, cls=MontyEncoder)
            self.store[name] = gzip.compress(text.encode()) if self.compressed else text.encode()
        return self.store[name]


def _in_range(document: dict, query: dict[str, str]) -> bool:
    for key, bound in query.items():
        if key.startswith("_"):
            continue
        modulus, average, end = key.split("_")
        value = (document.get(MODULUS[modulus]) or {}).get(average)
        if value is None or (value < float(bound) if end == "min" else value > float(bound)):
            return False
    return True


def _is_same(name: str, other: str) -> bool:
    from emmet.core.mpid import AlphaID

    return AlphaID(name, prefix="mp") == AlphaID(other, prefix="mp")


def _handler(server: MaterialsProjectServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            parts = urlsplit(self.path)
            path = parts.path.strip("/")
            is_store = path.startswith("materialsproject-parsed")
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            route = "s3" if is_store else path
            server.requests.append((route, query))
            fault = server.fault(route)
            if fault is not None and isinstance(fault.kind, int):
                self._send(fault.kind, b'{"message": "fault on request"}', headers={"Retry-After": "0"})
            elif fault is not None and fault.kind == "html":
                self._send(200, b"<html>Please log in to the hotel's network</html>", "text/html")
            elif is_store:
                self._send_object(server.stored_object(path), fault)
            elif route != "heartbeat" and self.headers.get("x-api-key") != server.key:
                self._send(401, b'{"message": "Invalid authentication credentials"}')
            else:
                status, content = server.answer(route, query)
                self._send(status, json.dumps(content).encode(), cut=fault is not None)

        do_HEAD = do_GET

        def _send_object(self, content, fault):
            if content is None:
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
                return
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            headers = {"ETag": '"1"', "Accept-Ranges": "bytes"}
            if span:
                first, last = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                content = content[first : last + 1]
            self._send(206 if span else 200, content, "binary/octet-stream", headers, cut=fault is not None)

        def _send(self, status, content, kind="application/json", headers=None, cut=False):
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if cut:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler
