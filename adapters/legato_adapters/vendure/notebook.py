"""What the adapter writes into `adapter_state`: where a cart lives in Vendure, and what Vendure will not keep."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from legato.commerce.v1 import address_pb2, cart_pb2

_VERSION = 1
_MAX_FINAL = 40_000


@dataclass
class Notebook:
    """One cart. It holds the token of the cart's session: not to be logged."""

    tenant: str
    cart_id: str
    token: str = field(repr=False)
    order_id: str
    order_code: str
    names: dict[str, list[str]] = field(default_factory=dict)
    """First and last name by purpose of address: Vendure has the full name only."""
    delivery: str = ""
    """The option that was chosen: Vendure may put another in its place without a word."""
    final: str = ""
    """The cart as it was canceled, packed: Vendure shows no shopper what was."""
    canceled: bool = False

    def to_bytes(self) -> bytes:
        return json.dumps({"v": _VERSION, **vars(self)}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, state: bytes) -> "Notebook":
        """Raises ValueError for what `to_bytes` has not written."""
        try:
            values: Mapping[str, Any] = json.loads(state)
            if values["v"] != _VERSION:
                raise ValueError("adapter_state has another version")
            return cls(**{name: value for name, value in values.items() if name != "v"})
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("adapter_state is malformed") from error

    def keep_names(self, purpose: "address_pb2.AddressPurpose.ValueType", address: address_pb2.Address) -> None:
        self.names[str(purpose)] = [address.first_name, address.last_name]

    def names_of(self, purpose: "address_pb2.AddressPurpose.ValueType", full_name: str) -> tuple[str, str]:
        """First and last name of a full name; split at the last space if it is not the one that was written."""
        first, last = self.names.get(str(purpose), ("", ""))
        if full_name == join_names(first, last):
            return first, last
        first, _, last = full_name.rpartition(" ")
        return first, last

    def close(self, cart: cart_pb2.Cart) -> None:
        """Remember that the cart was canceled, and how it was; one that is too large without its lines."""
        self.canceled = True
        packed = zlib.compress(cart.SerializeToString(deterministic=True), 9)
        if len(packed) > _MAX_FINAL:
            head = cart_pb2.Cart()
            head.CopyFrom(cart)
            head.ClearField("lines")
            packed = zlib.compress(head.SerializeToString(deterministic=True), 9)
        self.final = base64.b64encode(packed).decode()

    def final_cart(self) -> cart_pb2.Cart:
        return cart_pb2.Cart.FromString(zlib.decompress(base64.b64decode(self.final)))


def join_names(first: str, last: str) -> str:
    return f"{first} {last}".strip()
