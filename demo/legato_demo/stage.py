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
from legato_demo.identities import Identities
from legato_demo.network import Network
from legato_demo.shops import SHOPS, Shop

HELP = (
    "web add 2 [SKU] · app set 5 [SKU] · till remove [SKU] · web code WELCOME10 · web note TEXT · "
    "cut · mend (the till's network) · kill · start (the hub) · auto · help · quit"
)


class Stage:
    """What is on the stage."""

    def __init__(self, shop: Shop, hub: HubProcess, network: Network, channels: list[Channel]) -> None:
        self.shop = shop
        self.hub = hub
        self.network = network
        self.channels = {channel.label: channel for channel in channels}

    async def do(self, text: str) -> tuple[str, legato.PendingCommand | None]:
        """Make a move that was typed: what to tell about it, and the command if it is one.

        Raise ValueError for what is no move.
        """
        match shlex.split(text):
            case ["help"]:
                return HELP, None
            case ["cut"]:
                await self.network.cut()
                return "the till has no network", None
            case ["mend"]:
                await self.network.mend()
                return "the till's network is back", None
            case ["kill"]:
                await self.hub.kill()
                return "the hub was killed with SIGKILL", None
            case ["start"]:
                await self.hub.start()
                return "the hub is up again", None
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
async def open_stage(backend: str) -> AsyncIterator[Stage]:
    """A running stage; leaving it drains the hub."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="legato-demo-")))
        shop = await stack.enter_async_context(SHOPS[backend](folder))
        hub = HubProcess(folder, shop.config)
        await hub.start()
        stack.push_async_callback(hub.stop)
        network = Network(hub.port)
        await network.mend()
        stack.push_async_callback(network.cut)
        identities = Identities(hub.secret)
        credential = identities.customer("ada", "Ada")
        channels = []
        for label in ("web", "app"):
            client = await stack.enter_async_context(
                legato.connect(hub.target, channel_key=f"dev-{label}", channel=label)
            )
            await client.sign_in(credential)
            cart = await client.create_cart() if label == "web" else client.active_cart()
            channels.append(Channel(label, client, cart))
        code = (await channels[0].hub.share_cart(channels[0].cart.id)).code
        token = identities.terminal("till-4", "berlin")
        target = f"127.0.0.1:{network.port}"
        client = await stack.enter_async_context(
            legato.connect(target, access_token=token, channel="pos", name="Till 4")
        )
        channels.append(Channel("till", client, await client.look_up_cart(code)))
        yield Stage(shop, hub, network, channels)
