"""What all requests share that are made for one RPC."""

import time
from typing import Any

from legato_adapters.http.errors import NotSent

__all__ = ["Call"]


class Call:
    """One RPC on its way to the backend.

    `deadline` is on the monotonic clock. `touched` tells whether anything was sent that may have changed the backend:
    from then on an error means that the outcome is unknown, and the client keeps count of it.
    """

    __slots__ = ("deadline", "touched", "traceparent")

    def __init__(self, deadline: float | None = None, traceparent: str = "") -> None:
        self.deadline = deadline
        self.traceparent = traceparent
        self.touched = False

    @classmethod
    def of(cls, context: Any) -> "Call":
        """The call behind the context of a servicer's method."""
        remaining = context.time_remaining()
        metadata = dict(context.invocation_metadata() or ())
        parent = metadata.get("traceparent", "")
        return cls(
            None if remaining is None else time.monotonic() + remaining, parent if isinstance(parent, str) else ""
        )

    @classmethod
    def within(cls, seconds: float) -> "Call":
        """A call that nobody asked for, such as fetching a token."""
        return cls(time.monotonic() + seconds)

    def see_through(self, seconds: float) -> None:
        """From here on a change is followed to its end, whatever the caller's deadline; it has `seconds`.

        Raises NotSent when the caller's time is over before it began.
        """
        if not self.touched:
            self.left(seconds)
        self.deadline = time.monotonic() + seconds

    def left(self, most: float) -> float:
        """Seconds until the deadline, at most `most`; raises NotSent when it has passed."""
        if self.deadline is None:
            return most
        remaining = min(self.deadline - time.monotonic(), most)
        if remaining <= 0:
            raise NotSent("the deadline has passed")
        return remaining
