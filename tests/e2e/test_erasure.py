"""`legato erase` against running hubs: nothing of the customer is left in the storage, on any hub, for anybody."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import pytest

from legato.commerce.v1 import address_pb2, cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import admin_service_pb2, admin_service_pb2_grpc, command_pb2, error_pb2, reads_pb2
from legato.protocol import resources
from legato.protocol.ids import new_id
from legato_hub.config import StorageConfig
from legato_hub.core.identity import IdentityKind
from tests.storage import valkey_servers
from tests.storage.test_erase import everything_on
from tests.support.errors import trailer_reason
from tests.support.hub import RunningHub, bearer, hub_config, running_hub
from tests.support.shop import SKU
from tests.support.stream import Stream

CUSTOMER = "wintergarten-4711"
EMAIL, STREET, NOTE = "hieronymus@wintergarten.example", "7 Unmistakable Lane", "Leave it with Xanthippe"
SECRETS = [text.encode() for text in (CUSTOMER, CUSTOMER.title(), EMAIL, STREET, NOTE, "PRODUCT-LOOKED-AT")]


class Hubs:
    """Two hubs where the engine allows it, and one twice where it does not; `kept` is all that the engine keeps."""

    def __init__(self, first: RunningHub, second: RunningHub, kept: Callable[[], list[bytes]]) -> None:
        self.first = first
        self.second = second
        self.kept = kept

    def secrets(self) -> list[bytes]:
        """What of the customer can be found."""
        places = self.kept()
        return [secret for secret in SECRETS if any(secret in place for place in places)]


@pytest.fixture(scope="module", autouse=True)
def stop_servers() -> Iterator[None]:
    yield
    valkey_servers.stop_all()


@pytest.fixture(params=["sqlite", "valkey"])
async def hubs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hubs]:
    config = hub_config(tmp_path)
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            file = tmp_path / "hub.sqlite3"
            hub = await stack.enter_async_context(running_hub(config))
            yield Hubs(hub, hub, lambda: [file.read_bytes(), Path(f"{file}-wal").read_bytes()])
            return
        (port,) = valkey_servers.standalone()
        config = msgspec.structs.replace(config, storage=StorageConfig(url=f"valkey://127.0.0.1:{port}/0"))
        first, second = [await stack.enter_async_context(running_hub(config)) for _ in range(2)]
        yield Hubs(first, second, lambda: everything_on(port))


def add() -> cart_intent_pb2.AddLine:
    return cart_intent_pb2.AddLine(sku=SKU, quantity=quantity_pb2.Quantity(steps=1))


@pytest.fixture
async def faults() -> list[dict[str, Any]]:
    """What the loop was told of exceptions that nobody caught."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


async def test_no_byte_of_a_customer_is_left(hubs: Hubs, faults: list[dict[str, Any]]) -> None:
    guest = await hubs.first.shopper()
    signed_in = await hubs.first.stub.SignIn(
        reads_pb2.SignInRequest(credential=hubs.first.credential(CUSTOMER)), metadata=guest.metadata
    )
    token, session = signed_in.access_token, resources.session(signed_in.session.id)
    service = hubs.second.token(IdentityKind.SERVICE, "crm")
    async with (
        Stream(hubs.first, token) as web,
        Stream(hubs.second, token, channel="app") as app,
        Stream(hubs.second, service, channel="crm") as crm,
        Stream(hubs.second, service, channel="erp") as erp,
    ):
        cart = await web.create_cart()
        await web.subscribe(cart)
        await app.subscribe(cart)
        for stream in (crm, erp):
            await stream.subscribe(cart)
        await app.subscribe(session, "session")
        await app.subscribe(f"{session}/active_cart", "active")
        address = address_pb2.Address(last_name=CUSTOMER, street=STREET, city="Gera", country="DE", first_name="H")
        purpose = address_pb2.ADDRESS_PURPOSE_SHIPPING
        await web.command(cart, set_address=cart_intent_pb2.SetAddress(purpose=purpose, address=address))
        await web.command(cart, set_note=cart_intent_pb2.SetNote(note=NOTE))
        last = await web.command(cart, set_email=cart_intent_pb2.SetEmail(email=EMAIL))
        look = command_pb2.Command(command_id=new_id(), resource=session, seq=1)
        look.session.view_product.product_id = "PRODUCT-LOOKED-AT"
        assert (await app.execute(look)).outcome == command_pb2.OUTCOME_APPLIED
        again = command_pb2.Command(command_id=new_id(), resource=cart, seq=5)
        again.cart.add_line.CopyFrom(add())
        applied = await web.execute(again)
        assert applied.outcome == command_pb2.OUTCOME_APPLIED
        await app.until_revision(applied.cursor.revision)
        assert last.outcome == command_pb2.OUTCOME_APPLIED
        await hubs.second.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(token))
        assert hubs.secrets() == SECRETS

        start = {stream: len(stream.received) for stream in (web, app, crm, erp)}
        said = await legato_erase(hubs.first)
        assert said == (0, "erased 1 sessions and 1 carts")

        assert hubs.secrets() == []
        every = (web, "s"), (app, "s"), (app, "session"), (app, "active"), (crm, "s"), (erp, "s")
        for stream, subscription in every:
            ended = await stream.where(
                lambda m, s=subscription: (
                    m.subscription_status.subscription_id == s and m.subscription_status.HasField("error")
                ),
                start[stream],
            )
            assert ended.subscription_status.error.reason == error_pb2.ERROR_REASON_NOT_FOUND
        for stream in (web, app):
            assert not any(
                message.snapshot.payload or message.delta.payload for message in stream.received[start[stream] :]
            )
            refused = await stream.execute(again)
            assert refused.outcome == command_pb2.OUTCOME_NOT_ACCEPTED
            assert refused.error.reason == error_pb2.ERROR_REASON_NOT_FOUND
        for hub in (hubs.first, hubs.second):
            assert await read(hub, cart) == "NOT_FOUND"
            assert CUSTOMER not in repr([vars(live) for live in hub.hub._resources._live.values()])
    assert hubs.secrets() == []
    gc.collect()  # which is when a task's exception is told of
    assert faults == []


async def read(hub: RunningHub, cart: str) -> str:
    """Why a service cannot read a cart."""
    service = hub.token(IdentityKind.SERVICE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await hub.stub.GetCart(reads_pb2.GetCartRequest(resource=cart), metadata=bearer(service))
    return trailer_reason(caught.value)


async def legato_erase(hub: RunningHub) -> tuple[int, str]:
    """Exit status and output of the command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "legato_hub.cli", "erase", CUSTOMER, "--target", hub.target),
        *("--token", hub.token(IdentityKind.OPERATOR, "anna")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode is not None
    return process.returncode, output.decode().strip()


@pytest.mark.parametrize(
    ("kind", "customer", "reason"),
    [
        (IdentityKind.SERVICE, CUSTOMER, "NOT_ALLOWED"),
        (IdentityKind.TERMINAL, CUSTOMER, "NOT_ALLOWED"),
        (IdentityKind.OPERATOR, "", "INVALID_FIELD"),
        (IdentityKind.OPERATOR, "x" * 257, "INVALID_FIELD"),
    ],
)
async def test_who_may_not_or_names_nobody_is_refused(
    hub: RunningHub, kind: IdentityKind, customer: str, reason: str
) -> None:
    admin: admin_service_pb2_grpc.AdminServiceAsyncStub = admin_service_pb2_grpc.AdminServiceStub(hub.channel)
    request = admin_service_pb2.EraseCustomerRequest(customer_id=customer)
    token = hub.token(kind, "x", "berlin" if kind is IdentityKind.TERMINAL else "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.EraseCustomer(request, metadata=bearer(token))
    assert trailer_reason(caught.value) == reason


async def test_the_command_says_why_it_could_not(hub: RunningHub) -> None:
    await hub.hub.stop()
    status, output = await legato_erase(hub)
    assert status == 1
    assert output.startswith("legato: ")
