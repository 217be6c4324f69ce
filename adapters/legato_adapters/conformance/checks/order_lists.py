"""ORDER: a customer's orders, and what orders do to the stock."""

from legato.adapter.v1 import order_service_pb2
from legato_adapters.conformance.cases import customer_for_orders, ordered
from legato_adapters.conformance.check import Code, Skipped, check, ends_with, expect, same, shown
from legato_adapters.conformance.checks.inventory import availability
from legato_adapters.conformance.checks.orders import cancel
from legato_adapters.conformance.pages import Listing
from legato_adapters.conformance.shop import told
from legato_adapters.conformance.subject import Subject


def listing(subject: Subject, customer_id: str) -> Listing:
    def page(size: int, token: str) -> object:
        return subject.stubs.order.ListOrders(
            order_service_pb2.ListOrdersRequest(
                context=subject.context, customer_id=customer_id, page_size=size, page_token=token
            )
        )

    return Listing(page, lambda answer: [order.id for order in answer.orders])  # type: ignore[arg-type]  # an awaitable


@check(
    "order.list",
    "ORDER",
    "a customer's orders are listed newest first, page by page",
    commands=("place",),
    also=("CART",),
)
async def list_orders(subject: Subject) -> None:
    customer_id = told(await customer_for_orders(subject), "order.customer_id")
    placed = [(await ordered(subject, customer_id=customer_id)).id for _ in range(3)]
    seen = await listing(subject, customer_id).all(2)
    same("the newest orders", seen[:3], placed[::-1])


@check(
    "order.list_bounds",
    "ORDER",
    "a page size out of range, a page token that is none and no customer are INVALID_ARGUMENT",
)
async def list_bounds(subject: Subject) -> None:
    customer_id = await customer_for_orders(subject) or "nobody"
    await listing(subject, customer_id).refuses()
    await ends_with(listing(subject, "").page(10, ""), "a list of nobody's orders", Code.INVALID_ARGUMENT)


@check(
    "order.foreign_token",
    "ORDER",
    "a page token of another customer's list is INVALID_ARGUMENT",
    commands=("place", "CUSTOMER.create"),
    also=("CART", "CUSTOMER"),
)
async def foreign_token(subject: Subject) -> None:
    customers = [await customer_for_orders(subject) for _ in range(2)]
    for _ in range(2):
        await ordered(subject, customer_id=customers[0])
    token = await listing(subject, customers[0]).token()
    await ends_with(listing(subject, customers[1]).page(1, token), "another list's page token", Code.INVALID_ARGUMENT)


@check("order.list_unknown", "ORDER", "a customer who is unknown has no orders")
async def list_unknown(subject: Subject) -> None:
    for customer_id in ("nobody", "999999999"):
        seen = await listing(subject, customer_id).all(10)
        expect(not seen, f"an unknown customer has the orders {shown(seen)}")


@check(
    "order.stock",
    "ORDER",
    "ordered goods leave the stock, and return when the order is cancelled",
    commands=("place", "cancel"),
    also=("CART", "INVENTORY"),
)
async def stock(subject: Subject) -> None:
    sku = subject.shop.goods.abundant_sku

    async def left() -> int:
        entry = (await availability(subject, sku))[sku, ""]
        if not entry.HasField("available"):
            raise Skipped("the backend does not tell how much is in stock")
        return entry.available.steps

    before = await left()
    order = await ordered(subject, steps=3)
    same("what is left after an order of 3", await left(), before - 3)
    await subject.stubs.order.ApplyOrderCommand(cancel(subject, order.id))
    same("what is left after it was cancelled", await left(), before)
