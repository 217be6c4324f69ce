"""A commercetools of payloads that are written by hand, after its documentation."""

import json
import re
from typing import Any

from tests.adapters.commercetools.recording import FIXTURES
from tests.support.http_backend import Forward, HttpBackend
from tests.support.http_proxy import Reply


def payload(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def reply(body: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(body).encode(), status)


def refusal(code: str, status: int = 400, **more: Any) -> Reply:
    """An error as commercetools writes them."""
    error = {"code": code, "message": "swordfish", **more}
    return reply({"statusCode": status, "message": "swordfish", "errors": [error]}, status)


class Written:
    """Answers by "METHOD /path" of the project; what was told last counts."""

    def __init__(self, backend: HttpBackend) -> None:
        self.backend = backend
        self._answers: list[tuple[re.Pattern[str], list[Reply]]] = []
        backend.always("", self._answer)
        self.on("POST /oauth/token", reply({"access_token": "t", "expires_in": 3_600, "token_type": "Bearer"}))
        self.on("GET /legato$", reply(payload("project")))
        self.on("GET /legato/tax-categories", reply(payload("tax_categories")))
        self.on("GET /legato/shipping-methods/matching-cart", reply(payload("matching_methods")))
        self.on("GET /legato/orders$", reply({"results": []}))
        self.on("GET /legato/orders/order-number=", refusal("ResourceNotFound", 404))

    def on(self, pattern: str, *replies: Reply) -> None:
        """What these requests get, one after the other; the last stays."""
        self._answers.insert(0, (re.compile(pattern), list(replies)))

    def sent(self, pattern: str) -> list[Any]:
        """The JSON bodies of these requests."""
        seen = zip(self.backend.seen, self.backend.requests, strict=True)
        return [json.loads(request["body"]) for name, request in seen if re.search(pattern, name)]

    def queries(self, pattern: str) -> list[list[tuple[str, str]]]:
        seen = zip(self.backend.seen, self.backend.requests, strict=True)
        return [request["query"] for name, request in seen if re.search(pattern, name)]

    async def _answer(self, forward: Forward) -> Reply:
        seen = self.backend.seen[-1]
        for pattern, replies in self._answers:
            if pattern.search(seen):
                return replies.pop(0) if len(replies) > 1 else replies[0]
        raise AssertionError(f"nothing is written for {seen}")
