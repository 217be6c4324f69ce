"""What the project is set up for: markets, languages, taxes. Read once in a while."""

import asyncio
import time
from dataclasses import dataclass

import grpc

from legato.adapter.v1 import request_context_pb2
from legato_adapters.commercetools.api import Api
from legato_adapters.http import Call, Failure

__all__ = ["Project", "Projects"]

_FRESH_S = 60.0


@dataclass(frozen=True)
class Project:
    """The settings at one time."""

    currencies: frozenset[str]
    countries: frozenset[str]
    languages: tuple[str, ...]
    untaxed: frozenset[str]
    """Countries whose prices do not contain tax."""

    def serves(self, context: request_context_pb2.RequestContext) -> bool:
        return context.currency_code in self.currencies and (
            not context.country or not self.countries or context.country in self.countries
        )

    def language(self, locale: str) -> str:
        """The project's language for a locale: the same, one of the same tongue, or the first."""
        if locale in self.languages:
            return locale
        tongue = locale.partition("-")[0]
        return next((known for known in self.languages if known.partition("-")[0] == tongue), self.languages[0])

    def tax_included(self, country: str) -> bool:
        return country not in self.untaxed


class Projects:
    """Keeps the settings for a minute."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._project: Project | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def get(self, call: Call) -> Project:
        if self._project is not None and self._until > time.monotonic():
            return self._project
        async with self._lock:
            if self._project is None or self._until <= time.monotonic():
                self._project = await self._read(call)
                self._until = time.monotonic() + _FRESH_S
            return self._project

    async def market(self, call: Call, context: request_context_pb2.RequestContext) -> Project:
        """The settings; Failure where the project does not serve the market of the request."""
        project = await self.get(call)
        if not project.serves(context):
            raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "the project does not serve this market")
        return project

    async def _read(self, call: Call) -> Project:
        settings = await self._api.get(call, "")
        categories = await self._api.query(call, "/tax-categories")
        rates = [rate for category in categories for rate in category["rates"]]
        return Project(
            currencies=frozenset(settings["currencies"]),
            countries=frozenset(settings["countries"]),
            languages=tuple(settings["languages"]) or ("en",),
            untaxed=frozenset(rate["country"] for rate in rates if not rate["includedInPrice"]),
        )
