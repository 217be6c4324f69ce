"""What every capability with commands promises for a command id: checks that are the same for carts, orders, payments,
customers and fulfilment, made for each from a description of its RPCs and of one command that has an effect.

`effects` counts how often the command had its effect, by reading the backend: that is what decides, not the answers.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from legato.adapter.v1 import cart_service_pb2
from legato_adapters.conformance.check import (
    Check,
    Code,
    Run,
    Skipped,
    broken,
    check,
    code_of,
    ends_with,
    expect,
    one_of,
    same,
)
from legato_adapters.conformance.claims import COMMANDS, REMEMBERING, REPEATABLE
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.subject import Subject
from legato_adapters.conformance.wire import TIMEOUT_S

APPLIED = cart_service_pb2.RESOLUTION_APPLIED
NOT_APPLIED = cart_service_pb2.RESOLUTION_NOT_APPLIED

SETTLING_S = 0.5
"""How long after NOT_APPLIED an effect is still looked for: "and will not have any more" cannot be awaited."""

CUTS_S = (0.0, 0.002, 0.01, 0.05)
DEADLINES_S = (0.000_001, 0.001, 0.004, 0.02)
AT_ONCE = 8

MALFORMED_IDS = ("", "nonsense", "019A2B3C-4D5E-7F60-8A1B-2C3D4E5F6071", "550e8400-e29b-41d4-a716-446655440000")
"""None, no UUID, one in capitals, one of version 4."""


@dataclass(frozen=True)
class Case:
    """One command on things of its own, not sent yet."""

    request: Any
    other: Any
    """The same command id with another body."""
    effects: Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Port:
    """The RPCs of a capability that has commands, and what is needed to try them."""

    capability: str
    apply_method: Callable[[Stubs], Any]
    resolve_method: Callable[[Stubs], Any]
    resolve_request: type[Message]
    case: Callable[[Subject], Awaitable[Case]]
    refused: Callable[[Subject], Awaitable[Any]]
    """A command that the backend refuses for a reason of business."""
    empty: Callable[[Subject, str], Awaitable[Any]]
    """The named command with nothing in it; "" for no command at all."""
    needs: tuple[str, ...]
    """Commands that `case` and `refused` take."""
    also: tuple[str, ...] = ()
    """Capabilities that they take."""

    async def apply(self, stubs: Stubs, request: Any, timeout: float = TIMEOUT_S) -> Any:
        return await self.apply_method(stubs)(request, timeout=timeout)

    async def resolve(self, subject: Subject, request: Any) -> Any:
        return await self.resolve_method(subject.stubs)(self.resolve_request(call=request))


def command_checks(port: Port) -> list[Check]:
    """The checks of one capability."""
    name = port.capability.lower()

    def promise(
        id: str, sentence: str, effects: frozenset[str] = frozenset(), *, bare: bool = False
    ) -> Callable[[Run], Check]:
        needs, also = ((), ()) if bare else (port.needs, port.also)
        return check(f"{name}.{id}", port.capability, sentence, commands=needs, effects=effects, also=also)

    @promise("claimed_commands", "a command is UNIMPLEMENTED exactly if it is not claimed", bare=True)
    async def claimed(subject: Subject) -> None:
        for command in COMMANDS[port.capability]:
            code = await code_of(port.apply(subject.stubs, await port.empty(subject, command)))
            if subject.claims_command(port.capability, command):
                expect(code is not Code.UNIMPLEMENTED, f"{command} is claimed, and UNIMPLEMENTED")
            else:
                same(f"the status of {command}, which is not claimed,", code, Code.UNIMPLEMENTED)

    @promise("malformed", "a malformed command id, or no command, is INVALID_ARGUMENT and has no effect")
    async def malformed(subject: Subject) -> None:
        case = await port.case(subject)
        for text in MALFORMED_IDS:
            request = _copy(case.request)
            request.command_id = text
            await ends_with(port.apply(subject.stubs, request), f"command id {text!r}", Code.INVALID_ARGUMENT)
            await ends_with(port.resolve(subject, request), f"resolving command id {text!r}", Code.INVALID_ARGUMENT)
        nothing = await port.empty(subject, "")
        await ends_with(port.apply(subject.stubs, nothing), "no command", Code.INVALID_ARGUMENT)
        same("the number of effects", await case.effects(), 0)

    @promise("repeat", "a repeat has one effect, and the first one's outcome", REPEATABLE)
    async def repeat(subject: Subject) -> None:
        case = await port.case(subject)
        first = await _accepted(port, subject, case)
        same("the number of effects of one command", await case.effects(), 1)
        for _ in range(2):
            again = await port.apply(subject.stubs, case.request)
            same("the answer to a repeat", plain(again), plain(first))
        same("the number of effects of a command and its repeats", await case.effects(), 1)

    @promise("at_once", f"{AT_ONCE} repeats at the same time have one effect, and none is refused", REMEMBERING)
    async def at_once(subject: Subject) -> None:
        case = await port.case(subject)
        answers = await asyncio.gather(*(port.apply(subject.stubs, case.request) for _ in range(AT_ONCE)))
        refused = [answer.rejection for answer in answers if answer.HasField("rejection")]
        expect(not refused, f"{len(refused)} of them were refused")
        same(f"the number of effects of {AT_ONCE} repeats at the same time", await case.effects(), 1)

    @promise("other_body", "a command id that comes with another body is ABORTED, without effect", REMEMBERING)
    async def other_body(subject: Subject) -> None:
        case = await port.case(subject)
        await _accepted(port, subject, case)
        await ends_with(port.apply(subject.stubs, case.other), "the same command id with another body", Code.ABORTED)
        same("the number of effects", await case.effects(), 1)

    @promise("repeat_refused", "a repeat of a refused command is refused for the same reason", REPEATABLE)
    async def repeat_refused(subject: Subject) -> None:
        request = await port.refused(subject)
        first = await port.apply(subject.stubs, request)
        expect(first.HasField("rejection"), "the command was executed and not refused")
        again = await port.apply(subject.stubs, request)
        same("the reason of a repeat", again.rejection.reason, first.rejection.reason)

    @promise("resolve_executed", "a command that was executed is never resolved as NOT_APPLIED, nor again executed")
    async def resolve_executed(subject: Subject) -> None:
        case = await port.case(subject)
        response = await _accepted(port, subject, case)
        await _resolved_after_effect(port, subject, case, response)
        same("the number of effects after resolving", await case.effects(), 1)

    @promise("resolve_refused", "a command that was refused is not resolved as executed")
    async def resolve_refused(subject: Subject) -> None:
        request = await port.refused(subject)
        response = await port.apply(subject.stubs, request)
        resolved = await port.resolve(subject, request)
        if resolved.resolution == APPLIED:
            same(
                "the reason in a resolution",
                (resolved.response.HasField("rejection"), resolved.response.rejection.reason),
                (True, response.rejection.reason),
            )

    @promise("resolve_never_sent", "a command that never came is not resolved as APPLIED, and can be sent then")
    async def resolve_never_sent(subject: Subject) -> None:
        case = await port.case(subject)
        resolved = await port.resolve(subject, case.request)
        expect(resolved.resolution != APPLIED, "a command that never came is APPLIED")
        if subject.effect(port.capability) == "KEYED":
            same("the resolution of a command that never came", resolved.resolution, NOT_APPLIED)
        same("the number of effects of resolving", await case.effects(), 0)
        await _accepted(port, subject, case)
        same("the number of effects", await case.effects(), 1)

    @promise(
        "lost_answer",
        "an answer that is lost behind the commit leaves one effect, or UNKNOWN",
    )
    async def lost_answer(subject: Subject) -> None:
        case = await port.case(subject)
        async with subject.losing_answers() as unanswered:
            await ends_with(port.apply(unanswered, case.request), "a call whose answer is lost", Code.UNAVAILABLE)
        same("the number of effects of a command whose answer was lost", await case.effects(), 1)
        await _resolved_after_effect(port, subject, case, None)
        await _repeated(port, subject, case)

    @promise("cut_off", "a connection that breaks during a command leaves one effect or none, and Resolve says which")
    async def cut_off(subject: Subject) -> None:
        for after_s in CUTS_S:
            case = await port.case(subject)
            async with subject.cutting(after_s) as broken_off:
                code = await code_of(port.apply(broken_off, case.request))
            one_of("the status of a call that was cut off", code, (Code.OK, Code.UNAVAILABLE))
            await _settled(port, subject, case, done=code is Code.OK)

    @promise("deadline", "a deadline leaves one effect or none, and Resolve says which")
    async def deadline(subject: Subject) -> None:
        for timeout_s in DEADLINES_S:
            case = await port.case(subject)
            code = await code_of(port.apply(subject.stubs, case.request, timeout_s))
            one_of(f"the status of a call with {timeout_s} s", code, (Code.OK, Code.DEADLINE_EXCEEDED))
            await _settled(port, subject, case, done=code is Code.OK)

    @promise("tenant_ids", "a command id counts in its tenant only", REMEMBERING)
    async def tenant_ids(subject: Subject) -> None:
        case = await port.case(subject)
        await _accepted(port, subject, case)
        stranger = subject.stranger()
        try:
            elsewhere = await port.case(stranger)
        except grpc.aio.AioRpcError as error:
            if error.code() is Code.FAILED_PRECONDITION:
                raise Skipped("there are no credentials for another tenant") from error
            raise
        elsewhere.request.command_id = case.request.command_id
        await _accepted(port, stranger, elsewhere)
        same("the number of effects for the other tenant", await elsewhere.effects(), 1)

    return [
        claimed,
        malformed,
        repeat,
        at_once,
        other_body,
        tenant_ids,
        repeat_refused,
        resolve_executed,
        resolve_refused,
        resolve_never_sent,
        lost_answer,
        cut_off,
        deadline,
    ]


async def _accepted(port: Port, subject: Subject, case: Case) -> Any:
    response = await port.apply(subject.stubs, case.request)
    expect(not response.HasField("rejection"), f"the command was refused: {response.rejection}".strip())
    return response


async def _resolved_after_effect(port: Port, subject: Subject, case: Case, response: Any) -> None:
    """Resolve a command that has had its effect."""
    resolved = await port.resolve(subject, case.request)
    expect(resolved.resolution != NOT_APPLIED, "a command that had its effect is NOT_APPLIED")
    if subject.effect(port.capability) in REMEMBERING:
        same("the resolution of a command that had its effect", resolved.resolution, APPLIED)
    if resolved.resolution == APPLIED:
        expect(not resolved.response.HasField("rejection"), "a command that had its effect is resolved as refused")
        if response is not None:
            same("the answer in a resolution", plain(resolved.response), plain(response))


async def _repeated(port: Port, subject: Subject, case: Case) -> None:
    """Repeat a command as the hub would, if it would: one effect."""
    if subject.effect(port.capability) in REPEATABLE:
        await _accepted(port, subject, case)
        same("the number of effects after a repeat", await case.effects(), 1)


async def _settled(port: Port, subject: Subject, case: Case, *, done: bool) -> None:
    """A command is over, one way or the other: what Resolve says must be so and stay so."""
    resolved = await port.resolve(subject, case.request)
    count = await case.effects()
    if done:
        same("the number of effects of a command that was answered", count, 1)
    elif resolved.resolution == NOT_APPLIED:
        for pause in itertools.chain([0.0], itertools.repeat(SETTLING_S / 2, 2)):
            await asyncio.sleep(pause)
            if await case.effects():
                broken("a command that was resolved as NOT_APPLIED had its effect later")
        await _accepted(port, subject, case)
        same("the number of effects of a command sent again", await case.effects(), 1)
        return
    elif resolved.resolution == APPLIED:
        expect(not resolved.response.HasField("rejection"), "a command that was cut off is resolved as refused")
        same("the number of effects of a command that was resolved as APPLIED", await case.effects(), 1)
    await _repeated(port, subject, case)


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def plain(message: Message) -> Message:
    """A copy without provenances and notebook: when something was read, and how it is kept, tells nothing about it."""
    copy: Message = _copy(message)
    if "adapter_state" in copy.DESCRIPTOR.fields_by_name:
        copy.ClearField("adapter_state")
    _strip(copy)
    return copy


def _strip(message: Message) -> None:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        if descriptor.message_type.full_name == "legato.commerce.v1.Provenance":
            message.ClearField(descriptor.name)
        else:
            for inner in value if descriptor.is_repeated else (value,):
                _strip(inner)
