"""Tokens: fetched once, again in the middle, and never shown."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from legato_adapters.http import Busy, Call, Denied, HttpClient, NotSent, Tokens, client_credentials
from tests.support.http_backend import Forward, HttpBackend, Rule, answer, never
from tests.support.http_proxy import Reply

SECRET = "swordfish"
DENIED = Reply(b"", 401, {})


class Bank:
    """Gives tokens with numbers, and takes only those from `valid_from` on."""

    def __init__(self, backend: HttpBackend, expires_in: int = 3_600) -> None:
        self.given = 0
        self.valid_from = 1
        self.expires_in = expires_in
        self.backend = backend
        backend.always("POST /oauth/token", self.token)
        backend.always(" /things", self.thing)

    async def token(self, forward: Forward) -> Reply:
        self.given += 1
        token = {"access_token": f"token-{self.given}", "token_type": "Bearer", "expires_in": self.expires_in}
        return Reply(json.dumps(token).encode())

    async def thing(self, forward: Forward) -> Reply:
        header = self.backend.requests[-1]["headers"].get("Authorization", "")
        number = int(header.removeprefix("Bearer token-") or 0)
        return Reply(b"{}") if number >= self.valid_from else DENIED


@pytest.fixture
async def client(backend: HttpBackend) -> AsyncIterator[HttpClient]:
    auth = HttpClient("shop", backend.url)
    tokens = Tokens(client_credentials(auth, "/oauth/token", "hub", SECRET, "manage:all"))
    client = HttpClient("shop", backend.url, tokens=tokens)
    await auth.open()
    await client.open()
    yield client
    await client.close()
    await auth.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "fetch token"]


async def test_one_token_for_all(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    Bank(backend)
    await asyncio.gather(*(client.read(call, "GET", "/things") for _ in range(16)))
    assert backend.count("token") == 1
    request = next(r for r, seen in zip(backend.requests, backend.seen, strict=True) if "token" in seen)
    assert request["body"] == "grant_type=client_credentials&scope=manage%3Aall"
    assert request["headers"]["Authorization"].startswith("Basic ")


async def test_a_token_that_ends_in_the_middle(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    bank = Bank(backend)
    await client.read(call, "GET", "/things")
    bank.valid_from = 2
    await asyncio.gather(*(client.write(call, "POST", "/things") for _ in range(16)))
    assert backend.count("token") == 2, "all that were refused share the new one"


async def test_a_token_that_is_refused_at_once(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    Bank(backend).valid_from = 1_000
    with pytest.raises(Denied):
        await client.write(call, "POST", "/things")
    assert (backend.count("token"), backend.count("things")) == (2, 2)
    assert not call.touched


async def test_a_token_past_its_time(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    Bank(backend, expires_in=0)
    await client.read(call, "GET", "/things")
    await client.read(call, "GET", "/things")
    assert backend.count("token") == 2


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (answer(DENIED), Denied),
        (answer(Reply(b'{"error": "invalid_client"}', 400)), Denied),
        (answer(Reply(b"", 404, {})), NotSent),
        (answer(Reply(b"<html>", headers={"content-type": "text/html"})), NotSent),
        (answer(Reply(b"{}")), NotSent),
        (answer(Reply(b'{"access_token": "a\\nb: c"}')), NotSent),
        (answer(Reply(b'{"access_token": 5}')), NotSent),
        (answer(Reply(b"", 500, {})), NotSent),
        (answer(Reply(b"", 302, {"location": "/"})), NotSent),
        (answer(Reply(b"", 429, {"retry-after": "30"})), Busy),
    ],
)
async def test_no_token(
    backend: HttpBackend, client: HttpClient, call: Call, rule: Rule, error: type[Exception]
) -> None:
    backend.always("token", rule)
    with pytest.raises(error) as caught:
        await client.write(call, "POST", "/things")
    assert SECRET not in repr(caught.value)
    assert not backend.count("things")
    assert not call.touched, "without a token nothing was sent"


async def test_a_token_that_never_comes(backend: HttpBackend, client: HttpClient) -> None:
    backend.always("token", never)
    with pytest.raises(NotSent):
        await client.write(Call.within(0.3), "POST", "/things")


async def test_one_who_goes_away_takes_no_token_along(backend: HttpBackend, client: HttpClient, call: Call) -> None:
    bank, given = Bank(backend), asyncio.Event()

    async def slow(forward: Forward) -> Reply:
        await given.wait()
        return await bank.token(forward)

    backend.first("token", slow)
    first = asyncio.create_task(client.read(call, "GET", "/things"))
    second = asyncio.create_task(client.read(call, "GET", "/things"))
    await backend.until_seen("token")
    first.cancel()
    given.set()
    await second
    assert backend.count("token") == 1
    with pytest.raises(asyncio.CancelledError):
        await first
