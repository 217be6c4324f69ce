"""A proxy between the adapter and Vendure, on which a test decides what becomes of a request."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_FIELD = re.compile(r"\{\s*(?:\w+:\s*)?(\w+)")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; `length` replaces the true Content-Length."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    length: int | None = None


Forward = Callable[..., Awaitable[Reply]]
Rule = Callable[[Forward], Awaitable[Reply | None]]
"""What becomes of one request. `forward()` lets it through, `forward(token="…")` under another token; None cuts the
connection without an answer."""


async def lose_answer(forward: Forward) -> None:
    """Vendure executes it, nobody hears of it."""
    await forward()


async def lose_request(forward: Forward) -> None:
    """Vendure never hears of it."""


class HttpProxy:
    """Listens on `url` while it is open. Requests are told apart by the first field of their operation."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._rules: dict[str, list[Rule]] = {}
        self.seen: list[str] = []
        """The first field of each request so far."""
        self.documents: list[str] = []
        self.cookies: list[str] = []
        self.url = ""

    async def __aenter__(self) -> "HttpProxy":
        self._client = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/shop-api"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._client.close()

    def on(self, operation: str, *rules: Rule) -> None:
        """The next requests of this operation meet these rules, one each."""
        self._rules.setdefault(operation, []).extend(rules)

    def changes(self) -> list[str]:
        """What was seen of requests that are no mere reads."""
        reads = {"activeOrder", "activeChannel", "__type", "search", "product", "products", "orderByCode"}
        return [operation for operation in self.seen if operation not in reads]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.cookies += request.cookies
        self.documents.append((await request.json())["query"])
        match = _FIELD.search(self.documents[-1])
        assert match is not None
        operation = match[1]
        self.seen.append(operation)

        async def forward(token: str = "") -> Reply:
            headers = {"content-type": "application/json"}
            if token or "authorization" in request.headers:
                headers["authorization"] = f"Bearer {token}" if token else request.headers["authorization"]
            async with self._client.post(
                self._target, data=body, headers=headers, params=dict(request.query)
            ) as answer:
                kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
                return Reply(await answer.read(), answer.status, kept)

        rules = self._rules.get(operation)
        reply = await (rules.pop(0)(forward) if rules else forward())
        if reply is None or reply.length is not None:
            return await cut(request, reply)
        return web.Response(body=reply.body, status=reply.status, headers=reply.headers)


_KEPT = ("content-type", "content-encoding", "vendure-auth-token")


async def cut(request: web.Request, reply: Reply | None) -> web.StreamResponse:
    response = web.StreamResponse()
    if reply is not None:
        response = web.StreamResponse(
            status=reply.status, headers={**reply.headers, "content-length": str(reply.length)}
        )
        await response.prepare(request)
        await response.write(reply.body)
    assert request.transport is not None
    request.transport.close()
    return response
