"""Put a line into a cart and watch it. Needs a running hub: `legato serve`."""

import asyncio
import sys

import legato


async def main() -> None:
    async with legato.connect(*sys.argv[1:2], channel_key="dev-web") as hub:
        cart = await hub.create_cart()
        cart.submit(legato.intents.add("PEG-ALU", 2))
        async for view in cart.watch():
            print([(line.sku, line.quantity.steps, line.total.units) for line in view.cart.lines], view.pending)
            if view.confirmed.lines:
                break


asyncio.run(main())
