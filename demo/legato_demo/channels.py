"""The demo's three channels: real clients of the hub, each with what it shows."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import legato
from legato.protocol import state

AGREE_TIMEOUT_S = 20.0


@dataclass
class Channel:
    """One connected channel and the cart it shows."""

    label: str
    hub: legato.Hub
    cart: legato.CartHandle

    @property
    def lines(self) -> dict[str, int]:
        """What the channel shows: steps by sku."""
        return {line.sku: line.quantity.steps for line in self.cart.view.cart.lines}

    @property
    def revision(self) -> int:
        """Revision of what the hub has told the channel."""
        cursor = self.cart.view.cursor
        return cursor.revision if cursor is not None else 0

    @property
    def digest(self) -> str:
        """Digest of what the hub has told the channel."""
        return state.digest(self.cart.replica.entries).hex()[:12]

    def add_later(self, sku: str, steps: int) -> legato.PendingCommand:
        """Add, and do not wait for it: what is done offline stays in the outbox."""
        return self.cart.submit(legato.intents.add(sku, steps))

    async def until(self, what: Callable[["Channel"], bool]) -> None:
        """Wait until something holds of the channel. Raise TimeoutError."""
        async with asyncio.timeout(AGREE_TIMEOUT_S):
            async for _ in self.cart.watch():
                if what(self):
                    return

    async def shows(self, lines: dict[str, int]) -> None:
        """Wait until the hub has confirmed exactly these lines to the channel."""
        await self.until(lambda channel: channel.lines == lines and not channel.cart.view.pending)
