"""Asking a DICOMweb server whether it can serve studies, and saying what stands in the way."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

TIMEOUT_SECONDS = 15
_MODALITY, _STUDY, _SERIES = "00080060", "0020000D", "0020000E"
_LIMIT = 50  # series looked at
Finding = tuple[str, str, str, str]  # name, state, found, cure


def probe(url: str, user: str | None = None) -> Iterator[Finding]:
    """Ask for studies, series and the metadata of one series.

    Args:
        url: DICOMweb root, such as http://127.0.0.1:8042/dicom-web.
        user: "USER:PASSWORD" for basic authentication.

    Yields:
        (name, "ok" | "note" | "fault", what was found, cure); nothing more after a fault.
    """
    url = url.rstrip("/")
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        yield ("dicomweb", "fault", f"{url} is no http address", "give http://HOST:PORT/PATH")
        return
    try:
        studies = _ask(f"{url}/studies?limit=1", user)
        yield ("dicomweb studies", "ok", f"{url} answers")
        if not studies:
            yield ("dicomweb studies", "note", "the server is empty", "send it a study first")
            return
        series = _ask(f"{url}/series?limit={_LIMIT}&includefield={_MODALITY}", user)
        kinds = Counter(_value(entry, _MODALITY) or "?" for entry in series)
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        yield ("dicomweb series", "ok", f"{said} in the first {len(series)}", _filter_hint(kinds))
        first = series[0]
        study, uid = _value(first, _STUDY), _value(first, _SERIES)
        instances = _ask(f"{url}/studies/{study}/series/{uid}/metadata", user)
        yield ("dicomweb metadata", "ok", f"{len(instances)} instances of one series")
    except _Fault as fault:
        yield ("dicomweb", "fault", *fault.args)


def _filter_hint(kinds: Counter) -> str:
    """MONAI Label looks for CT only unless told otherwise."""
    others = [kind for kind in kinds if kind not in ("CT", "SEG", "?")]
    if not others or "CT" in kinds:
        return ""
    setting = json.dumps({"Modality": others[0]})
    return f"for MONAI Label: export MONAI_LABEL_DICOMWEB_SEARCH_FILTER='{setting}'"


class _Fault(Exception):
    """What was found and its cure."""


def _ask(url: str, user: str | None) -> list[dict[str, Any]]:
    """The JSON list at `url`; _Fault with the cure for all that can go wrong."""
    request = urllib.request.Request(url, headers={"Accept": "application/dicom+json"})
    if user:
        token = base64.b64encode(user.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            body = answer.read()
            kind = answer.headers.get_content_type()
            if answer.status == 204 or not body:
                return []
    except urllib.error.HTTPError as error:
        raise _Fault(f"{url}: HTTP {error.code}", _cure_of(error.code)) from error
    except (urllib.error.URLError, OSError) as error:
        raise _Fault(*_connection_fault(url, getattr(error, "reason", error))) from error
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, list):
        cure = "that is not the DICOMweb root; Orthanc's is http://HOST:8042/dicom-web"
        raise _Fault(f"{url} answered with {kind}, no list of DICOM JSON", cure)
    return content


def _cure_of(code: int) -> str:
    """What to do about an HTTP status."""
    if code in (401, 403):
        return "give --user USER:PASSWORD of an account that may read studies"
    if code in (404, 405):
        return "correct the path: Orthanc's is /dicom-web, with its DICOMweb plug-in loaded"
    if code in (502, 503, 504):
        return "the proxy answers, the server behind it does not: start it"
    return "see the server's log"


def _connection_fault(url: str, reason: Any) -> tuple[str, str]:
    """What was found and its cure, of a connection that failed."""
    host = urllib.parse.urlsplit(url).netloc
    if isinstance(reason, ConnectionRefusedError):
        return (
            f"nobody listens at {host}",
            "start the server (bash scripts/start_orthanc.sh) or correct the port",
        )
    if isinstance(reason, socket.gaierror):
        return (
            f"the name of {host} is not known",
            "correct the host name, or connect to its network",
        )
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return (
            f"no answer from {host} in {TIMEOUT_SECONDS} s",
            "check the firewall and the server's load",
        )
    if isinstance(reason, ssl.SSLError):
        return (
            f"{host}: {reason}",
            "use http:// if it has no certificate, else install its authority",
        )
    return f"{host}: {reason}", "check the address and the network"


def _value(entry: dict[str, Any], tag: str) -> str | None:
    """First value of a tag in DICOM JSON."""
    values = entry.get(tag, {}).get("Value") or [None]
    return values[0]
