"""What is compared: a server process, and what a client needs to know to use it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.client import WrongWorkError, open_channel
from bench.processes import ServerProcess, server
from legato.commerce.v1 import cart_intent_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, orchestrator_service_pb2, orchestrator_service_pb2_grpc, reads_pb2
from legato.protocol import resources
from legato.protocol.ids import new_id

REFERENCE_SKUS = ("PEG-ALU", "LOF2-GRN", "TENT-SOLO", "TARP-34-OLV")
"""In the seeded shop. There are a hundred million of the first, for load tests."""
CHANNEL_KEY = "dev-web"
BASELINE, HUB = "bench.baseline", "bench.hub_server"
"""The modules that serve."""


@dataclass
class Side:
    """The bare server, or a hub with its adapter."""

    process: ServerProcess
    adapter: str = ""
    """Empty for the bare server."""
    token: str = "nobody"

    @property
    def is_hub(self) -> bool:
        return self.adapter != ""

    async def sign_on(self) -> None:
        """Start a shopper's session."""
        if self.is_hub:
            async with open_channel(self.process.port) as channel:
                stub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
                metadata = (("authorization", f"Bearer {CHANNEL_KEY}"),)
                answer = await stub.StartSession(reads_pb2.StartSessionRequest(), metadata=metadata)
            self.token = answer.access_token

    async def new_carts(self, count: int) -> list[str]:
        """Names of so many carts with lines in them."""
        names = [resources.cart(new_id()) for _ in range(count)]
        if self.is_hub:
            async with open_channel(self.process.port) as channel:
                stub = orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel)
                for name in names:
                    request = orchestrator_service_pb2.ExecuteRequest(commands=self._making(name))
                    answer = await stub.Execute(request, metadata=(("authorization", f"Bearer {self.token}"),))
                    if any(result.outcome != command_pb2.OUTCOME_APPLIED for result in answer.results):
                        raise WrongWorkError(f"{self.process.name} makes no cart: {answer}")
        return names

    def _making(self, name: str) -> list[command_pb2.Command]:
        intents = [cart_intent_pb2.CartIntent(create_cart=cart_intent_pb2.CreateCart())]
        if self.adapter == "reference":
            one = quantity_pb2.Quantity(steps=1)
            adds = (cart_intent_pb2.AddLine(sku=sku, quantity=one) for sku in REFERENCE_SKUS)
            intents += [cart_intent_pb2.CartIntent(add_line=add) for add in adds]
        return [command_pb2.Command(command_id=new_id(), resource=name, cart=intent) for intent in intents]


@asynccontextmanager
async def bare_side(name: str, storage_url: str = "") -> AsyncIterator[Side]:
    """The bare server, running; without a storage it stores no command."""
    async with server(name, BASELINE, *filter(None, [storage_url])) as process:
        yield Side(process)


@asynccontextmanager
async def hub_side(
    name: str, folder: Path, adapter: str = "null", storage_url: str = "", environment: Mapping[str, str] | None = None
) -> AsyncIterator[Side]:
    """A hub, running, with its files in `folder`; nobody has signed on yet."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing is measured or served by this loop meanwhile
    arguments = (str(folder), adapter, *filter(None, [storage_url]))
    async with server(name, HUB, *arguments, environment=environment) as process:
        yield Side(process, adapter)
