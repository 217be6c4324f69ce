"""Discount codes, looked at before they are entered: commercetools takes an expired one and says so on the cart."""

import datetime

from legato_adapters.commercetools.api import Api, Json
from legato_adapters.commercetools.intents import Refusal
from legato_adapters.http import Call

__all__ = ["Codes", "worthless"]


class Codes:
    """The project's discount codes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def check(self, call: Call, code: str) -> None:
        """Raises Refusal for a code that no cart can use now."""
        found = await self._api.query(call, "/discount-codes", "code = :code", variables={"code": code}, limit=1)
        why = worthless(found[0], datetime.datetime.now(datetime.UTC)) if found else "DoesNotExist"
        if why:
            raise Refusal("DISCOUNT_CODE_INVALID", "the code does not count", why)


def worthless(code: Json, now: datetime.datetime) -> str:
    """Why a code counts for nobody, in commercetools' words; empty where it may count."""
    if not code["isActive"]:
        return "NotActive"
    begin, end = code.get("validFrom"), code.get("validUntil")
    if (begin and datetime.datetime.fromisoformat(begin) > now) or (
        end and datetime.datetime.fromisoformat(end) <= now
    ):
        return "NotValid"
    return ""
