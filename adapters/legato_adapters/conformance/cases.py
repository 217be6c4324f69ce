"""Things that checks begin with: a cart that can be ordered, an order, a customer, a held payment.

Each is made anew, through the adapter itself.
"""

from typing import Any

from legato.adapter.v1 import (
    cart_service_pb2,
    customer_service_pb2,
    order_service_pb2,
    payment_service_pb2,
)
from legato.commerce.v1 import address_pb2, customer_pb2, money_pb2, order_pb2, payment_pb2, total_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser
from legato_adapters.conformance.check import expect, shown
from legato_adapters.conformance.subject import Subject

EMAIL = "ada@example.org"


async def owned_cart(subject: Subject, customer_id: str) -> CartUser:
    """A new cart of a known customer."""
    user = subject.visitor()
    user.owner = cart_service_pb2.Owner(customer_id=customer_id)
    await user.apply(create_cart={})
    return user


async def ready_cart(subject: Subject, *, steps: int = 3, customer_id: str = "") -> CartUser:
    """A cart with `steps` of goods.abundant_sku that has all that an order needs, as far as the adapter can be told."""
    user = await (owned_cart(subject, customer_id) if customer_id else subject.shopper())
    await user.add(subject.shop.goods.abundant_sku, steps)
    if subject.claims_command("CART", "set_email"):
        await user.apply(set_email={"email": EMAIL})
    if subject.claims_command("CART", "set_address"):
        for purpose in (address_pb2.ADDRESS_PURPOSE_SHIPPING, address_pb2.ADDRESS_PURPOSE_BILLING):
            await user.apply(set_address={"purpose": purpose, "address": subject.shop.cart.address})
    if subject.claims_command("CART", "set_delivery_option"):
        options = user.cart.fulfilment.available
        expect(options, "a cart with an address has no delivery options")
        # What is collected needs no carrier, and not every shop has it: the first that is delivered.
        chosen = next((option for option in options if not option.location_id), options[0])
        await user.apply(set_delivery_option={"option_id": chosen.id})
    return user


def grand_total(user: CartUser) -> money_pb2.Money:
    """What the cart costs."""
    totals = [item for item in user.cart.totals.items if item.type == total_pb2.TOTAL_TYPE_GRAND_TOTAL]
    expect(len(totals) == 1, f"the cart has {len(totals)} grand totals")
    return totals[0].amount


def paid(user: CartUser, units: int | None = None, currency: str = "") -> order_pb2.OrderPayment:
    """A payment that another backend holds for the cart: of all that it costs, or of so many units."""
    amount = money_pb2.Money()
    amount.CopyFrom(grand_total(user))
    if units is not None:
        amount.units = units
    amount.currency_code = currency or amount.currency_code
    return order_pb2.OrderPayment(payment_id=f"pay-{new_id()}", system="payments", authorized=amount)


def place(
    subject: Subject, user: CartUser, *payments: order_pb2.OrderPayment
) -> order_service_pb2.ApplyOrderCommandRequest:
    """A command that buys the cart; without payments as cheaply as the shop allows."""
    if not payments and not subject.shop.order.paid_later:
        payments = (paid(user),)
    return order_service_pb2.ApplyOrderCommandRequest(
        context=subject.context,
        command_id=new_id(),
        command=order_service_pb2.OrderCommand(
            place=order_service_pb2.PlaceOrder(cart_id=user.cart_id, payments=payments)
        ),
        adapter_state=user.adapter_state,
    )


async def ordered(subject: Subject, *, steps: int = 3, customer_id: str = "") -> order_pb2.Order:
    """A new order of goods.abundant_sku."""
    return await bought(subject, await ready_cart(subject, steps=steps, customer_id=customer_id))


async def bought(subject: Subject, user: CartUser) -> order_pb2.Order:
    """The order of a cart that is ready."""
    response = await subject.stubs.order.ApplyOrderCommand(place(subject, user))
    expect(not response.HasField("rejection"), f"place was refused: {shown(response.rejection)}")
    expect(response.HasField("order"), "place is answered without an order")
    return response.order


def customer_command(subject: Subject, **command: Any) -> customer_service_pb2.ApplyCustomerCommandRequest:
    return customer_service_pb2.ApplyCustomerCommandRequest(
        context=subject.context, command_id=new_id(), command=customer_service_pb2.CustomerCommand(**command)
    )


def new_email(subject: Subject) -> str:
    """An e-mail address that nobody has yet."""
    return f"kit-{new_id()}@{subject.shop.customer.email_domain}"


async def customer(subject: Subject, **fields: str) -> customer_pb2.Customer:
    """A new customer."""
    create = {"email": new_email(subject), "first_name": "Ada", "last_name": "Berg", **fields}
    response = await subject.stubs.customer.ApplyCustomerCommand(customer_command(subject, create=create))
    expect(not response.HasField("rejection"), f"create was refused: {shown(response.rejection)}")
    expect(response.customer.id, "a new customer has no id")
    return response.customer


async def customer_for_orders(subject: Subject) -> str:
    """Id of a customer to order as; empty where the shop has none."""
    if subject.claims_command("CUSTOMER", "create"):
        return (await customer(subject)).id
    return subject.shop.order.customer_id


def money(subject: Subject, units: int, currency: str = "") -> money_pb2.Money:
    """An amount in the market's currency, with two decimal places."""
    return money_pb2.Money(currency_code=currency or subject.shop.market.currency, units=units, scale=2)


def payment_command(subject: Subject, **command: Any) -> payment_service_pb2.ApplyPaymentCommandRequest:
    return payment_service_pb2.ApplyPaymentCommandRequest(
        context=subject.context, command_id=new_id(), command=payment_service_pb2.PaymentCommand(**command)
    )


def authorize(
    subject: Subject, *, token: str = "", units: int = 2000, currency: str = ""
) -> payment_service_pb2.ApplyPaymentCommandRequest:
    """A command that holds money."""
    wish = {
        "amount": money(subject, units, currency),
        "method_token": token or subject.shop.payment.method_token,
        "cart_id": new_id(),
        "return_url": "https://shop.example/back",
    }
    return payment_command(subject, authorize=wish)


async def held(subject: Subject, units: int = 2000) -> payment_pb2.Payment:
    """A payment of which money is held."""
    return await pay(subject, authorize(subject, units=units))


async def pay(subject: Subject, request: payment_service_pb2.ApplyPaymentCommandRequest) -> payment_pb2.Payment:
    """The payment after a command that is expected to be executed."""
    response = await subject.stubs.payment.ApplyPaymentCommand(request)
    what = request.command.WhichOneof("command")
    expect(not response.HasField("rejection"), f"{what} was refused: {shown(response.rejection)}")
    expect(response.payment.id, f"{what} is answered without a payment")
    return response.payment
