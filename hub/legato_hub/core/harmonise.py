"""From a backend's cart to the canonical one.

The backend owns lines, prices and state. The hub adds what a backend does not know: whose cart it is, which client
named what it added, on which channel, in which order lines came.
"""

from google.protobuf.timestamp_pb2 import Timestamp

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_pb2, line_item_pb2, provenance_pb2
from legato.protocol.state import Delta, Entries, diff


def harmonise(
    before: cart_pb2.Cart | None,
    answer: cart_pb2.Cart,
    call: cart_service_pb2.ApplyCommandRequest | None,
    *,
    line_id: str,
    source: str,
    now: int,
) -> cart_pb2.Cart:
    """The canonical cart after `answer`, in the order in which `assemble_cart` gives it.

    `before` is the projection so far, `call` what the backend answers to (None for a mere read), `line_id` the line it
    made or changed, `source` the backend's name, `now` milliseconds since 1970.
    """
    cart = cart_pb2.Cart()
    cart.CopyFrom(answer)
    if before is not None:
        _keep_head(cart, before)
    elif call is not None:
        _first_head(cart, call)
    if cart.state == cart_pb2.CART_STATE_UNSPECIFIED:
        cart.state = cart_pb2.CART_STATE_ACTIVE
    known = {line.id: line for line in before.lines} if before is not None else {}
    last = max((line.position for line in known.values()), default=0)
    for line in cart.lines:
        old = known.get(line.id)
        if old is None:
            last += 1
            line.position = last
            line.added_by_channel = line.added_by_channel or (call.channel if call is not None else "")
        else:
            line.position = old.position
            line.added_by_channel = old.added_by_channel
        if not line.client_line_keys:
            _share(line, old, call.line_target if call is not None and line.id == line_id else None)
    cart.lines.sort(key=lambda line: (line.position, line.id))
    cart.discount_codes.sort(key=lambda code: code.code)
    observed_at = Timestamp()
    observed_at.FromMilliseconds(now)
    cart.provenance.CopyFrom(provenance_pb2.Provenance(source=source, observed_at=observed_at))
    return cart


def _keep_head(cart: cart_pb2.Cart, before: cart_pb2.Cart) -> None:
    for field in ("id", "tenant", "store", "country", "currency_code", "locale"):
        setattr(cart, field, getattr(before, field))
    owner = before.WhichOneof("owner")
    if owner is not None:
        setattr(cart, owner, getattr(before, owner))
    if before.HasField("created_at"):
        cart.created_at.CopyFrom(before.created_at)


def _first_head(cart: cart_pb2.Cart, call: cart_service_pb2.ApplyCommandRequest) -> None:
    cart.id = call.cart_id
    for field in ("tenant", "store", "country", "currency_code", "locale"):
        setattr(cart, field, getattr(call.context, field))
    owner = call.owner.WhichOneof("owner")
    if owner is not None:
        setattr(cart, owner, getattr(call.owner, owner))


def _share(
    line: line_item_pb2.LineItem,
    old: line_item_pb2.LineItem | None,
    target: cart_service_pb2.LineTarget | None,
) -> None:
    """Carry the clients' keys on. When the line became smaller than its keys say, the newest lose first."""
    shares = {key.key: key.steps for key in old.client_line_keys} if old is not None else {}
    if target is not None and target.client_line_key:
        shares[target.client_line_key] = target.client_line_steps
    left = line.quantity.steps
    for key, steps in shares.items():
        granted = min(steps, left)
        left -= granted
        if granted > 0:
            line.client_line_keys.add(key=key, steps=granted)


def change(before: Entries, after: Entries) -> Delta:
    """The delta between two projections; empty when nothing changed but the time of reading."""
    delta = diff(before, after)
    if not delta.deletes and delta.upserts.keys() == {"provenance"} and "provenance" in before:
        old = provenance_pb2.Provenance.FromString(before["provenance"])
        new = provenance_pb2.Provenance.FromString(after["provenance"])
        if (old.source, old.stale) == (new.source, new.stale):
            return Delta()
    return delta
