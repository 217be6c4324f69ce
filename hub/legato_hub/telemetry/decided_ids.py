"""Ids of traces that were decided about before they were begun."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator


class DecidedIds:
    """The SDK's ids. One that was decided about is the next trace's, or the sampler would be asked about another."""

    def __init__(self, ids: "IdGenerator") -> None:
        self.generate_span_id = ids.generate_span_id
        self.is_trace_id_random = ids.is_trace_id_random
        self._ids = ids
        self._decided = 0

    def decide(self) -> int:
        """The id of the next trace."""
        self._decided = self._ids.generate_trace_id()
        return self._decided

    def forget(self) -> None:
        """There will be no such trace."""
        self._decided = 0

    def generate_trace_id(self) -> int:
        """For the SDK, when it begins a trace."""
        decided, self._decided = self._decided, 0
        return decided or self._ids.generate_trace_id()
