"""A backend behind HTTP that behaves as a test tells it, in front of a real one or of none."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.http_proxy import Reply, cut

Forward = Callable[[], Awaitable[Reply]]
Rule = Callable[[Forward], Awaitable[Reply | None]]
"""What becomes of one request; None cuts the connection without an answer."""

_KEPT = ("content-type", "content-encoding")


def answer(reply: Reply) -> Rule:
    """Answer this, and let the real backend know nothing."""

    async def rule(forward: Forward) -> Reply:
        return reply

    return rule


def answer_after(reply: Reply) -> Rule:
    """Let the real backend execute it, and answer this."""

    async def rule(forward: Forward) -> Reply:
        await forward()
        return reply

    return rule


async def through(forward: Forward) -> Reply:
    """Nothing special."""
    return await forward()


async def never(forward: Forward) -> None:
    """Never answer; ends with the connection."""
    await asyncio.Event().wait()


class HttpBackend:
    """Listens on `url` while it is open. Rules are told apart by "METHOD /path", of which they name a pattern."""

    def __init__(self, target: str = "") -> None:
        self._target = target
        self._rules: list[tuple[re.Pattern[str], list[Rule]]] = []
        self.seen: list[str] = []
        """"METHOD /path" of each request so far."""
        self.requests: list[dict[str, Any]] = []
        """Their headers, query and body."""
        self.arrived = asyncio.Condition()
        self.url = ""

    @property
    def http(self) -> aiohttp.ClientSession:
        """For requests to the real backend, past the proxy."""
        return self._client

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def __aenter__(self) -> "HttpBackend":
        self._client = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._client.close()

    def on(self, pattern: str, *rules: Rule) -> None:
        """The next requests that match meet these rules, one each; what comes after goes through."""
        self._rules.append((re.compile(pattern), list(rules)))

    def always(self, pattern: str, rule: Rule) -> None:
        """All requests that match meet this rule."""
        self._rules.append((re.compile(pattern), [rule] * 1_000))

    def first(self, pattern: str, *rules: Rule) -> None:
        """As `on`, before all other rules."""
        self._rules.insert(0, (re.compile(pattern), list(rules)))

    def forget(self) -> None:
        """From now on everything goes through."""
        self._rules.clear()

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, seen) is not None for seen in self.seen)

    async def until_seen(self, pattern: str, times: int = 1) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.count(pattern) >= times)

    async def until_idle(self) -> None:
        """Wait until nobody is connected any more."""
        server = self._runner.server
        if server is None:
            return
        async with asyncio.timeout(30):
            while server.connections:  # noqa: ASYNC110  # aiohttp has no event for it
                await asyncio.sleep(0.005)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = f"{request.method} {request.path}"
        self.requests.append(
            {"headers": dict(request.headers), "query": list(request.query.items()), "body": body.decode()}
        )
        async with self.arrived:
            self.seen.append(seen)
            self.arrived.notify_all()

        async def forward() -> Reply:
            if not self._target:
                return Reply(b"{}")
            headers = {k: v for k, v in request.headers.items() if k.lower() in {"content-type", "authorization"}}
            async with self._client.request(
                request.method, self._target + request.raw_path, data=body, headers=headers, allow_redirects=False
            ) as real:
                kept = {name: real.headers[name] for name in _KEPT if name in real.headers}
                return Reply(await real.read(), real.status, kept)

        rule = next((r.pop(0) for p, r in self._rules if r and p.search(seen)), through)
        reply = await rule(forward)
        if reply is None or reply.length is not None:
            return await cut(request, reply)
        return web.Response(body=reply.body, status=reply.status, headers=reply.headers)
