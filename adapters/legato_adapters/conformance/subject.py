"""What a check gets: the adapter under test, what it claims, and the shop behind it."""

import contextlib
from collections.abc import AsyncIterator

from legato.adapter.v1 import request_context_pb2
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.claims import Claims
from legato_adapters.conformance.loss import Losses
from legato_adapters.conformance.network import Network
from legato_adapters.conformance.shop import Shop, told
from legato_adapters.conformance.stubs import Stubs


class Subject:
    """One adapter with its backend."""

    def __init__(self, network: Network, shop: Shop, claims: Claims, losses: Losses) -> None:
        self.network = network
        self.shop = shop
        self.claims = claims
        self.losses = losses
        self.stubs = Stubs(network.wire())

    @property
    def context(self) -> request_context_pb2.RequestContext:
        """A new one at each call."""
        return self.shop.context()

    def claims_capability(self, capability: str) -> bool:
        return capability in self.claims.capabilities

    def claims_command(self, capability: str, command: str) -> bool:
        return command in self.claims.commands.get(capability, ())

    def effect(self, capability: str) -> str:
        """The effect class of a capability that has commands."""
        return self.claims.effects.get(capability, "UNSPECIFIED")

    def stranger(self) -> "Subject":
        """The same adapter for another tenant; Skipped where the shop file names none."""
        other = told(self.shop.market.other_tenant, "market.other_tenant")
        return Subject(self.network, self.shop.of_tenant(other), self.claims, self.losses)

    def visitor(self) -> CartUser:
        """Somebody without a cart yet."""
        return CartUser(self.stubs.cart, self.context)

    async def shopper(self) -> CartUser:
        """Somebody with a new, empty cart."""
        user = self.visitor()
        await user.apply(create_cart={})
        return user

    @contextlib.asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[Stubs]:
        """Stubs whose calls run to their end and are never answered."""
        async with self.network.losing_answers() as wire:
            yield Stubs(wire)

    @contextlib.asynccontextmanager
    async def cutting(self, after_s: float) -> AsyncIterator[Stubs]:
        """Stubs whose calls are cut off after some time."""
        async with self.network.cutting(after_s) as wire:
            yield Stubs(wire)
