"""`legato demo --once`: a play that checks itself.

Added quantities are powers of two, so that a loss or a doubling can be read off the sum.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import legato
from legato.orchestrator.v1 import reads_pb2
from legato_demo.channels import Channel
from legato_demo.hub_process import HubProcess
from legato_demo.hubs import Hubs, open_hubs
from legato_demo.identities import Identities

EXPECTED = 255
"""1 + 2 + 4 + … + 128."""

CALLS = ("web", "web", "app", "till", "web", "app", "till", "app")
"""Who has the backend do something, until the hub dies: the web created the cart, the app added 64."""


async def play(backend: str, count: int) -> bool:
    """Play the script; whether everybody agrees in the end, with each other and with the backend."""
    with TemporaryDirectory(prefix="legato-demo-") as name:
        folder = Path(name)
        say("", f"starting {'a hub' if count == 1 else f'{count} hubs'} on {backend} …")
        async with open_hubs(folder, backend, count) as hubs, AsyncExitStack() as stack:
            doomed = hubs.of("app")
            killed_at = sum(hubs.of(caller) is doomed for caller in CALLS)
            for hub in hubs.all:
                await hub.start(f"write.after_adapter=kill@{killed_at}" if hub is doomed else "")
            agreed = await _play(hubs, folder, stack)
            drained = await hubs.stop()
            say("hub" if count == 1 else "hubs", "drained and stopped" if drained else "did not stop by itself")
            return agreed and drained


async def _play(hubs: Hubs, folder: Path, stack: AsyncExitStack) -> bool:
    shop, network = hubs.shop, hubs.network
    identities = Identities(hubs.secret)
    credential = identities.customer("ada", "Ada")

    web_hub = await stack.enter_async_context(legato.connect(hubs.targets("web"), channel_key="dev-web", channel="web"))
    await web_hub.sign_in(credential)
    web = Channel("web", web_hub, await web_hub.create_cart())
    await web.cart.add(shop.sku, 1)
    say("web", f"signs in as Ada, makes a cart and adds 1 × {shop.sku}")

    app_hub = await stack.enter_async_context(legato.connect(hubs.targets("app"), channel_key="dev-app", channel="app"))
    await app_hub.sign_in(credential)
    app = Channel("app", app_hub, app_hub.active_cart())
    await app.shows({shop.sku: 1})
    say("app", "signs in as Ada too, and shows her cart")
    await app.cart.add(shop.sku, 2)
    await web.shows({shop.sku: 3})
    say("app", "adds 2; the web shows 3")

    code = (await web_hub.share_cart(web.cart.id)).code
    say("web", f"shares the cart: {code}")
    till_hub = await stack.enter_async_context(
        legato.connect(
            hubs.targets("till"),
            access_token=identities.terminal("till-4", "berlin"),
            channel="pos",
            name="Till 4",
            outbox=legato.SQLiteOutbox(folder / "till.sqlite3"),
        )
    )
    till = Channel("till", till_hub, await till_hub.look_up_cart(code))
    await till.shows({shop.sku: 3})
    await till.cart.add(shop.sku, 4)
    await web.shows({shop.sku: 7})
    say("till", "joins by the code and adds 4; the web shows 7")

    await network.cut()
    await till.until(lambda channel: not channel.cart.view.connected)
    snapshots, deltas = till.cart.replica.snapshots, till.cart.replica.deltas
    say("till", "loses its network")
    await web.cart.add(shop.sku, 8)
    await app.cart.add(shop.sku, 16)
    await web.shows({shop.sku: 31})
    say("web", f"adds 8, the app adds 16; the till still shows {till.lines[shop.sku]}")
    offline = till.add_later(shop.sku, 32)
    say("till", f"sells 32 offline, and shows {till.lines[shop.sku]} at once")
    await network.mend()
    await offline.result()
    for channel in (web, app, till):
        await channel.shows({shop.sku: 63})
    by_deltas = till.cart.replica.snapshots == snapshots and till.cart.replica.deltas > deltas
    say(
        "till",
        f"is back: resumed by {till.cart.replica.deltas - deltas} delta messages, "
        f"{till.cart.replica.snapshots - snapshots} snapshots; everybody shows 63",
    )

    everybody = [web, app, till]
    before = [channel.cart.replica.snapshots for channel in everybody]
    lost = app.add_later(shop.sku, 64)
    hub = hubs.of("app")
    died = await hub.died()
    in_backend = await shop.read(web.cart.view.confirmed)
    say(hub.name, f"is dead (exit code {died}) between the backend's commit and its own: the backend has {in_backend}")
    if len(hubs.all) == 1:
        await hub.start()
        say(hub.name, "is started again")
    await lost.result()
    await web.cart.add(shop.sku, 128)
    for channel in everybody:
        await channel.shows({shop.sku: EXPECTED})
    say("web", f"adds 128; everybody shows {EXPECTED}")
    by_deltas = by_deltas and [channel.cart.replica.snapshots for channel in everybody] == before
    if len(hubs.all) > 1:
        for channel in everybody:
            if hubs.of(channel.label) is hub:
                say(channel.label, f"went on at another hub, {'by deltas' if by_deltas else 'NOT BY DELTAS'}")
        await hub.start()
        say(hub.name, "is started again")
    return await _agree(hubs, everybody, by_deltas and died == -9)


async def _agree(hubs: Hubs, channels: list[Channel], so_far: bool) -> bool:
    expected = {hubs.shop.sku: EXPECTED}
    cart = channels[0].cart.view.confirmed
    print()
    for channel in channels:
        print(f"  {channel.label:9} {channel.lines}  revision {channel.revision}  {channel.digest}")
    said = [channel.lines for channel in channels]
    if len(hubs.all) > 1:
        for hub in hubs.all:
            said.append(await _read(hub, channels[0].hub.access_token, cart.id))
            print(f"  {hub.name:9} {said[-1]}  read past the streams")
    said.append(await hubs.shop.read(cart))
    print(f"  {'backend':9} {said[-1]}  read past the hub")
    agreed = so_far and all(lines == expected for lines in said) and len({channel.digest for channel in channels}) == 1
    print(f"\n{'All agree.' if agreed else 'THEY DO NOT AGREE.'}", flush=True)
    return agreed


async def _read(hub: HubProcess, token: str, cart_id: str) -> dict[str, int]:
    """What one hub says of a cart."""
    async with legato.connect(hub.target, access_token=token, channel="service") as client:
        request = reads_pb2.GetCartRequest(resource=f"carts/{cart_id}")
        cart = (await client.call(client.stub.GetCart, request)).cart
    return {line.sku: line.quantity.steps for line in cart.lines}


def say(who: str, what: str) -> None:
    """One line of the play."""
    print(f"{who:>5}  {what}", flush=True)


async def _until_told_to_stop(backend: str, hubs: int) -> bool:
    """The play; SIGTERM ends it as Ctrl-C does, and takes hub and backend along."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await play(backend, hubs)


def main(backend: str, hubs: int) -> int:
    """The exit status."""
    try:
        return 0 if asyncio.run(_until_told_to_stop(backend, hubs)) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nThe play was broken off.", file=sys.stderr)
        return 130
    except (TimeoutError, RuntimeError, legato.LegatoError) as error:
        print(f"\nThe play broke off: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
