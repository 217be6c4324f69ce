"""What both servers serve and the load client checks: one cart of about 1.2 KB, and revisions of some 400 bytes.

A revision changes what a change of quantity changes in the hub: a line, the totals and the provenance.
"""

from google.protobuf.timestamp_pb2 import Timestamp

from legato.commerce.v1 import cart_pb2, line_item_pb2, money_pb2, quantity_pb2, total_pb2
from legato.orchestrator.v1 import command_pb2, cursor_pb2, reads_pb2, stream_pb2
from legato.protocol import state
from legato.protocol.entities import split_cart
from legato.protocol.state import Delta

SUBSCRIPTION = "s1"
EPOCH = "0123456789abcdef"
SERVICE = "legato.orchestrator.v1.OrchestratorService"
CONNECT, GET_CART = f"/{SERVICE}/Connect", f"/{SERVICE}/GetCart"
LINES = 4
PRICE = 4_990


def quantity_at(revision: int) -> int:
    """The first line's quantity: each revision differs from the one before."""
    return 1 + revision % 5


def money(units: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="EUR", units=units, scale=2)


def _line(number: int, quantity: int) -> line_item_pb2.LineItem:
    line = line_item_pb2.LineItem(
        id=f"line-{number}", position=number, sku=f"TENT-{number:04}", tax_included=True, added_by_channel="web"
    )
    line.quantity.CopyFrom(quantity_pb2.Quantity(steps=quantity))
    line.item.product_id = f"product-{number:04}"
    line.item.name = "Two-person tent with a vestibule, 1.9 kg, moss green"
    line.item.image_url = f"https://images.example/products/{number:04}/large.webp"
    line.item.options.add(name="colour", value="moss green")
    line.unit_price.CopyFrom(money(PRICE))
    line.tax_lines.add(label="VAT", rate_ppm=190_000, amount=money(PRICE * quantity * 19 // 119))
    line.total.CopyFrom(money(PRICE * quantity))
    return line


def cart(cart_id: str, quantity: int) -> cart_pb2.Cart:
    """The cart as a backend has it, with this quantity in its first line."""
    made = cart_pb2.Cart(id=cart_id, tenant="demo", store="main", country="DE", currency_code="EUR", locale="de-DE")
    made.state = cart_pb2.CART_STATE_ACTIVE
    made.lines.extend(_line(number, quantity if number == 1 else 1) for number in range(1, LINES + 1))
    total = sum(line.total.units for line in made.lines)
    for kind in (total_pb2.TOTAL_TYPE_SUBTOTAL, total_pb2.TOTAL_TYPE_GRAND_TOTAL):
        made.totals.items.add(type=kind, label="Total", amount=money(total))
    made.totals.tax_lines.add(label="VAT", rate_ppm=190_000, amount=money(total * 19 // 119))
    return made


def entries(revision: int) -> dict[str, bytes]:
    """The cart's entities at a revision, as they stand in a storage."""
    made = cart("01900000-0000-7000-8000-000000000000", quantity_at(revision))
    made.provenance.source = "null"
    made.provenance.observed_at.CopyFrom(Timestamp(seconds=1_800_000_000 + revision))
    return split_cart(made)


def delta(revision: int) -> Delta:
    """What this revision changes."""
    whole = entries(revision)
    return Delta({key: whole[key] for key in ("line/line-1", "totals", "provenance")})


def first_delta() -> Delta:
    """The cart as a whole, at revision 1."""
    return Delta(entries(1))


def _cursor(revision: int) -> cursor_pb2.Cursor:
    return cursor_pb2.Cursor(epoch=EPOCH, revision=revision)


def _response(**message: object) -> bytes:
    server_message = stream_pb2.ServerMessage(**message)  # type: ignore[arg-type]  # one field of many types
    return stream_pb2.ConnectResponse(messages=[server_message]).SerializeToString()


def delta_message(revision: int) -> bytes:
    """A revision on its way to a client, serialised."""
    header = stream_pb2.Delta(subscription_id=SUBSCRIPTION, prev_revision=revision - 1, cursor=_cursor(revision))
    header.payload = delta(revision).to_bytes()
    return _response(delta=header)


def snapshot_message(revision: int) -> bytes:
    """The first message of a subscription, serialised."""
    whole = entries(revision)
    snapshot = stream_pb2.Snapshot(subscription_id=SUBSCRIPTION, cursor=_cursor(revision))
    snapshot.payload, snapshot.digest = state.entries_to_bytes(whole), state.digest(whole)
    return _response(snapshot=snapshot)


def _result() -> command_pb2.CommandResult:
    """In the size of a real one."""
    return command_pb2.CommandResult(
        command_id="01900000-0000-7000-8000-000000000002",
        resource="carts/01900000-0000-7000-8000-000000000000",
        seq=1,
        outcome=command_pb2.OUTCOME_APPLIED,
        cursor=_cursor(2),
        line_id="line-1",
    )


def _get_cart_response() -> reads_pb2.GetCartResponse:
    made = cart("01900000-0000-7000-8000-000000000000", quantity_at(1))
    made.anonymous_id = "01900000-0000-7000-8000-000000000003"
    made.provenance.source = "null"
    made.provenance.observed_at.CopyFrom(Timestamp(seconds=1_800_000_001))
    return reads_pb2.GetCartResponse(cart=made, cursor=_cursor(1))


WELCOME = _response(welcome=stream_pb2.Welcome(connection_id="01900000-0000-7000-8000-000000000001"))
"""The first message of a stream, serialised."""
RESULT = _result().SerializeToString()
"""The result of a command, serialised as a storage keeps it."""
RESULT_MESSAGE = _response(command_result=_result())
"""The same on its way to a client."""
ANSWER = _get_cart_response().SerializeToString()
"""The answer to GetCart, serialised."""
