"""A shopper's session as a channel holds it."""

from typing import Unpack

from legato.handles import CommandOptions, Handle
from legato.orchestrator.v1 import session_intent_pb2
from legato.orchestrator.v1.command_pb2 import CommandResult
from legato.orchestrator.v1.session_intent_pb2 import SessionIntent
from legato.protocol import entities
from legato.views import SessionView


class SessionHandle(Handle[SessionView]):
    """One session. Wishes await the hub's answer, as those of a cart do."""

    @property
    def target(self) -> str:
        return self.resource

    @property
    def id(self) -> str:
        """Id of the session."""
        return self.resource.removeprefix("sessions/")

    async def view_product(self, product_id: str, sku: str = "", **options: Unpack[CommandOptions]) -> CommandResult:
        """Remember that a product was looked at."""
        intent = session_intent_pb2.ViewProduct(product_id=product_id, sku=sku)
        return await self._execute(SessionIntent(view_product=intent), options)

    async def clear_history(self, **options: Unpack[CommandOptions]) -> CommandResult:
        """Forget the browsing history."""
        return await self._execute(SessionIntent(clear_history=session_intent_pb2.ClearHistory()), options)

    async def set_consent(self, purpose: str, granted: bool, **options: Unpack[CommandOptions]) -> CommandResult:
        """Grant or refuse a purpose, for example "personalisation"."""
        intent = session_intent_pb2.SetConsent(purpose=purpose, granted=granted)
        return await self._execute(SessionIntent(set_consent=intent), options)

    async def activate_cart(self, cart_id: str, **options: Unpack[CommandOptions]) -> CommandResult:
        """Make one of the session's carts the one that every channel shows; empty for none."""
        intent = session_intent_pb2.ActivateCart(cart_id=cart_id)
        return await self._execute(SessionIntent(activate_cart=intent), options)

    async def sign_out(self, **options: Unpack[CommandOptions]) -> CommandResult:
        """Become anonymous again, on every channel of the session."""
        return await self._execute(SessionIntent(sign_out=session_intent_pb2.SignOut()), options)

    def _look(self) -> SessionView:
        return SessionView(
            session=entities.assemble_session(self.replica.entries),
            pending=len(self._link.core.unconfirmed(self._subscription)),
            cursor=self.replica.cursor,
            connected=self.connected,
            channels=self._subscription.presence,
        )
