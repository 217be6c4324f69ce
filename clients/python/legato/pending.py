"""A command on its way, as the caller holds it."""

import asyncio

from legato.errors import LegatoError, OutcomePending
from legato.orchestrator.v1 import error_pb2
from legato.orchestrator.v1.command_pb2 import Command, CommandResult


class PendingCommand:
    """A command that is in the outbox. It is sent whether or not anybody asks for its `result`."""

    def __init__(self, command: Command) -> None:
        self.command = command
        """What was wished, with the command id and seq it got."""
        self.delayed_by: LegatoError | None = None
        """Why there is no result yet, as far as the hub has said."""
        self._outcome: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        state = "done" if self.done() else f"delayed by {self.delayed_by!r}" if self.delayed_by else "pending"
        return f"<{type(self).__name__} {self.command.command_id} on {self.command.resource}: {state}>"

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._outcome.done()

    async def result(self, timeout: float | None = None) -> CommandResult:
        """The result of an applied command (or of one that changed nothing); else raise why it was not applied.

        After `timeout` seconds raise OutcomePending: the command goes on, and may be awaited again.
        """
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._outcome)
        except TimeoutError:
            raise OutcomePending(
                f"no result within {timeout:g} s; the command stays in the outbox and goes on",
                reason=error_pb2.ERROR_REASON_OUTCOME_PENDING,
                metadata={"command_id": self.command.command_id},
            ) from self.delayed_by

    def resolve(self, result: CommandResult | None, error: LegatoError | None) -> None:
        """The outcome is known. For the client alone."""
        if self._outcome.done():
            return
        if error is not None:
            self._outcome.set_exception(error)
            # Nobody has to await a command, so an unseen refusal is no fault to be logged.
            self._outcome.exception()
        elif result is not None:
            self._outcome.set_result(result)
