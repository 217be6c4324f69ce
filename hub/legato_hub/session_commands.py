"""Commands on sessions. The hub is their system of record, so begin and commit are all there is to the write path."""

from legato.orchestrator.v1 import command_pb2
from legato.protocol.state import Delta, diff
from legato_hub.begun import expected_of, refuse_begun
from legato_hub.clock import now_ms
from legato_hub.core import outcomes, sessions
from legato_hub.core.cursor import Cursor
from legato_hub.core.outbox import to_cursor
from legato_hub.core.problem import Problem, not_found
from legato_hub.lane import Lane
from legato_hub.live import Live
from legato_hub.live_resources import LiveResources
from legato_hub.storage import base
from legato_hub.storage.base import Claim, CommandKey, Commit, Committed, Storage


class SessionCommands:
    """Executes commands on sessions, exactly once."""

    def __init__(self, storage: Storage, resources: LiveResources) -> None:
        self._storage = storage
        self._resources = resources

    async def execute(
        self,
        live: Live,
        command: command_pb2.Command,
        key: CommandKey,
        channel: str,
        deadline: float,
        *,
        invalid: Problem | None,
        traceparent: str,
    ) -> command_pb2.CommandResult:
        """The result of a command whose caller was authorised; `invalid` is what is wrong with the body.

        Raise Problem for what consumes no seq, StorageError when the storage fails.
        """
        must_match = command.on_conflict == command_pb2.CONFLICT_POLICY_FAIL
        async with Lane(live, deadline):
            while True:
                if not live.exists:
                    raise not_found(live.name)  # Swept meanwhile.
                claim = Claim(live.name, key, live.revision, now_ms(), expected_of(command), must_match)
                begun = await self._storage.begin(claim)
                match begun:
                    case base.Fresh():
                        result = await self._apply(live, command, key, channel, invalid, traceparent)
                    case base.Repeated(stored):
                        result = outcomes.replayed(stored)
                    case base.Moved():
                        await self._resources.reload(live)
                        result = None
                    case _:
                        result = await refuse_begun(self, live, command, key, begun)
                if result is not None:
                    return result

    async def refuse(
        self, live: Live, command: command_pb2.Command, problem: Problem, key: CommandKey, fence: int, *, now: int
    ) -> command_pb2.CommandResult | None:
        """Store a refusal. None: another has committed the command meanwhile."""
        result = outcomes.refused(command, problem)
        return await self._store(live, result, Delta(), key, fence, now, "")

    async def _apply(
        self,
        live: Live,
        command: command_pb2.Command,
        key: CommandKey,
        channel: str,
        invalid: Problem | None,
        traceparent: str,
    ) -> command_pb2.CommandResult | None:
        now = now_ms()
        delta = Delta()
        if invalid is None:
            try:
                after = sessions.reduce(live.entries, command.session, channel=channel, now=now)
                delta = diff(live.entries, after)
            except Problem as problem:
                invalid = problem
        if invalid is not None:
            return await self.refuse(live, command, invalid, key, 0, now=now)
        outcome = command_pb2.OUTCOME_APPLIED if delta else command_pb2.OUTCOME_NO_OP
        result = command_pb2.CommandResult(
            command_id=command.command_id, resource=command.resource, seq=command.seq, outcome=outcome
        )
        return await self._store(live, result, delta, key, 0, now, traceparent)

    async def _store(
        self,
        live: Live,
        result: command_pb2.CommandResult,
        delta: Delta,
        key: CommandKey,
        fence: int,
        now: int,
        traceparent: str,
    ) -> command_pb2.CommandResult | None:
        cursor = Cursor(live.cursor.epoch, live.revision + 1 if delta else live.revision)
        result.cursor.CopyFrom(to_cursor(cursor))
        commit = Commit(
            live.name,
            live.revision,
            delta,
            now,
            key=key,
            result=result.SerializeToString(),
            fence=fence,
            traceparent=traceparent,
        )
        if isinstance(await self._storage.commit(commit), Committed):
            return result
        await self._resources.reload(live)
        return None
