"""The Materials Project's own client (mp-api) with clear messages, retries and a key that is never written.

The key comes from the environment variable MP_API_KEY, the address from MP_API_ENDPOINT (mp-api's own) where it is set.
"""

import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, TypeVar

from tqdm import tqdm

from rho2prop.core.errors import InputError

KEY_VARIABLE = "MP_API_KEY"
ENDPOINT_VARIABLE = "MP_API_ENDPOINT"
DEFAULT_ENDPOINT = "https://api.materialsproject.org/"
FIX_KEY = "Copy the key of 32 letters and digits from https://materialsproject.org/api and export it as MP_API_KEY"
FIX_NETWORK = "Check the network (on a cluster: fetch on a node that has internet) or name a snapshot that you have"
FIX_LATER = "Start again later: what was fetched is kept"
FIX_CLIENT = "Install the versions in requirements.txt, or report this"
LONGEST_WAIT_S = 300.0

Result = TypeVar("Result")


class ServiceError(InputError):
    """The Materials Project could not be asked: key, network, rate limit or server; not the fault of a material."""


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries of the client.

    Parameters
    ----------
    timeout_s
        Seconds without an answer after which a request counts as lost.
    retries
        Further attempts of a request after the first, each of which mp-api itself repeats three times.
    backoff_s
        Seconds before the first further attempt; doubles each time, at most 300.
    """

    timeout_s: float
    retries: int
    backoff_s: float


@dataclass(frozen=True)
class _Trouble:
    problem: str
    fix: str
    passes: bool  # whether waiting may help
    code: str


def api_key() -> str:
    """The user's key from the environment; it never appears in messages.

    Raises
    ------
    ServiceError
        The key is missing or malformed.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise ServiceError(KEY_VARIABLE, "no key of the Materials Project in the environment", FIX_KEY, code="key")
    if not re.fullmatch(r"[A-Za-z0-9]{32}", key):
        problem = f"has {len(key)} characters, expected 32 letters and digits (no blanks, no quotes)"
        raise ServiceError(KEY_VARIABLE, problem, FIX_KEY, code="key")
    return key


def endpoint() -> str:
    """Address of the REST interface, with a slash at its end."""
    return (os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT).rstrip("/") + "/"


def connect(patience: Patience) -> tuple[Any, str]:
    """Open mp-api's client in its dictionary mode.

    Returns
    -------
    tuple of MPRester and str
        The client and the version of the database that it talks to.

    Raises
    ------
    ServiceError
        The key is missing or malformed, there is no network, or the address is not the Materials Project.
    """
    key = api_key()
    version = database_version(patience)

    # imported late: it takes seconds, and reads its own settings from the environment
    from mp_api.client import MPRester
    from mp_api.client.core.client import _Rester

    def open_client() -> Any:
        # the client keeps the heartbeat of an address for the life of the process, a database may change in between
        _Rester._get_heartbeat_info.cache_clear()
        MPRester.get_emmet_version.cache_clear()
        with warnings.catch_warnings():
            # the database version that it warns of is the one that the server itself named
            warnings.filterwarnings("ignore", message="Specifying an explicit database version")
            return MPRester(key, endpoint=endpoint(), use_document_model=False, mute_progress_bars=True)

    return with_retries(open_client, patience, "opening the client"), version


def database_version(patience: Patience) -> str:
    """Current version of the Materials Project's database."""
    import requests

    def ask() -> str:
        # mp-api asks too, but without any time limit
        response = requests.get(endpoint() + "heartbeat", timeout=patience.timeout_s)
        response.raise_for_status()
        try:
            answer = response.json()
        except requests.JSONDecodeError:  # a portal's login page, say
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("db_version"), str):
            problem = "answers, but not as the Materials Project does (its heartbeat has no db_version)"
            raise ServiceError(_source(), problem, f"Correct or unset {ENDPOINT_VARIABLE}")
        return answer["db_version"]

    return with_retries(ask, patience, "heartbeat", waits_for_network=False)


def with_retries(call: Callable[[], Result], patience: Patience, what: str, waits_for_network: bool = True) -> Result:
    """Call until it succeeds, or raise an error that says in one line why it did not.

    Parameters
    ----------
    call
        One request, safe to repeat.
    patience
        Attempts and pauses.
    what
        What is asked for, for the messages.
    waits_for_network
        Whether an unreachable address is tried again.

    Raises
    ------
    ServiceError
        The service refused, or failed in the last attempt.
    """
    for attempt in range(patience.retries + 1):
        try:
            return call()
        except ServiceError:
            raise
        except Exception as error:
            trouble = _trouble(error)
            if trouble is None:
                raise
            out_of_reach = trouble.code == "network" and not waits_for_network
            if not trouble.passes or out_of_reach or attempt == patience.retries:
                attempts = f" (attempt {attempt + 1}, {what})"
                raise ServiceError(
                    _source(), _without_key(trouble.problem) + attempts, trouble.fix, trouble.code
                ) from None
            wait_s = min(patience.backoff_s * 2**attempt, LONGEST_WAIT_S)
            tqdm.write(f"{what}: {_without_key(trouble.problem)}; again in {wait_s:g} s")
            time.sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


def material_id(raw: str) -> str:
    """The id in the style that the web site shows: old numbers ("mp-149") for "mp-aaaaaaft" too.

    Raises
    ------
    ValueError
        It is not an id of the Materials Project.
    """
    from emmet.core.mpid import AlphaID

    return AlphaID(raw, prefix="mp").string


def _source() -> str:
    return f"Materials Project ({endpoint()})"


def _without_key(text: str) -> str:
    key = os.environ.get(KEY_VARIABLE, "")
    return text.replace(key, "***") if key else text


def _trouble(error: Exception) -> _Trouble | None:
    """Description of a connection problem, or None for other errors."""
    import requests
    from botocore import exceptions as s3
    from s3transfer.exceptions import RetriesExceededError

    chain = _chain(error)
    text = " ".join(str(error).split())[:300]
    status = _status(chain)
    if status in (401, 403):
        return _Trouble(f"the key in {KEY_VARIABLE} was refused (HTTP {status})", FIX_KEY, passes=False, code="key")
    if status == 429:
        fix = f"{FIX_LATER}; a longer pause_s helps"
        return _Trouble("the rate limit is reached (HTTP 429)", fix, passes=True, code="rate_limit")
    if status is not None and status >= 500:
        return _Trouble(f"the server is in trouble (HTTP {status})", FIX_LATER, passes=True, code="server")
    if status is not None:
        return _Trouble(f"the request was refused (HTTP {status}: {text})", FIX_CLIENT, passes=False, code="request")
    if _is(chain, requests.Timeout, s3.ConnectTimeoutError, s3.ReadTimeoutError) or "timed out" in text:
        return _Trouble("no answer in time", f"{FIX_LATER}; a longer timeout_s helps", passes=True, code="timeout")
    unreachable = ("NewConnectionError", "NameResolutionError", "Failed to establish", "Failed to resolve")
    if _is(chain, s3.EndpointConnectionError) or any(word in str(link) for link in chain for word in unreachable):
        return _Trouble("there is no connection to this address", FIX_NETWORK, passes=True, code="network")
    if _is(chain, requests.exceptions.SSLError, s3.SSLError):
        fix = "Check the certificates of this machine (REQUESTS_CA_BUNDLE, AWS_CA_BUNDLE)"
        return _Trouble("the secure connection failed", fix, passes=False, code="certificate")
    cut = (requests.RequestException, s3.HTTPClientError, s3.IncompleteReadError, s3.ResponseStreamingError)
    if _is(chain, *cut, RetriesExceededError, EOFError) or isinstance(error, JSONDecodeError):
        return _Trouble("the connection was cut", FIX_LATER, passes=True, code="cut")
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from: mp-api keeps only the text of what `requests` says."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _is(chain: list[BaseException], *kinds: type) -> bool:
    return any(isinstance(link, kinds) for link in chain)


def _status(chain: list[BaseException]) -> int | None:
    for link in chain:
        response = getattr(link, "response", None)
        if isinstance(response, dict):  # botocore
            code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            code = getattr(response, "status_code", None)
        if isinstance(code, int):
            return code
        match = re.search(r"error status code (\d{3})|too many (\d{3}) error", str(link))
        if match:
            return int(match[1] or match[2])
        if "server does not support the request" in str(link):  # mp-api's words for it
            return 400
    return None
