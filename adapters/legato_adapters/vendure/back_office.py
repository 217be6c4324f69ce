"""Vendure's admin API: what shoppers may not ask, asked as an administrator."""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from legato_adapters.http.errors import Failure
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import MUTATION_TIMEOUT_S, READ_TIMEOUT_S, Refused, VendureApi, left

__all__ = ["BackOffice"]


class BackOffice:
    """One administrator's session, opened when first wanted and again when Vendure ends it."""

    def __init__(self, address: str, username: str, password: str) -> None:
        self._api = VendureApi(address)
        self._credentials = {"username": username, "password": password}
        self._token = ""
        self._login = asyncio.Lock()

    async def open(self) -> None:
        await self._api.open()

    async def close(self) -> None:
        await self._api.close()

    async def read(
        self, document: str, variables: Mapping[str, Any], parameters: Mapping[str, str], deadline: float | None
    ) -> Mapping[str, Any]:
        """The `data` of a query; raises ApiError, or Failure FAILED_PRECONDITION when the credentials are refused."""
        return await self._ask(document, variables, parameters, left(deadline, READ_TIMEOUT_S), deadline)

    async def change(
        self, document: str, variables: Mapping[str, Any], deadline: float | None = None
    ) -> Mapping[str, Any]:
        """The same for a mutation. What Vendure forbids it has not done."""
        return await self._ask(document, variables, {}, MUTATION_TIMEOUT_S, deadline)

    async def sign_in(self, deadline: float | None, *, instead_of: str = "") -> str:
        """The session's token; a new one if it is still `instead_of`."""
        async with self._login:
            if self._token == instead_of:
                timeout = left(deadline, READ_TIMEOUT_S)
                answer = await self._api.post(queries.LOGIN, self._credentials, timeout=timeout)
                if answer.data["login"]["__typename"] != "CurrentUser":
                    message = "Vendure refuses the administrator's credentials"
                    raise Failure(grpc.StatusCode.FAILED_PRECONDITION, message)
                self._token = answer.new_token
            return self._token

    async def _ask(
        self,
        document: str,
        variables: Mapping[str, Any],
        parameters: Mapping[str, str],
        timeout: float,
        deadline: float | None,
    ) -> Mapping[str, Any]:
        token = await self.sign_in(deadline)
        try:
            answer = await self._api.post(document, variables, token=token, parameters=parameters, timeout=timeout)
        except Refused as error:
            if error.code not in {"FORBIDDEN", "UNAUTHORIZED"}:
                raise
            token = await self.sign_in(deadline, instead_of=token)
            answer = await self._api.post(document, variables, token=token, parameters=parameters, timeout=timeout)
        return answer.data
