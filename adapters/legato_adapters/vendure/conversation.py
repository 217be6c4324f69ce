"""What one call has to say to Vendure about one cart, and whether it can still have done nothing."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from legato_adapters.http.errors import Failure
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import (
    MUTATION_TIMEOUT_S,
    READ_TIMEOUT_S,
    Answer,
    ApiError,
    Busy,
    NotSent,
    Refused,
    VendureApi,
    left,
)
from legato_adapters.vendure.notebook import Notebook

_log = logging.getLogger(__name__)

Json = Mapping[str, Any]


class Inactive(Exception):
    """The cart's order is not the session's active one any more: placed, or canceled past us."""


class Conversation:
    """Requests in the cart's session. Raises ApiError; Failure NOT_FOUND when the session is gone; Inactive.

    `sent` tells whether anything was sent that may have changed the cart. From then on the caller's deadline does not
    count: what was begun is brought to its end.
    """

    def __init__(
        self, api: VendureApi, notebook: Notebook, parameters: Mapping[str, str], deadline: float | None, *, note: bool
    ) -> None:
        self._api = api
        self._notebook = notebook
        self._parameters = parameters
        self._deadline = deadline
        self.note = note
        self.sent = False

    async def order(self) -> Json:
        """The order in so far as it matters to a change."""
        return self._ours((await self._read(queries.SLIM_ORDER)).data["activeOrder"])

    async def whole_order(self) -> tuple[Json, Sequence[Json]]:
        """All of the order, and its ways of delivery."""
        data = (await self._read(queries.whole_order(note=self.note))).data
        return self._ours(data["activeOrder"]), data["eligibleShippingMethods"]

    async def placed_order(self) -> Json | None:
        """All of an inactive order. None where Vendure does not show it: it was canceled, or placed hours ago."""
        try:
            answer = await self._read(queries.order_by_code(note=self.note), {"code": self._notebook.order_code})
        except Refused:
            return None
        order: Json | None = answer.data["orderByCode"]
        return order if order is not None and order["id"] == self._notebook.order_id else None

    async def change(self, field: str, **variables: Any) -> Json:
        """Execute one of queries.CHANGES: the order after it, or an error result (which has an `errorCode`)."""
        return await self._mutate(field, queries.CHANGES[field], variables)

    async def cancel(self) -> Json:
        """Cancel the order: the whole of it as it was then, or an error result."""
        return await self._mutate("transitionOrderToState", queries.cancel_order(note=self.note), {})

    async def _read(self, document: str, variables: Json | None = None) -> Answer:
        timeout = READ_TIMEOUT_S if self.sent else left(self._deadline, READ_TIMEOUT_S)
        answer = await self._api.post(
            document, variables, token=self._notebook.token, parameters=self._parameters, timeout=timeout
        )
        self._check_session(answer)
        return answer

    async def _mutate(self, field: str, document: str, variables: Json) -> Json:
        if not self.sent:
            left(self._deadline, MUTATION_TIMEOUT_S)
        before, self.sent = self.sent, True
        try:
            answer = await self._api.post(
                document,
                variables,
                token=self._notebook.token,
                parameters=self._parameters,
                timeout=MUTATION_TIMEOUT_S,
            )
        except (NotSent, Refused, Busy):
            self.sent = before
            raise
        if answer.new_token:
            await self._cancel_stray(answer.new_token)
        self._check_session(answer)
        result: Json | None = answer.data[field]
        order = result if result is None or "errorCode" not in result else result.get("order")
        if order is not None and order["id"] != self._notebook.order_id:
            await self._cancel_stray(self._notebook.token)
            raise Inactive
        if result is None or result.get("errorCode") == "NO_ACTIVE_ORDER_ERROR":
            raise Inactive
        return result

    def _check_session(self, answer: Answer) -> None:
        """To a token that it does not know Vendure answers with a new session, as if nothing had happened."""
        if answer.new_token:
            raise Failure(grpc.StatusCode.NOT_FOUND, "Vendure no longer knows the session of this cart")

    def _ours(self, order: Json | None) -> Json:
        if order is None or order["id"] != self._notebook.order_id:
            raise Inactive
        return order

    async def _cancel_stray(self, token: str) -> None:
        """Vendure has made an order for a change that found none. The cart has nothing of it, so that is tidying up."""
        _log.warning(
            "Vendure made another order for a cart whose own is gone", extra={"order": self._notebook.order_id}
        )
        try:
            await self._api.post(queries.CANCEL_STRAY, token=token, timeout=MUTATION_TIMEOUT_S)
        except ApiError as error:
            _log.warning("cannot cancel the other order: %s", error)
