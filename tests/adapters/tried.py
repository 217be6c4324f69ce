"""The adapters under test with the shops behind them, as their own shop files describe them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from legato.adapter.v1 import request_context_pb2
from legato.commerce.v1 import cart_intent_pb2
from legato_adapters.conformance import Shop, read_shop

ALL_INTENTS = frozenset(descriptor.name for descriptor in cart_intent_pb2.CartIntent.DESCRIPTOR.fields)
PACKAGE = Path(__file__).resolve().parents[2] / "adapters/legato_adapters"


@dataclass(frozen=True)
class Tried:
    """One adapter of this repository."""

    name: str
    """Of its package."""

    @property
    def factory(self) -> str:
        return f"legato_adapters.{self.name}:create"

    @property
    def folder(self) -> Path:
        return PACKAGE / self.name

    @cached_property
    def shop(self) -> Shop:
        return read_shop(self.folder / "conformance.toml")

    def context(self, *, tenant: str = "") -> request_context_pb2.RequestContext:
        shop = self.shop.of_tenant(tenant) if tenant else self.shop
        return shop.context()


REFERENCE = Tried("reference")
VENDURE = Tried("vendure")
COMMERCETOOLS = Tried("commercetools")
