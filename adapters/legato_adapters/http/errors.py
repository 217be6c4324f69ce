"""What can become of a request, told apart by what it may have done to the backend.

No text here holds anything that the server or the caller said: these errors end in logs, traces and statuses.
"""

from collections.abc import Mapping
from typing import Any

import grpc

__all__ = ["ApiError", "Busy", "Denied", "Failure", "Malformed", "NoAnswer", "NotSent", "Refused"]

EFFECT_NONE = ("legato-effect", "none")


class ApiError(Exception):
    """No usable answer."""


class NotSent(ApiError):
    """The request certainly did not reach the server."""


class NoAnswer(ApiError):
    """The request was sent and no answer that makes sense came: what it did is unknown."""

    def __init__(self, message: str, *, timed_out: bool = False, status: int = 0) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.status = status
        """The HTTP status, 0 where none came."""


class Malformed(NoAnswer):
    """The answer says that the request succeeded, and then not what was asked for."""


class Busy(ApiError):
    """The server asks to slow down; the request had no effect. `retry_after`: seconds, if the server says."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(ApiError):
    """The server understood the request and did nothing. `body` is the JSON that it gave as a reason, else None.

    The body may quote the request: it is to be looked at, never to be shown.
    """

    def __init__(self, system: str, status: int, body: Any = None) -> None:
        super().__init__(f"{system} refuses with HTTP {status}")
        self.status = status
        self.body = body

    @property
    def said(self) -> Mapping[str, Any]:
        """The body, empty where it is no JSON object."""
        return self.body if isinstance(self.body, dict) else {}


class Denied(ApiError):
    """The server does not accept our credentials; nothing was done."""


class Failure(Exception):
    """Ends the call with `code`. `without_effect`: UNAVAILABLE, and the backend certainly did nothing."""

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str,
        *,
        without_effect: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.retry_after = retry_after
        self.trailing: tuple[tuple[str, str | bytes], ...] = (EFFECT_NONE,) if without_effect else ()
