"""HTTP for adapters: what every backend behind HTTP needs, once.

- `client`: connections, deadlines, what may be sent again, what is not followed or read.
- `answers`: bounded bodies and JSON that is JSON; `errors`: told apart by what a request may have done.
- `tokens`: fetched once for all who wait, and again in the middle.
- `pages`: page tokens of the contract, and a backend's own pages.
- `serving`: from all these errors to the statuses of the contract.
- `lanes`: one conversation at a time for each cart, and none that is left in the middle.

An adapter's methods are then one line each:

    async def GetOrder(self, request, context):
        return await answer_read(context, lambda call: self._orders.get(call, request))

One client serves one tenant: the host makes an adapter for each (`legato.tenants`). Nothing that a server or a caller
said, no address and no secret comes into an error, a log or a trace. Needs extra `http`.
"""

from legato_adapters.http.answers import Answer
from legato_adapters.http.call import Call
from legato_adapters.http.client import HttpClient, base_url
from legato_adapters.http.errors import ApiError, Busy, Denied, Failure, Malformed, NoAnswer, NotSent, Refused
from legato_adapters.http.lanes import Lanes
from legato_adapters.http.pages import all_pages, check_page_size, page_position, page_token
from legato_adapters.http.serving import answer_command, answer_read, check_uuid7
from legato_adapters.http.tokens import Token, Tokens, client_credentials

__all__ = [
    "Answer",
    "ApiError",
    "Busy",
    "Call",
    "Denied",
    "Failure",
    "HttpClient",
    "Lanes",
    "Malformed",
    "NoAnswer",
    "NotSent",
    "Refused",
    "Token",
    "Tokens",
    "all_pages",
    "answer_command",
    "answer_read",
    "base_url",
    "check_page_size",
    "check_uuid7",
    "client_credentials",
    "page_position",
    "page_token",
]
