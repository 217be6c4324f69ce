"""`legato serve` on each kind of shared storage that a URL can name."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import legato
from tests.storage import valkey_servers
from tests.support.served import hub
from tests.support.shop import SKU


@pytest.fixture(params=["valkey", "valkey+sentinel", "valkey+cluster"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        match request.param:
            case "valkey":
                yield f"valkey://127.0.0.1:{stack.enter_context(valkey_servers.own_server()).port}"
            case "valkey+sentinel":
                master = stack.enter_context(valkey_servers.own_server()).port
                yield f"valkey+sentinel://127.0.0.1:{stack.enter_context(valkey_servers.own_sentinel(master))}/carts"
            case _:
                stack.callback(valkey_servers.stop_all)
                yield f"valkey+cluster://127.0.0.1:{valkey_servers.start_cluster(3, appendonly='yes')[0]}"


async def test_what_one_hub_did_another_one_has(tmp_path: Path, storage: str) -> None:
    async with hub(tmp_path, storage) as first:
        async with legato.connect(first.target, channel_key="dev-web") as web:
            token, cart = web.access_token, await web.create_cart()
            await cart.add(SKU, 3)
        assert await first.stop() == 0
    async with hub(tmp_path, storage) as second:
        async with legato.connect(second.target, access_token=token) as web:
            view = await web.cart(cart.id).live()
            assert [line.quantity.steps for line in view.confirmed.lines] == [3]
        assert await second.stop() == 0
