"""Put a line into a cart and watch it. Needs a running hub: `legato serve`."""

import asyncio
import sys

import legato


async def main() -> None:
    async with legato.connect(*sys.argv[1:2], channel_key="dev-web") as hub:
        cart, found = await hub.create_cart(), await hub.search("")
        cart.submit(legato.intents.add(found.hits[0].product.variants[0].sku, 2))
        async for view in cart.watch():
            print([(line.item.name or line.sku, line.quantity.steps) for line in view.cart.lines], view.pending)
            if view.confirmed.lines:
                break


asyncio.run(main())
