"""What only the reference adapter promises of orders and what hangs on them: stock, secrets, several processes."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import event_service_pb2, inventory_service_pb2, order_service_pb2
from legato.local_channel import LocalChannel
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from legato_adapters.reference import answer_challenge, create, events
from tests.adapters.tried import REFERENCE
from tests.support.adapter_process import running_adapter
from tests.support.shopper import Shopper

Code = grpc.StatusCode


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Stubs]:
    adapter = create(**options)
    try:
        async with LocalChannel() as channel:
            adapter.add_to(channel)
            await adapter.start()
            yield Stubs(channel)
    finally:
        await adapter.close()


async def stock(stubs: Stubs, sku: str) -> dict[str, int]:
    request = inventory_service_pb2.GetAvailabilityRequest(context=REFERENCE.context(), skus=[sku])
    answer = await stubs.inventory.GetAvailability(request, timeout=TIMEOUT_S)
    return {entry.location_id: entry.available.steps for entry in answer.availability}


async def with_stoves(shopper: Shopper, steps: int, option: str = "standard") -> CartUser:
    user = await shopper.cart(1)
    await user.add("STOVE-TI", steps)
    await user.apply(set_delivery_option={"option_id": option})
    return user


async def test_orders_take_the_goods_and_cancelling_gives_them_back() -> None:
    async with opened() as stubs:
        shopper = Shopper(REFERENCE, stubs)
        assert await stock(stubs, "STOVE-TI") == {"": 5, "berlin-mitte": 3, "hamburg-hafen": 2}
        waiting = await with_stoves(shopper, 2)
        order = await shopper.order(await with_stoves(shopper, 4))
        assert await stock(stubs, "STOVE-TI") == {"": 1, "berlin-mitte": 0, "hamburg-hafen": 1}
        answer = await stubs.order.ApplyOrderCommand(shopper.to_order(waiting), timeout=TIMEOUT_S)
        assert answer.rejection.reason == order_service_pb2.ORDER_REJECTION_REASON_INSUFFICIENT_STOCK
        stove = next(line for line in waiting.cart.lines if line.sku == "STOVE-TI")
        assert answer.rejection.paths == [f"line/{stove.id}"]
        late = await waiting.refused(set_line_quantity={"line": {"line_id": stove.id}, "quantity": {"steps": 3}})
        assert late.available_steps == 1
        await stubs.order.ApplyOrderCommand(shopper.to_cancel(order.id), timeout=TIMEOUT_S)
        assert await stock(stubs, "STOVE-TI") == {"": 5, "berlin-mitte": 3, "hamburg-hafen": 2}
        await shopper.order(waiting)


async def test_what_is_collected_lies_where_it_is_collected() -> None:
    async with opened() as stubs:
        shopper = Shopper(REFERENCE, stubs)
        await shopper.order(await with_stoves(shopper, 2, "pickup-hamburg"))
        assert await stock(stubs, "STOVE-TI") == {"": 3, "berlin-mitte": 3, "hamburg-hafen": 0}


async def test_the_last_one_is_sold_once(path: str) -> None:
    """Two adapters on one file, one of them in another process."""
    with running_adapter(REFERENCE.factory, {"path": path}) as process:
        async with opened(path=path) as here, grpc.aio.insecure_channel(process.address) as channel:
            shoppers = [Shopper(REFERENCE, here), Shopper(REFERENCE, Stubs(channel))]
            users = [await with_stoves(shopper, 3) for shopper in shoppers * 3]
            answers = await asyncio.gather(
                *(
                    shopper.stubs.order.ApplyOrderCommand(shopper.to_order(user), timeout=TIMEOUT_S)
                    for shopper, user in zip(shoppers * 3, users, strict=True)
                )
            )
            sold = [answer for answer in answers if not answer.HasField("rejection")]
            assert len(sold) == 1
            assert (await stock(here, "STOVE-TI"))[""] == 2


async def test_a_command_is_known_in_another_process_and_another_life(path: str) -> None:
    with running_adapter(REFERENCE.factory, {"path": path}) as process:
        async with grpc.aio.insecure_channel(process.address) as channel:
            shopper = Shopper(REFERENCE, Stubs(channel))
            request = shopper.to_authorize()
            payment = await shopper.pay(request)
        process.kill()
    async with opened(path=path) as stubs:
        again = await Shopper(REFERENCE, stubs).pay(request)
        assert (again.id, again.transactions) == (payment.id, payment.transactions)


async def test_a_locked_file_is_told_to_have_had_no_effect(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legato_adapters.reference.database._BUSY_TIMEOUT_S", 0.01)
    async with opened(path=path) as stubs:
        shopper = Shopper(REFERENCE, stubs)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shopper.pay(shopper.to_authorize())
        assert caught.value.code() is Code.UNAVAILABLE
        assert dict(caught.value.trailing_metadata())["legato-effect"] == "none"
        connection.close()
        await shopper.pay(shopper.to_authorize())


async def test_old_changes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 3)
    async with opened() as stubs:
        shopper = Shopper(REFERENCE, stubs)

        async def after(cursor: str) -> event_service_pb2.ListChangesResponse:
            request = event_service_pb2.ListChangesRequest(context=shopper.context, cursor=cursor, limit=10)
            return await stubs.event.ListChanges(request, timeout=TIMEOUT_S)

        start = (await after("")).cursor
        for _ in range(3):
            await shopper.customer()
        assert len((await after(start)).changes) == 3
        await shopper.customer()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await after(start)
        assert caught.value.code() is Code.OUT_OF_RANGE


async def test_without_a_secret_no_webhook_is_believed() -> None:
    async with opened() as stubs:
        request = event_service_pb2.ParseWebhookRequest(context=REFERENCE.context(), body=b"{}")
        request.headers.add(name=events.SIGNATURE, value=events.sign("", b"{}", 0))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.event.ParseWebhook(request, timeout=TIMEOUT_S)
        assert caught.value.code() is Code.FAILED_PRECONDITION


async def test_a_password_is_nowhere_in_the_file(path: str) -> None:
    password = f"hunter2-{new_id()}"
    async with opened(path=path) as stubs:
        await Shopper(REFERENCE, stubs).customer(password=password)
    assert password.encode() not in await asyncio.to_thread(Path(path).read_bytes)


async def test_only_who_is_asked_can_answer(path: str) -> None:
    async with opened(path=path) as stubs:
        payment = await Shopper(REFERENCE, stubs).pay(Shopper(REFERENCE, stubs).to_authorize())
        for payment_id in (payment.id, "4711"):
            with pytest.raises(LookupError):
                answer_challenge(path, payment_id, approves=True)


async def test_a_file_of_before_there_were_orders(path: str) -> None:
    """Its tables are made, and what it has of the shop stays: no content, locations without an address."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE shop (kind TEXT, position INTEGER, body TEXT, PRIMARY KEY (kind, position))")
    connection.execute("""INSERT INTO shop VALUES ('location', 0, '{"id": "berlin", "name": "Berlin"}')""")
    connection.close()
    async with opened(path=path) as stubs:
        assert (await Shopper(REFERENCE, stubs).customer()).id == "1"
