"""Plays a journey towards an adapter: carts that can be ordered, orders, payments, customers, shipments."""

from typing import Any

from legato.adapter.v1 import (
    customer_service_pb2,
    fulfilment_service_pb2,
    order_service_pb2,
    payment_service_pb2,
    request_context_pb2,
)
from legato.commerce.v1 import customer_pb2, order_pb2, payment_pb2, shipment_pb2, total_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import CartUser, total
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.tried import Tried


class Shopper:
    """Somebody at one shop. The methods named after commands expect that the backend executes them."""

    def __init__(self, adapter: Tried, stubs: Stubs, *, tenant: str = "acme") -> None:
        self.shop = adapter.shop
        self.stubs = stubs
        self.context: request_context_pb2.RequestContext = adapter.context(tenant=tenant)

    async def cart(self, steps: int = 2, *, customer_id: str = "") -> CartUser:
        """A cart with everything that an order needs."""
        user = CartUser(self.stubs.cart, self.context)
        creation = user.call(create_cart={})
        if customer_id:
            creation.owner.customer_id = customer_id
        await user.send(creation)
        await user.add(self.shop.goods.abundant_sku, steps)
        await user.apply(set_email={"email": "ada@shop.example"})
        await user.apply(set_address={"purpose": "ADDRESS_PURPOSE_SHIPPING", "address": self.shop.cart.address})
        await user.apply(set_delivery_option={"option_id": user.cart.fulfilment.available[0].id})
        return user

    def to_order(self, user: CartUser, *payments: order_pb2.OrderPayment) -> order_service_pb2.ApplyOrderCommandRequest:
        command = order_service_pb2.OrderCommand(place={"cart_id": user.cart_id, "payments": payments})  # type: ignore[arg-type]
        return order_service_pb2.ApplyOrderCommandRequest(
            context=self.context, command_id=new_id(), command=command, adapter_state=user.adapter_state
        )

    def to_cancel(self, order_id: str) -> order_service_pb2.ApplyOrderCommandRequest:
        command = order_service_pb2.OrderCommand(cancel=order_service_pb2.CancelOrder(order_id=order_id))
        return order_service_pb2.ApplyOrderCommandRequest(context=self.context, command_id=new_id(), command=command)

    async def order(
        self, user: CartUser | None = None, *payments: order_pb2.OrderPayment, steps: int = 2, customer_id: str = ""
    ) -> order_pb2.Order:
        user = user or await self.cart(steps, customer_id=customer_id)
        answer = await self.stubs.order.ApplyOrderCommand(self.to_order(user, *payments), timeout=TIMEOUT_S)
        assert not answer.HasField("rejection"), answer.rejection
        return answer.order

    async def read_order(self, **key: str) -> order_pb2.Order:
        request = order_service_pb2.GetOrderRequest(context=self.context, **key)
        return (await self.stubs.order.GetOrder(request, timeout=TIMEOUT_S)).order

    def payment_call(self, **command: Any) -> payment_service_pb2.ApplyPaymentCommandRequest:
        return payment_service_pb2.ApplyPaymentCommandRequest(
            context=self.context, command_id=new_id(), command=payment_service_pb2.PaymentCommand(**command)
        )

    def to_authorize(
        self, units: int = 1_000, token: str = "pays", cart_id: str = "", return_url: str = ""
    ) -> payment_service_pb2.ApplyPaymentCommandRequest:
        return self.payment_call(
            authorize={
                "amount": self.money(units),
                "method_token": self._token(token),
                "cart_id": cart_id or new_id(),
                "return_url": return_url,
            }
        )

    def _token(self, name: str) -> str:
        """What stands for a card that pays, declines or asks first; else the name itself."""
        data = self.shop.payment
        cards = {"pays": data.method_token, "declines": data.declined_token, "challenges": data.action_token}
        return cards.get(name, name)

    async def pay(self, request: payment_service_pb2.ApplyPaymentCommandRequest) -> payment_pb2.Payment:
        answer = await self.stubs.payment.ApplyPaymentCommand(request, timeout=TIMEOUT_S)
        assert not answer.HasField("rejection"), answer.rejection
        return answer.payment

    async def not_paid(
        self, request: payment_service_pb2.ApplyPaymentCommandRequest
    ) -> payment_service_pb2.ApplyPaymentCommandResponse:
        answer = await self.stubs.payment.ApplyPaymentCommand(request, timeout=TIMEOUT_S)
        assert answer.HasField("rejection"), "the backend executed it"
        return answer

    async def read_payment(self, payment_id: str) -> payment_pb2.Payment:
        request = payment_service_pb2.GetPaymentRequest(context=self.context, payment_id=payment_id)
        return (await self.stubs.payment.GetPayment(request, timeout=TIMEOUT_S)).payment

    def customer_call(self, **command: Any) -> customer_service_pb2.ApplyCustomerCommandRequest:
        return customer_service_pb2.ApplyCustomerCommandRequest(
            context=self.context, command_id=new_id(), command=customer_service_pb2.CustomerCommand(**command)
        )

    async def customer(self, **fields: Any) -> customer_pb2.Customer:
        """A new one, with an e-mail address of its own."""
        wish = {"email": f"{new_id()}@shop.example", "first_name": "Ada", **fields}
        return (await self.keep(self.customer_call(create=wish))).customer

    async def keep(
        self, request: customer_service_pb2.ApplyCustomerCommandRequest
    ) -> customer_service_pb2.ApplyCustomerCommandResponse:
        answer = await self.stubs.customer.ApplyCustomerCommand(request, timeout=TIMEOUT_S)
        assert not answer.HasField("rejection"), answer.rejection
        return answer

    async def not_kept(
        self, request: customer_service_pb2.ApplyCustomerCommandRequest
    ) -> customer_service_pb2.CustomerRejection:
        answer = await self.stubs.customer.ApplyCustomerCommand(request, timeout=TIMEOUT_S)
        assert answer.HasField("rejection"), "the backend executed it"
        return answer.rejection

    def fulfilment_call(self, **command: Any) -> fulfilment_service_pb2.ApplyFulfilmentCommandRequest:
        return fulfilment_service_pb2.ApplyFulfilmentCommandRequest(
            context=self.context, command_id=new_id(), command=fulfilment_service_pb2.FulfilmentCommand(**command)
        )

    async def fulfil(self, request: fulfilment_service_pb2.ApplyFulfilmentCommandRequest) -> shipment_pb2.Shipment:
        answer = await self.stubs.fulfilment.ApplyFulfilmentCommand(request, timeout=TIMEOUT_S)
        assert not answer.HasField("rejection"), answer.rejection
        return answer.shipment

    async def not_fulfilled(
        self, request: fulfilment_service_pb2.ApplyFulfilmentCommandRequest
    ) -> fulfilment_service_pb2.FulfilmentRejection:
        answer = await self.stubs.fulfilment.ApplyFulfilmentCommand(request, timeout=TIMEOUT_S)
        assert answer.HasField("rejection"), "the backend executed it"
        return answer.rejection

    async def shipments(self, order_id: str) -> list[shipment_pb2.Shipment]:
        request = fulfilment_service_pb2.ListShipmentsRequest(context=self.context, order_id=order_id)
        return list((await self.stubs.fulfilment.ListShipments(request, timeout=TIMEOUT_S)).shipments)

    def money(self, units: int, *, scale: int = 2) -> dict[str, Any]:
        return {"currency_code": self.shop.market.currency, "units": units, "scale": scale}


def grand_total(user: CartUser) -> int:
    return total(user.cart, total_pb2.TOTAL_TYPE_GRAND_TOTAL)
