"""No log line tells who a shopper is or what would let somebody in, whatever goes wrong, at any level."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from legato.commerce.v1 import address_pb2, cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, reads_pb2
from legato.protocol.ids import new_id
from legato_hub.config import LoggingConfig, StorageConfig, default_config, show
from legato_hub.storage.base import StorageError
from legato_hub.telemetry import logs
from tests.support import wayward
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import Stream

EMAIL, NAME, STREET, CUSTOMER = "ada.lovelace@planted.example", "Adeline Planted", "Planted Lane 7", "planted-customer"
NOTE, CODE = "ring at Planted's", "PLANTEDCODE"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged, at the lowest level."""
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(LoggingConfig(level="debug", format="json"), stream)
    yield stream
    root.handlers[:], root.level = before
    for name in ("legato", "legato_hub", "legato_adapters", "legato_demo"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def address() -> cart_intent_pb2.SetAddress:
    where = address_pb2.Address(
        first_name="Ada", last_name=NAME, street=STREET, city="Berlin", postal_code="10115", country="DE"
    )
    return cart_intent_pb2.SetAddress(purpose=address_pb2.ADDRESS_PURPOSE_SHIPPING, address=where)


async def crash(request: Any, context: Any) -> Any:
    raise RuntimeError(f"duplicate key: ({EMAIL}, {NAME}) in customers")


async def nonsense(request: Any, context: Any) -> Any:
    raise KeyError(EMAIL) from ValueError(STREET)


async def shop(hub: RunningHub, secrets: list[str]) -> None:
    """Sign in, say everything about oneself, share the cart; then everything fails."""
    shopper = await hub.shopper()
    credential = hub.credential(CUSTOMER)
    secrets += [shopper.token, credential, hub.config.auth.secret.reveal()]
    async with Stream(hub, shopper.token) as phone:
        cart = await phone.create_cart()
        await phone.subscribe(cart)
        await phone.command(cart, set_email=cart_intent_pb2.SetEmail(email=EMAIL))
        await phone.command(cart, set_address=address())
        await phone.command(cart, set_note=cart_intent_pb2.SetNote(note=NOTE))
        rejected = await phone.command(cart, set_email=cart_intent_pb2.SetEmail(email=f"{EMAIL} and more"))
        assert rejected.outcome == command_pb2.OUTCOME_REJECTED
        await phone.command(cart, add_discount_code=cart_intent_pb2.AddDiscountCode(code=CODE))
        await hub.stub.SignIn(reads_pb2.SignInRequest(credential=credential), metadata=shopper.metadata)
        shared = await hub.stub.ShareCart(
            reads_pb2.ShareCartRequest(cart_id=cart.removeprefix("carts/")), metadata=shopper.metadata
        )
        secrets += [shared.code, shared.code.replace("-", "")]

        # A storage that fails, and quotes too.
        async def broken(*_: Any, **__: Any) -> Any:
            raise StorageError("the engine is gone") from RuntimeError(f"row {EMAIL} of {NAME}")

        storage: Any = hub.hub._storage
        kept, storage.begin, storage.load = (storage.begin, storage.load), broken, broken
        refused = await phone.execute(_email(hub, cart))
        assert refused.outcome == command_pb2.OUTCOME_NOT_ACCEPTED

        # A fault of the hub itself.
        async def faulty(*_: Any, **__: Any) -> Any:
            raise AssertionError(f"unforeseen: {EMAIL}")

        storage.begin, storage.load = faulty, kept[1]
        assert (await phone.execute(_email(hub, cart))).outcome == command_pb2.OUTCOME_NOT_ACCEPTED
        storage.begin, storage.load = kept


async def call_a_faulty_adapter(hub: RunningHub) -> None:
    """It quotes what it choked on, when a command is executed, resolved, and when a cart is read."""
    shopper = await hub.shopper()
    async with Stream(hub, shopper.token) as phone:
        cart = await phone.create_cart()
        wayward.of(hub).instead = {"ApplyCommand": crash, "ResolveCommand": nonsense, "GetCart": crash}
        await phone.subscribe(cart)
        add = command_pb2.Command(command_id=new_id(), resource=cart, seq=2)
        add.timeout.FromMilliseconds(300)
        add.cart.add_line.CopyFrom(cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=1)))
        result = await phone.execute(add)
        assert result.outcome == command_pb2.OUTCOME_UNKNOWN, result


async def forget_a_task() -> None:
    async def forgotten() -> None:
        raise ValueError(f"nobody waits for {EMAIL}")

    # The loop's handler hears of it when the collector finds it; here at once, in the same words.
    task = asyncio.create_task(forgotten(), name=f"greet {EMAIL}")
    await asyncio.wait({task})
    message = f"Task exception was never retrieved\nfuture: {task!r}"
    context = {"message": message, "exception": task.exception(), "future": task}
    asyncio.get_running_loop().call_exception_handler(context)


def _email(hub: RunningHub, cart: str) -> command_pb2.Command:
    command = command_pb2.Command(command_id=new_id(), resource=cart)
    command.cart.set_email.email = EMAIL
    return command


@pytest.mark.parametrize("effect_class", ["KEYED", "NONE"])
async def test_nothing_that_was_planted_is_logged(tmp_path: Path, written: io.StringIO, effect_class: str) -> None:
    asyncio.get_running_loop().set_exception_handler(logs.unhandled)
    secrets: list[str] = []
    async with running_hub(hub_config(tmp_path)) as hub:
        await shop(hub, secrets)
    backends = {"wayward": wayward.backend(str(tmp_path / "ledger"), effect_class)}
    async with running_hub(hub_config(tmp_path, backends=backends, cart="wayward")) as hub:
        await call_a_faulty_adapter(hub)
    await forget_a_task()
    text = written.getvalue()
    lines = [json.loads(line) for line in text.splitlines()]
    # It was not silent: each of the failures was told of.
    assert {"the storage failed", "a command failed", "nobody handled a failure"} <= {line["message"] for line in lines}
    assert any("StorageError: the engine is gone" in line.get("exception", "") for line in lines)
    assert any("RuntimeError" in line.get("exception", "") for line in lines)
    for planted in (EMAIL, NAME, STREET, CUSTOMER, NOTE, CODE, "shop.planted", *secrets):
        assert planted.lower() not in text.lower(), planted


def test_libraries_are_not_heard_debugging(written: io.StringIO) -> None:
    logging.getLogger("aiohttp.client").debug("POST %s", EMAIL)
    logging.getLogger("legato_hub.x").debug("ours")
    assert [json.loads(line)["message"] for line in written.getvalue().splitlines()] == ["ours"]


def test_a_password_in_a_url_is_not_shown() -> None:
    storage = StorageConfig(url="valkey://legato:planted-password@carts.internal:6379/0")
    shown = show(msgspec.structs.replace(default_config(), storage=storage))
    assert 'url = "valkey://********@carts.internal:6379/0"' in shown
