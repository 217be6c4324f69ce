"""Every bad input gets a code, a machine-readable reason and the field, and harms nobody else."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.commerce.v1 import address_pb2, cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, cursor_pb2, reads_pb2, stream_pb2
from legato.orchestrator.v1 import orchestrator_service_pb2 as pb
from legato.protocol.ids import new_id
from legato_hub import connection
from legato_hub.core.identity import IdentityKind
from tests.support.errors import bad_request, error_info, reason, trailer_reason
from tests.support.hub import RunningHub, bearer
from tests.support.shop import LOW_SKU, LOW_STOCK, SKU
from tests.support.stream import Stream, request

REJECTED, NOT_ACCEPTED = command_pb2.OUTCOME_REJECTED, command_pb2.OUTCOME_NOT_ACCEPTED


def add(steps: int = 1, sku: str = SKU, **more: Any) -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=sku, quantity=quantity_pb2.Quantity(steps=steps), **more)


def unit(steps: int) -> cart_intent_pb2.SetLineQuantity:
    line = cart_intent_pb2.LineSelector(line_id="1")
    return cart_intent_pb2.SetLineQuantity(line=line, quantity=quantity_pb2.Quantity(steps=steps))


ADDRESS = address_pb2.Address(street="Weg 1", city="Berlin", country="DE")

BODIES: list[tuple[str, dict[str, Any], str, str]] = [
    ("negative quantity", {"add_line": add(-1)}, "INVALID_FIELD", "command.cart.add_line.quantity.steps"),
    ("zero quantity", {"add_line": add(0)}, "INVALID_FIELD", "command.cart.add_line.quantity.steps"),
    ("enormous quantity", {"add_line": add(2**62)}, "INVALID_FIELD", "command.cart.add_line.quantity.steps"),
    ("over-long sku", {"add_line": add(sku="x" * 129)}, "INVALID_FIELD", "command.cart.add_line.sku"),
    ("no sku", {"add_line": add(sku="")}, "INVALID_FIELD", "command.cart.add_line.sku"),
    ("control characters", {"add_line": add(sku="a\x00b")}, "INVALID_FIELD", "command.cart.add_line.sku"),
    (
        "over-long key",
        {"add_line": add(client_line_key="k" * 65)},
        "INVALID_FIELD",
        "command.cart.add_line.client_line_key",
    ),
    ("negative set", {"set_line_quantity": unit(-5)}, "INVALID_FIELD", "command.cart.set_line_quantity.quantity.steps"),
    ("no line named", {"remove_line": {}}, "INVALID_FIELD", "command.cart.remove_line.line"),
    ("no e-mail", {"set_email": {"email": "nobody"}}, "INVALID_FIELD", "command.cart.set_email.email"),
    ("over-long note", {"set_note": {"note": "n" * 1001}}, "INVALID_FIELD", "command.cart.set_note.note"),
    ("no code", {"add_discount_code": {}}, "INVALID_FIELD", "command.cart.add_discount_code.code"),
    (
        "no purpose",
        {"set_address": {"address": ADDRESS}},
        "INVALID_FIELD",
        "command.cart.set_address.purpose",
    ),
    (
        "country in words",
        {"set_address": {"purpose": 1, "address": {"street": "a", "city": "b", "country": "Germany"}}},
        "INVALID_FIELD",
        "command.cart.set_address.address.country",
    ),
    ("no intent", {}, "INVALID_FIELD", "command.cart"),
    ("unknown sku", {"add_line": add(sku="NO-SUCH-SKU")}, "UNKNOWN_SKU", ""),
    ("oversell", {"add_line": add(LOW_STOCK + 1, LOW_SKU)}, "INSUFFICIENT_STOCK", ""),
    ("no such line", {"remove_line": {"line": {"line_id": "nope"}}}, "LINE_NOT_FOUND", ""),
    ("no such code", {"add_discount_code": {"code": "NOSUCH"}}, "DISCOUNT_CODE_INVALID", ""),
    ("no such option", {"set_delivery_option": {"option_id": "teleport"}}, "DELIVERY_OPTION_INVALID", ""),
]


@pytest.mark.parametrize(("intent", "why", "field"), [body[1:] for body in BODIES], ids=[body[0] for body in BODIES])
async def test_a_bad_body_consumes_its_seq_and_leaves_the_cart(
    hub: RunningHub, intent: dict[str, Any], why: str, field: str
) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        await stream.subscribe(cart)
        before = dict(stream.entries["s"])
        result = await stream.command(cart, **intent)
        assert result.outcome == REJECTED
        assert reason(result.error) == why
        assert [violation.field for violation in result.error.field_violations] == ([field] if field else [])
        # The next seq goes on, so the bad one was consumed; the stream lives, and nothing had changed.
        good = await stream.command(cart, add_line=add())
        assert good.outcome == command_pb2.OUTCOME_APPLIED
        assert good.cursor.revision == result.cursor.revision + 1
        changed = {key for key in stream.entries["s"] if stream.entries["s"][key] != before.get(key)}
        assert "cart" not in changed or why == "UNKNOWN_SKU" or stream.lines() == {SKU: 1}


async def test_a_refused_oversell_tells_what_is_left(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        result = await stream.command(cart, add_line=add(LOW_STOCK + 1, LOW_SKU))
        assert result.error.metadata["available"] == str(LOW_STOCK)
        assert (await stream.command(cart, add_line=add(LOW_STOCK, LOW_SKU))).outcome == command_pb2.OUTCOME_APPLIED


FRAMES: list[tuple[str, command_pb2.Command, str]] = [
    ("command id", command_pb2.Command(command_id="42", resource=f"carts/{new_id()}"), "command.command_id"),
    ("cart id", command_pb2.Command(command_id=new_id(), resource="carts/42"), "command.resource"),
    ("resource", command_pb2.Command(command_id=new_id(), resource="baskets/1"), "command.resource"),
    (
        "alias",
        command_pb2.Command(command_id=new_id(), resource=f"sessions/{new_id()}/active_cart"),
        "command.resource",
    ),
]


@pytest.mark.parametrize(("command", "field"), [frame[1:] for frame in FRAMES], ids=[frame[0] for frame in FRAMES])
async def test_a_malformed_id_is_named(hub: RunningHub, command: command_pb2.Command, field: str) -> None:
    command.cart.add_line.CopyFrom(add())
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        result = await stream.execute(command)
        assert (result.outcome, reason(result.error)) == (REJECTED, "INVALID_FIELD")
        assert [violation.field for violation in result.error.field_violations] == [field]
        assert (await stream.create_cart()).startswith("carts/")


@pytest.mark.parametrize("currency", ["eur", "XXX", "EURO", "USD"])
async def test_an_unknown_currency_makes_no_cart(hub: RunningHub, currency: str) -> None:
    """The last is a currency that ISO 4217 knows and the store does not sell in."""
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        resource = f"carts/{new_id()}"
        result = await stream.command(resource, create_cart={"currency_code": currency})
        assert (result.outcome, reason(result.error)) == (REJECTED, "UNKNOWN_CURRENCY")
        assert result.error.field_violations[0].field == "command.cart.create_cart.currency_code"
        assert (await stream.command(resource, create_cart={})).outcome == command_pb2.OUTCOME_APPLIED


async def test_a_wrong_expected_revision_fails_only_with_the_policy_fail(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        first = (await stream.command(cart, add_line=add(1))).cursor
        await stream.command(cart, add_line=add(2))

        def command(seq: int, policy: Any, cursor: cursor_pb2.Cursor) -> command_pb2.Command:
            intent = cart_intent_pb2.CartIntent(add_line=add(4))
            return command_pb2.Command(
                command_id=new_id(), resource=cart, seq=seq, expected=cursor, on_conflict=policy, cart=intent
            )

        fails = await stream.execute(command(4, command_pb2.CONFLICT_POLICY_FAIL, first))
        assert (fails.outcome, reason(fails.error)) == (REJECTED, "REVISION_MISMATCH")
        rebases = await stream.execute(command(5, command_pb2.CONFLICT_POLICY_REBASE, first))
        assert rebases.outcome == command_pb2.OUTCOME_APPLIED
        other = cursor_pb2.Cursor(epoch="another", revision=first.revision)
        for seq, policy in ((6, command_pb2.CONFLICT_POLICY_FAIL), (7, command_pb2.CONFLICT_POLICY_REBASE)):
            result = await stream.execute(command(seq, policy, other))
            assert (result.outcome, reason(result.error)) == (REJECTED, "EPOCH_MISMATCH")
        await stream.subscribe(cart)
        assert stream.lines() == {SKU: 1 + 2 + 4}


async def test_a_command_id_with_another_body_is_refused(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        command = command_pb2.Command(command_id=new_id(), resource=cart, seq=2)
        command.cart.add_line.CopyFrom(add(1))
        original = await stream.execute(command)
        repeat = await stream.execute(command)
        assert repeat.replayed
        assert (repeat.outcome, repeat.cursor, repeat.line_id) == (original.outcome, original.cursor, original.line_id)
        for seq in (2, 3):  # with the same seq, and with the next
            other = command_pb2.Command()
            other.CopyFrom(command)
            other.seq = seq
            other.cart.add_line.quantity.steps = 2
            result = await stream.execute(other)
            assert (result.outcome, reason(result.error)) == (REJECTED, "COMMAND_ID_REUSED")
        await stream.subscribe(cart)
        assert stream.lines() == {SKU: 1}


async def test_a_gap_is_not_consumed_and_tells_what_is_next(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        command = command_pb2.Command(command_id=new_id(), resource=cart, seq=5)
        command.cart.add_line.CopyFrom(add(1))
        result = await stream.execute(command)
        assert (result.outcome, reason(result.error), result.expected_seq) == (NOT_ACCEPTED, "SEQ_GAP", 2)
        command.seq = result.expected_seq
        assert (await stream.execute(command)).outcome == command_pb2.OUTCOME_APPLIED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c: cursor_pb2.Cursor(epoch=c.epoch, revision=c.revision + 1000), "CURSOR_AHEAD"),
        (lambda c: cursor_pb2.Cursor(epoch="another", revision=c.revision), "EPOCH_CHANGED"),
    ],
    ids=["future", "other epoch"],
)
async def test_a_cursor_that_was_never_given_gets_a_snapshot_that_says_why(
    hub: RunningHub, change: Callable[[cursor_pb2.Cursor], cursor_pb2.Cursor], why: str
) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        cursor = (await stream.command(cart, add_line=add(1))).cursor
        first = await stream.subscribe(cart, since=change(cursor))
        assert first.snapshot.reason == stream_pb2.SnapshotReason.Value(f"SNAPSHOT_REASON_{why}")
        read_reason = {"CURSOR_AHEAD": "CURSOR_AHEAD", "EPOCH_CHANGED": "EPOCH_MISMATCH"}[why]
        read = reads_pb2.GetCartRequest(resource=cart, min_cursor=change(cursor))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await hub.stub.GetCart(read, metadata=shopper.metadata, timeout=5)
        assert error_info(failure.value).reason == read_reason


async def test_a_unary_refusal_carries_the_field_in_both_languages(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await hub.stub.GetCart(reads_pb2.GetCartRequest(resource="carts/42"), metadata=shopper.metadata)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(failure.value).reason == "INVALID_FIELD"
    assert bad_request(failure.value) == ["resource"]
    assert trailer_reason(failure.value) == "INVALID_FIELD"


async def test_a_command_over_the_size_limit_is_refused_and_the_stream_lives(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as stream:
        cart = await stream.create_cart()
        result = await stream.command(cart, set_note={"note": "n" * hub.config.server.max_message_bytes})
        assert (result.outcome, reason(result.error)) == (REJECTED, "MESSAGE_TOO_LARGE")
        assert result.error.field_violations[0].field == "command"
        assert (await stream.command(cart, add_line=add())).outcome == command_pb2.OUTCOME_APPLIED


async def test_any_other_message_over_the_size_limit_ends_its_own_stream_only(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as neighbour, Stream(hub, shopper.token) as stream:
        await stream.send(authenticate={"access_token": "x" * (hub.config.server.max_message_bytes + 1)})
        error = await stream.end()
        assert error is not None
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert trailer_reason(error) == "MESSAGE_TOO_LARGE"
        assert (await neighbour.create_cart()).startswith("carts/")


async def test_a_message_over_the_transport_limit_ends_its_own_stream_only(hub: RunningHub) -> None:
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as neighbour, Stream(hub, shopper.token) as stream:
        await stream.send(authenticate={"access_token": "x" * (5 * 1024 * 1024)})
        error = await stream.end()
        assert error is not None
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await neighbour.create_cart()).startswith("carts/")


@pytest.mark.parametrize(
    "messages",
    [
        [{"ping": {"nonce": 1}}],
        [{"hello": {"client_id": new_id(), "channel": {"kind": "web"}}}] * 2,
        [{"hello": {"client_id": new_id(), "channel": {"kind": "web"}}}, {}],
    ],
    ids=["no hello", "two hellos", "empty message"],
)
async def test_a_stream_out_of_order_is_ended_with_the_reason(hub: RunningHub, messages: list[dict[str, Any]]) -> None:
    shopper = await hub.shopper()
    call: Any = hub.stub.Connect(metadata=shopper.metadata)
    for message in messages:
        await call.write(request(**message))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async for _ in call:
            pass
    assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert trailer_reason(failure.value) == "PROTOCOL_VIOLATION"


async def test_a_stream_that_says_nothing_is_ended(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HELLO_S", 0.1)
    shopper = await hub.shopper()
    call: Any = hub.stub.Connect(metadata=shopper.metadata)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async for _ in call:
            pass
    assert trailer_reason(failure.value) == "PROTOCOL_VIOLATION"


@pytest.mark.parametrize(
    ("hello", "field"),
    [
        ({"client_id": "me", "channel": {"kind": "web"}}, "hello.client_id"),
        ({"client_id": new_id(), "channel": {"kind": "A Till!"}}, "hello.channel.kind"),
        ({"client_id": new_id(), "channel": {"kind": "pos", "name": "x" * 65}}, "hello.channel.name"),
    ],
    ids=["client id", "kind", "name"],
)
async def test_a_malformed_hello_names_its_field(hub: RunningHub, hello: dict[str, Any], field: str) -> None:
    shopper = await hub.shopper()
    call: Any = hub.stub.Connect(metadata=shopper.metadata)
    await call.write(request(hello=hello))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async for _ in call:
            pass
    assert bad_request(failure.value) == [field]


@pytest.mark.parametrize("token", ["", "nonsense", "dev-web-but-wrong"])
async def test_no_valid_token_opens_nothing(hub: RunningHub, token: str) -> None:
    metadata = bearer(token) if token else ()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await hub.stub.GetSession(reads_pb2.GetSessionRequest(), metadata=metadata)
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert trailer_reason(failure.value) == "UNAUTHENTICATED"
    call: Any = hub.stub.Connect(metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call:
            pass
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_foreign_cart_does_not_exist(hub: RunningHub) -> None:
    owner, stranger = await hub.shopper(), await hub.shopper()
    till = hub.token(IdentityKind.TERMINAL, "till-1", "berlin")
    other_tenant = hub.token(IdentityKind.SERVICE, "spy", tenant="other")
    async with Stream(hub, owner.token) as stream:
        cart = await stream.create_cart()
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await hub.stub.GetCart(
                reads_pb2.GetCartRequest(resource=f"carts/{new_id()}"), metadata=bearer(stranger.token)
            )
        for token in (stranger.token, till):
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(token))
            assert trailer_reason(failure.value) == trailer_reason(unknown.value) == "NOT_FOUND"
            async with Stream(hub, token) as other:
                status = await other.subscribe(cart)
                assert reason(status.subscription_status.error) == "NOT_FOUND"
                result = await other.command(cart, add_line=add())
                assert (result.outcome, reason(result.error)) == (NOT_ACCEPTED, "NOT_FOUND")
        with pytest.raises(grpc.aio.AioRpcError):
            await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(other_tenant))
        await stream.subscribe(cart)
        assert stream.lines() == {}


async def test_a_channel_key_only_starts_sessions_and_reads_the_catalog(hub: RunningHub) -> None:
    command = command_pb2.Command(command_id=new_id(), resource=f"carts/{new_id()}")
    command.cart.create_cart.SetInParent()
    answer = await hub.stub.Execute(pb.ExecuteRequest(commands=[command]), metadata=bearer("dev-web"))
    assert reason(answer.results[0].error) == "NOT_ALLOWED"
    call: Any = hub.stub.Connect(metadata=bearer("dev-web"))
    await call.write(request(hello={"client_id": new_id(), "channel": {"kind": "web"}}))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async for _ in call:
            pass
    assert trailer_reason(failure.value) == "NOT_ALLOWED"


async def test_a_client_id_belongs_to_who_used_it_first(hub: RunningHub) -> None:
    first, second = await hub.shopper(), await hub.shopper()
    async with Stream(hub, first.token) as stream:
        call: Any = hub.stub.Connect(metadata=second.metadata)
        hello = {"client_id": stream.client_id, "channel": {"kind": "web"}}
        await call.write(request(hello=hello))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            async for _ in call:
                pass
        assert trailer_reason(failure.value) == "CLIENT_ID_TAKEN"
        assert (await stream.create_cart()).startswith("carts/")
