"""A cart as a channel holds it."""

from typing import Literal, Unpack

from legato import intents
from legato.commerce.v1.address_pb2 import Address
from legato.commerce.v1.quantity_pb2 import Quantity
from legato.errors import NotFound
from legato.handles import CommandOptions, Handle
from legato.intents import Line
from legato.orchestrator.v1.command_pb2 import CommandResult
from legato.overlay import predict
from legato.protocol import entities, resources
from legato.views import CartView


class CartHandle(Handle[CartView]):
    """One cart, or whatever cart is a session's active one.

    Every wish awaits the hub's answer and returns its result, or raises why it was not done: a subclass of Rejected if
    the shop said no, OutcomePending if there is no answer within `timeout`. The wish is kept in the outbox until it has
    a result, through lost connections and restarts of the hub. `expected`, `on_conflict` and `timeout`: see
    CommandOptions. Lines are named by id, by the line a view shows, or by the client line key given to `add`.
    """

    @property
    def target(self) -> str:
        """Name of the cart. Raises NotFound while a session has no active one."""
        if not self._is_active_cart:
            return self.resource
        if not self.replica.target:
            raise NotFound("the session has no active cart; make one with create_cart")
        return self.replica.target

    @property
    def id(self) -> str:
        """Id of the cart; empty while a session has no active one."""
        return (self.replica.target if self._is_active_cart else self.resource).removeprefix("carts/")

    async def add(
        self, sku: str, quantity: int | Quantity = 1, *, client_line_key: str = "", **options: Unpack[CommandOptions]
    ) -> CommandResult:
        """Put so much more of a variant in. The result names the line.

        `client_line_key` is the channel's own name for what it adds, unique in the cart: with it the line can be named
        before the hub has answered.
        """
        return await self._execute(intents.add(sku, quantity, client_line_key=client_line_key), options)

    async def set_quantity(
        self, line: Line, quantity: int | Quantity, **options: Unpack[CommandOptions]
    ) -> CommandResult:
        """Change how much of a line, or of the part a client line key stands for, is wanted; 0 removes it."""
        return await self._execute(intents.set_quantity(line, quantity), options)

    async def remove(self, line: Line, **options: Unpack[CommandOptions]) -> CommandResult:
        """Take a line, or the part a client line key stands for, out."""
        return await self._execute(intents.remove(line), options)

    async def add_discount_code(self, code: str, **options: Unpack[CommandOptions]) -> CommandResult:
        """Enter a discount code. Raises DiscountCodeInvalid for one that is none."""
        return await self._execute(intents.add_discount_code(code), options)

    async def remove_discount_code(self, code: str, **options: Unpack[CommandOptions]) -> CommandResult:
        """Withdraw a discount code."""
        return await self._execute(intents.remove_discount_code(code), options)

    async def set_email(self, email: str, **options: Unpack[CommandOptions]) -> CommandResult:
        """Say where to write to."""
        return await self._execute(intents.set_email(email), options)

    async def set_address(
        self, purpose: Literal["shipping", "billing"], address: Address, **options: Unpack[CommandOptions]
    ) -> CommandResult:
        """Say where to deliver or bill; the whole address replaces the former one."""
        return await self._execute(intents.set_address(purpose, address), options)

    async def set_delivery_option(self, option_id: str, **options: Unpack[CommandOptions]) -> CommandResult:
        """Choose one of `view.cart.fulfilment.available`."""
        return await self._execute(intents.set_delivery_option(option_id), options)

    async def set_note(self, note: str, **options: Unpack[CommandOptions]) -> CommandResult:
        """Leave a note of at most 1,000 characters; an empty one removes it."""
        return await self._execute(intents.set_note(note), options)

    async def cancel(self, **options: Unpack[CommandOptions]) -> CommandResult:
        """Give the cart up."""
        return await self._execute(intents.cancel(), options)

    @property
    def _is_active_cart(self) -> bool:
        return resources.parse(self.resource).kind is resources.Kind.ACTIVE_CART

    def _look(self) -> CartView:
        confirmed = entities.assemble_cart(self.replica.entries)
        commands = self._link.core.unconfirmed(self._subscription)
        return CartView(
            cart=predict(confirmed, commands) if commands else confirmed,
            confirmed=confirmed,
            pending=len(commands),
            cursor=self.replica.cursor,
            connected=self.connected,
            stale=confirmed.provenance.stale,
            channels=self._subscription.presence,
        )
