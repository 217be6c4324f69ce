"""Reading answers: never more than is reasonable, and only what they claim to be."""

import datetime
import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Never

import aiohttp

from legato_adapters.http.errors import ApiError, Busy, Denied, Malformed, NoAnswer, Refused

__all__ = ["Answer", "read_answer", "seconds_to_wait"]

_CHUNK = 65_536
_REQUEST_TIMEOUT = 408


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status of 2xx. `data`: its JSON; None where it has no body (204)."""

    system: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = field(repr=False)

    @property
    def object(self) -> dict[str, Any]:
        """The JSON object that was asked for; raises Malformed where it is something else."""
        if not isinstance(self.data, dict):
            raise Malformed(f"{self.system} answered HTTP {self.status} with JSON that is no object")
        return self.data


async def read_answer(system: str, response: aiohttp.ClientResponse, max_bytes: int) -> Answer:
    """The answer, read to its end; raises ApiError for anything but a success."""
    status = response.status
    if 300 <= status < 400:
        # To follow it would carry credentials and carts wherever the answer says.
        raise NoAnswer(f"{system} answered with a redirect (HTTP {status})", status=status)
    if status == 429:
        raise Busy(f"{system} asks to slow down", seconds_to_wait(response.headers.get("Retry-After", "")))
    body = await _bounded(system, response, max_bytes)
    if 200 <= status < 300:
        if status == 204 or (not body and response.content_length == 0 and status != 200):
            return Answer(system, status, response.headers, None)
        return Answer(system, status, response.headers, _json(system, response, body))
    raise _failure(system, response, body)


def seconds_to_wait(retry_after: str) -> float | None:
    """What a Retry-After says, in seconds or as a date; None for nothing or nonsense."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else None
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max((moment - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)


def _failure(system: str, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    status = response.status
    if status == 401:
        return Denied(f"{system} does not accept our credentials (HTTP {status})")
    # Whoever gave up waiting for a request may have had all of it.
    if 400 <= status < 500 and status != _REQUEST_TIMEOUT:
        try:
            return Refused(system, status, _json(system, response, body))
        except Malformed:
            return Refused(system, status)
    return NoAnswer(f"{system} answered HTTP {status}", status=status)


async def _bounded(system: str, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if (response.content_length or 0) > max_bytes:
        _too_large(system, response, max_bytes)
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            _too_large(system, response, max_bytes)
    return bytes(body)


def _too_large(system: str, response: aiohttp.ClientResponse, max_bytes: int) -> Never:
    # Otherwise the rest would be read, only to use the connection again.
    response.close()
    raise NoAnswer(f"{system} answered with more than {max_bytes} bytes", status=response.status)


def _json(system: str, response: aiohttp.ClientResponse, body: bytes) -> Any:
    kind = response.content_type
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Malformed(f"{system} answered HTTP {response.status} without JSON", status=response.status)
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        # The error would quote what the server said.
        message = f"{system} answered HTTP {response.status} with broken JSON"
        raise Malformed(message, status=response.status) from None


def _no_number(text: str) -> Never:
    raise ValueError("JSON knows no such number")
