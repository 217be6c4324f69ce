"""What a Vendure channel is set up for: its markets, its languages, and whether its orders can hold a note."""

import re
import time
from dataclasses import dataclass

from legato.adapter.v1 import request_context_pb2
from legato_adapters.vendure import queries
from legato_adapters.vendure.api import READ_TIMEOUT_S, Refused, VendureApi, left

_FRESH_S = 60.0
_SUBTAG = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class Channel:
    """`note` and `cart_id` tell whether the order has the custom fields `note` and `cartId`."""

    tax_included: bool
    currency: str
    currencies: frozenset[str]
    languages: frozenset[str]
    countries: frozenset[str]
    note: bool
    cart_id: bool

    def serves(self, country: str, currency: str) -> bool:
        """Whether the market is one of this channel's; what is empty fits."""
        return (not country or country in self.countries) and (not currency or currency in self.currencies)


class Channels:
    """Reads the channel and keeps it for a minute. Raises ApiError while there is nothing to keep."""

    def __init__(self, api: VendureApi, *, language: str, currency_code: str) -> None:
        self._api = api
        self._language = language
        self._currency = currency_code
        self._known: Channel | None = None
        self._until = 0.0

    @property
    def known(self) -> Channel | None:
        """What was read last, however long ago."""
        return self._known

    async def get(self, deadline: float | None) -> Channel:
        if self._known is None or time.monotonic() > self._until:
            self._known = await self._read(deadline)
            self._until = time.monotonic() + _FRESH_S
        return self._known

    def parameters(self, channel: Channel, context: request_context_pb2.RequestContext) -> dict[str, str]:
        """The address's parameters that choose language and currency. Vendure falls back to its own language."""
        wanted = {"currencyCode": context.currency_code or self._currency}
        language = (context.locale or self._language).partition("-")[0].lower()
        if _SUBTAG.fullmatch(language) and language in channel.languages:
            wanted["languageCode"] = language
        return {name: value for name, value in wanted.items() if value}

    async def _read(self, deadline: float | None) -> Channel:
        data = (await self._api.post(queries.CHANNEL, timeout=left(deadline, READ_TIMEOUT_S))).data
        found = data["activeChannel"]
        fields = await self._order_fields(deadline)
        return Channel(
            tax_included=found["pricesIncludeTax"],
            currency=found["defaultCurrencyCode"],
            currencies=frozenset(found["availableCurrencyCodes"]),
            languages=frozenset(found["availableLanguageCodes"]),
            countries=frozenset(country["code"] for country in data["availableCountries"]),
            note="note" in fields,
            cart_id="cartId" in fields,
        )

    async def _order_fields(self, deadline: float | None) -> frozenset[str]:
        """The custom fields that a shopper may write."""
        try:
            data = (await self._api.post(queries.ORDER_FIELDS, timeout=left(deadline, READ_TIMEOUT_S))).data
        except Refused:
            # Introspection is forbidden here: without it a note might be dropped without a word.
            return frozenset()
        return frozenset(field["name"] for field in (data["__type"] or {}).get("inputFields") or ())
