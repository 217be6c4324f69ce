"""`legato conformance`: its arguments, its exit status, the shop file, known failures, the loss report."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from legato_adapters.conformance import Report, ShopError, conformance, read_shop, table
from legato_adapters.conformance.command import main
from legato_adapters.conformance.report import FAILED, KNOWN, SKIPPED
from legato_adapters.conformance.shop_tables import KnownFailure, Minimum
from legato_adapters.conformance.suite import SUITE
from tests.adapters.tried import REFERENCE

FACTORY = REFERENCE.factory
MARKET = '[market]\ncountry = "DE"\ncurrency = "EUR"\nlocale = "en"\n'


async def run(only: str = "", **changes: Any) -> Report:
    """The kit on the reference adapter, with another shop file."""
    shop = dataclasses.replace(REFERENCE.shop, **changes)
    return await conformance(FACTORY, shop, checks=[check for check in SUITE if check.id.startswith(only)])


def without(*tables: str) -> dict[str, Any]:
    return {name: table for name, table in REFERENCE.shop.tables.items() if name not in tables}


# The command


def test_all_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    assert main([FACTORY, "--only", "catalog.", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "passed   catalog.product" in said
    assert "Loss report" in said
    assert said.endswith("3 passed\n")
    outcome = json.loads(file.read_text("utf-8"))
    assert outcome["checks"]["catalog.product"] == {"status": "passed"}
    assert outcome["capabilities"]["CART"]["effect_class"] == "KEYED"


def test_something_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shop = tmp_path / "shop.toml"
    shop.write_text(f'{MARKET}\n[catalog]\nslug = "no-such-mug"\nskus = []\n', encoding="utf-8")
    assert main([FACTORY, "--shop", str(shop), "--only", "catalog.product"]) == 1
    said = capsys.readouterr().out
    assert "FAILED   catalog.product" in said
    assert "→ a call ended with NOT_FOUND" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no.such:module"], "--shop FILE must say"),
        (["grpc://127.0.0.1:1"], "--shop FILE must say"),
        (["json:loads"], "there is no conformance.toml beside json"),
        ([FACTORY, "--set", "colour=red"], "its options are"),
        ([FACTORY, "--shop", "no-such-file.toml"], "cannot be read"),
        (["grpc://127.0.0.1:1", "--set", "path=x", "--shop", str(REFERENCE.folder / "conformance.toml")], "already"),
    ],
)
def test_it_cannot_be_tried(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_nobody_is_there(
    unused_tcp_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([f"grpc://127.0.0.1:{unused_tcp_port}", "--shop", str(REFERENCE.folder / "conformance.toml")]) == 2
    assert "GetInfo ended with UNAVAILABLE" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], [FACTORY, "--only", "nonsense"], [FACTORY, "--colour"]])
def test_arguments_that_are_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: legato conformance" in capsys.readouterr().err


def test_the_list_of_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(SUITE)
    assert said[0].split()[0] == SUITE[0].id


# What is skipped, what is not


async def test_what_is_not_claimed_is_skipped() -> None:
    report = await conformance("tests.adapters.vanishing:create", REFERENCE.shop)
    status = {result.check.id: result.status for result in report.results}
    assert status["catalog.product"] == "passed"
    assert [result.check.id for result in report.of(FAILED)] == ["identity.minimum"]
    for result in report.results:
        if result.check.capability not in {"", "CATALOG"}:
            assert (result.status, result.detail) == (SKIPPED, f"{result.check.capability} is not claimed")
    assert f"CART is not claimed: {sum(c.capability == 'CART' for c in SUITE)} checks skipped" in list(table(report))


@pytest.mark.parametrize(
    ("effect", "skipped"),
    [
        ("MARKED", {"cart.expected_version"}),
        ("ABSOLUTE", {"cart.at_once", "cart.other_body", "cart.late_repeat"}),
        ("NONE", {"cart.repeat", "cart.repeat_create", "cart.at_once", "cart.other_body", "cart.late_repeat"}),
    ],
)
async def test_each_effect_class_is_held_to_its_own_promises(effect: str, skipped: set[str]) -> None:
    checks = [check for check in SUITE if check.capability == "CART"]
    report = await conformance("tests.adapters.broken:create", REFERENCE.shop, {"fault": effect}, checks=checks)
    assert report.ok, report.of(FAILED)
    assert skipped <= {result.check.id for result in report.of(SKIPPED) if result.detail == f"CART is {effect}"}
    assert "cart.lost_answer" not in {result.check.id for result in report.of(SKIPPED)}


async def test_what_is_claimed_must_be_described() -> None:
    report = await run("content.entry", tables=without("content"))
    (failed,) = report.of(FAILED)
    assert failed.detail == "cannot be checked: the shop file has no [content]"


async def test_what_may_be_left_out_is_skipped_with_a_reason() -> None:
    cart = dataclasses.replace(REFERENCE.shop.cart, discount_code="")
    report = await run("cart.discount", tables={**REFERENCE.shop.tables, "cart": cart})
    (skipped,) = report.of(SKIPPED)
    assert skipped.detail == "the shop file does not tell cart.discount_code"


@pytest.mark.parametrize(
    ("minimum", "missing"),
    [
        (Minimum(capabilities=("CATALOG", "TELEPATHY")), "TELEPATHY"),
        (Minimum(commands={"ORDER": ("place", "gift_wrap")}), "ORDER.gift_wrap"),
        (Minimum(effects={"CART": "MARKED"}), "CART as MARKED (it is KEYED)"),
    ],
)
async def test_less_than_the_minimum_fails(minimum: Minimum, missing: str) -> None:
    report = await run("identity.", tables={**REFERENCE.shop.tables, "minimum": minimum})
    (failed,) = report.of(FAILED)
    assert (failed.check.id, failed.detail) == ("identity.minimum", f"it does not claim {missing}")


# Known failures


async def test_a_known_failure_is_told_and_no_failure() -> None:
    catalog = dataclasses.replace(REFERENCE.shop.catalog, skus=("MUG-GOLD",))
    known = KnownFailure("catalog.product", "the emulator sells no gold", "recorded.json")
    tables = {**REFERENCE.shop.tables, "catalog": catalog}
    report = await run("catalog.", tables=tables, known_failures=(known,))
    assert report.ok
    (result,) = report.of(KNOWN)
    assert result.detail == "the emulator sells no gold (recorded.json)"
    assert result.seen.startswith("the skus of its variants is")


@pytest.mark.parametrize("unserved", [("JP", "JPY"), ()], ids=["passes", "is skipped"])
async def test_a_known_failure_that_does_not_fail_is_one(unserved: tuple[str, ...]) -> None:
    known = KnownFailure("catalog.market", "the emulator sells everywhere", "recorded.json")
    market = dataclasses.replace(REFERENCE.shop.market, unserved=unserved)
    report = await run("catalog.", tables={**REFERENCE.shop.tables, "market": market}, known_failures=(known,))
    (failed,) = report.of(FAILED)
    assert failed.check.id == "catalog.market"
    assert failed.detail.endswith("though the shop file calls it a known failure")


async def test_a_known_failure_of_no_check_is_refused() -> None:
    with pytest.raises(ShopError, match=r"known failure cart\.typo: there is no such check"):
        await run("catalog.", known_failures=(KnownFailure("cart.typo", "why", "recorded.json"),))


# The shop file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[market", "is not TOML"),
        ("", r"\[market\] is missing"),
        (f"{MARKET}[cat]\n", r"\[cat\] is not a known table; there is market"),
        (f"{MARKET}colour = 'red'\n", "market.colour is not a known key; there is country"),
        ("[market]\ncountry = 5\n", "market.country must be text"),
        ("[market]\ncountry = 'DE'\n", "market.currency is missing"),
        (f"{MARKET}tax_included = 1\n", "market.tax_included must be true or false"),
        (f"{MARKET}unserved = 'JP'\n", "market.unserved must be a list"),
        (f"{MARKET}[cart]\naddress = {{city = 5}}\n", "cart.address.city must be text"),
        (f"{MARKET}[cart]\naddress = 'here'\n", "cart.address must be a table"),
        ("market = 5\n", "market must be a table"),
        (f"options = 5\n{MARKET}", "options and tenants must be tables"),
        (f"{MARKET}[known_failure]\ncheck = 'x'\n", "are written"),
        (f"{MARKET}[[known_failure]]\ncheck = 'x'\nreason = 'y'\n", "known_failure.payload is missing"),
        (f"{MARKET}[[known_failure]]\ncheck = 'x'\nreason = 'y'\npayload = 'z'\n", "there is no file z"),
    ],
)
def test_a_shop_file_that_is_none(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ShopError, match=says) as caught:
        read_shop(file)
    assert str(caught.value).startswith(str(file))


# The loss report


async def test_what_does_not_survive_is_told() -> None:
    checks = [check for check in SUITE if check.capability in {"CART", "CATALOG"}]
    report = await conformance("tests.adapters.broken:create", REFERENCE.shop, {"fault": "LOSSY"}, checks=checks)
    assert report.ok
    lost = {(loss.field, loss.what) for loss in report.losses}
    assert {
        ("Cart.shipping_address.company", "is written and lost"),
        ("Cart.billing_address.company", "is written and lost"),
        ("Cart.shipping_address.region", "is written and comes back changed"),
        ("LineItem.client_line_keys", "is written and lost; the hub keeps it"),
        ("Product.brand", "is never told"),
    } <= lost
    assert not any(field == "Product.name" for field, _ in lost)
