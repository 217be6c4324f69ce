"""The real Vendure server that other tests and the demo stand on: what it holds, and that it always ends."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from legato_adapters import peer
from legato_adapters.vendure.dev_server import VendureServer, VendureServerError, running_vendure

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "peers/vendure"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[VendureServer]:
    async with running_vendure(PEER) as running:
        yield running


def _post(url: str, query: str, token: str | None = None) -> tuple[dict[str, Any], str | None]:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, json.dumps({"query": query}).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer), answer.headers.get("vendure-auth-token")


async def data(url: str, query: str, token: str | None = None) -> dict[str, Any]:
    """The `data` of a GraphQL answer without errors."""
    answer, _ = await asyncio.to_thread(_post, url, query, token)
    assert "errors" not in answer, answer
    found: dict[str, Any] = answer["data"]
    return found


async def ended(pid: int) -> None:
    """Wait until a process, of whatever parent, has ended."""
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_every_variant_is_found_with_its_gross_price(server: VendureServer) -> None:
    query = "{search(input:{take:100}){totalItems items{sku priceWithTax{...on SinglePrice{value}}}}}"
    found = (await data(server.shop_api, query))["search"]
    prices = {item["sku"]: item["priceWithTax"]["value"] for item in found["items"]}
    assert len(prices) == found["totalItems"] == 30
    assert prices["LIN-250-BEAN"] == 950
    assert prices["GRIND-38-STEEL"] == 12900


async def test_taxes_categories_and_languages_are_seeded(server: VendureServer) -> None:
    query = """{
        coffee: product(slug: "espresso-lindenhof") { variants { taxRateApplied { value } } }
        tool: product(slug: "hand-grinder") { name variants { taxRateApplied { value } } }
        collection(slug: "espresso") { breadcrumbs { slug } productVariantCount }
        availableCountries { code }
        activeChannel { defaultCurrencyCode pricesIncludeTax }
    }"""
    found = await data(f"{server.shop_api}?languageCode=de", query)
    assert [v["taxRateApplied"]["value"] for v in found["coffee"]["variants"]] == [7, 7]
    assert [v["taxRateApplied"]["value"] for v in found["tool"]["variants"]] == [19, 19]
    assert found["tool"]["name"] == "Handmühle Mahlwerk 38"
    assert [crumb["slug"] for crumb in found["collection"]["breadcrumbs"]][1:] == ["coffee", "espresso"]
    assert found["collection"]["productVariantCount"] == 6
    assert {country["code"] for country in found["availableCountries"]} == {"DE", "AT"}
    assert found["activeChannel"] == {"defaultCurrencyCode": "EUR", "pricesIncludeTax": True}


async def test_the_administrator_sees_the_stock_that_tests_lean_on(server: VendureServer) -> None:
    login = f'mutation{{login(username:"{server.username}",password:"{server.password}"){{__typename}}}}'
    answer, token = await asyncio.to_thread(_post, server.admin_api, login)
    assert answer["data"]["login"]["__typename"] == "CurrentUser"
    query = "{productVariants(options:{take:100}){items{sku trackInventory stockLevels{stockOnHand}}}}"
    items = (await data(server.admin_api, query, token))["productVariants"]["items"]
    stock = {item["sku"]: [level["stockOnHand"] for level in item["stockLevels"]] for item in items}
    assert stock["KEN-250-BEAN"] == [5, 0]
    assert stock["NER-250-BEAN"] == [7, 3]
    assert stock["SCALE-01"] == [0, 0]
    assert sum(stock["BRA-1000-BEAN"]) >= 100_000
    assert [item["sku"] for item in items if item["trackInventory"] == "FALSE"] == ["COURSE-01"]


async def test_the_default_password_is_not_accepted(server: VendureServer) -> None:
    login = 'mutation{login(username:"superadmin",password:"local-test-only"){__typename}}'
    assert (await data(server.admin_api, login))["login"]["__typename"] == "InvalidCredentialsError"


async def test_it_ends_by_itself_when_its_user_is_killed() -> None:
    program = f"""
import asyncio
from pathlib import Path
from legato_adapters.vendure.dev_server import running_vendure
async def main():
    async with running_vendure(Path({str(PEER)!r})) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    user = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert user.stdout is not None
    pid = int(await user.stdout.readline())
    user.send_signal(signal.SIGKILL)
    await user.wait()
    await ended(pid)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A peer's folder whose server is to be written: for what does not need a whole Vendure."""
    (tmp_path / "node_modules").mkdir()
    return tmp_path


@pytest.mark.parametrize("on_sigterm", ["process.exit(0)", "{}"], ids=["obedient", "stubborn"])
async def test_it_is_gone_after_the_block_even_if_that_failed(
    stand_in: Path, on_sigterm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_STOP_TIMEOUT", 0.2)
    (stand_in / "server.mjs").write_text(f"""
        process.on("SIGTERM", () => {on_sigterm});
        setInterval(() => {{}}, 1000);
        console.log(JSON.stringify({{ port: 1, shop_api: "http://a", admin_api: "http://b", pid: process.pid }}));
    """)

    class Failed(Exception):
        pass

    with pytest.raises(Failed):
        async with running_vendure(stand_in) as server:
            raise Failed
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_a_server_that_ends_early_tells_why(stand_in: Path) -> None:
    (stand_in / "server.mjs").write_text('throw new Error("the cellar is flooded")')
    with pytest.raises(VendureServerError, match=r"ended before it was ready(.|\n)*the cellar is flooded"):
        async with running_vendure(stand_in):
            pass


async def test_a_server_that_is_never_ready_is_given_up(stand_in: Path) -> None:
    (stand_in / "server.mjs").write_text("setInterval(() => {}, 1000)")
    with pytest.raises(VendureServerError, match=r"not ready within 0\.5 s"):
        async with running_vendure(stand_in, start_timeout=0.5):
            pass


async def test_a_missing_node_is_named(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(stand_in))
    with pytest.raises(VendureServerError, match="node"):
        async with running_vendure(stand_in):
            pass


async def test_a_missing_installation_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(VendureServerError, match="npm ci"):
        async with running_vendure(tmp_path):
            pass
