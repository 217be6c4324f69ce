"""The live demo's stage: a hub, a shop, three channels on one cart, and the moves that can be made."""

import itertools
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import legato
from legato_demo.channels import Channel
from legato_demo.hub_process import HubProcess
from legato_demo.hubs import Hubs, open_hubs
from legato_demo.identities import Identities

HELP = (
    "web add 2 [SKU] · app set 5 [SKU] · till remove [SKU] · web code WELCOME10 · web note TEXT · "
    "cut · mend (the till's network) · kill · start (the hub; of several: kill 2) · auto · help · quit"
)


class Stage:
    """What is on the stage."""

    def __init__(self, hubs: Hubs, channels: list[Channel]) -> None:
        self.shop = hubs.shop
        self.hubs = hubs
        self.channels = {channel.label: channel for channel in channels}

    async def do(self, text: str) -> tuple[str, legato.PendingCommand | None]:
        """Make a move that was typed: what to tell about it, and the command if it is one.

        Raise ValueError for what is no move.
        """
        match shlex.split(text):
            case ["help"]:
                return HELP, None
            case ["cut"]:
                await self.hubs.network.cut()
                return "the till has no network", None
            case ["mend"]:
                await self.hubs.network.mend()
                return "the till's network is back", None
            case ["kill", *number]:
                hub = self._hub(number)
                await hub.kill()
                return f"{hub.name} was killed with SIGKILL", None
            case ["start", *number]:
                hub = self._hub(number)
                await hub.start()
                return f"{hub.name} is up again", None
            case [label, verb, *rest] if label in self.channels:
                return f"{label}: {verb} {' '.join(rest)}", self._move(self.channels[label], verb, rest)
        raise ValueError(f"no such move. {HELP}")

    def _move(self, channel: Channel, verb: str, rest: list[str]) -> legato.PendingCommand:
        """Moves are submitted, not awaited: a channel that is offline keeps them in its outbox."""
        make = legato.intents
        match verb, rest:
            case "add", [steps, *sku]:
                intent = make.add(sku[0] if sku else self.shop.sku, int(steps))
            case "set", [steps, *sku]:
                intent = make.set_quantity(self._line(channel, sku), int(steps))
            case "remove", sku:
                intent = make.remove(self._line(channel, sku))
            case "code", [code]:
                intent = make.add_discount_code(code)
            case "note", words:
                intent = make.set_note(" ".join(words))
            case _:
                raise ValueError(f"no such move. {HELP}")
        return channel.cart.submit(intent)

    def _hub(self, number: list[str]) -> HubProcess:
        match number:
            case []:
                return self.hubs.all[0]
            case [text] if text.isdecimal() and 1 <= int(text) <= len(self.hubs.all):
                return self.hubs.all[int(text) - 1]
        raise ValueError(f"there is no such hub; there are {len(self.hubs.all)}")

    def _line(self, channel: Channel, sku: list[str]) -> str:
        wanted = sku[0] if sku else self.shop.sku
        for line in channel.cart.view.confirmed.lines:
            if line.sku == wanted:
                return line.id
        raise ValueError(f"the cart has no {wanted}")

    def script(self) -> Iterator[str]:
        """Moves for whoever only wants to look, again and again."""
        return itertools.cycle(
            [
                "web add 2",
                "app add 1",
                "till add 4",
                "cut",
                "web add 8",
                "app set 3",
                "mend",
                "till add 1",
                "web remove",
            ]
        )


@asynccontextmanager
async def open_stage(backend: str, count: int = 1) -> AsyncIterator[Stage]:
    """A running stage; leaving it drains the hubs."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="legato-demo-")))
        hubs = await stack.enter_async_context(open_hubs(folder, backend, count))
        for hub in hubs.all:
            await hub.start()
        stack.push_async_callback(hubs.stop)
        identities = Identities(hubs.secret)
        credential = identities.customer("ada", "Ada")
        channels = []
        for label in ("web", "app"):
            client = await stack.enter_async_context(
                legato.connect(hubs.targets(label), channel_key=f"dev-{label}", channel=label)
            )
            await client.sign_in(credential)
            cart = await client.create_cart() if label == "web" else client.active_cart()
            channels.append(Channel(label, client, cart))
        code = (await channels[0].hub.share_cart(channels[0].cart.id)).code
        token = identities.terminal("till-4", "berlin")
        client = await stack.enter_async_context(
            legato.connect(hubs.targets("till"), access_token=token, channel="pos", name="Till 4")
        )
        channels.append(Channel("till", client, await client.look_up_cart(code)))
        yield Stage(hubs, channels)
