"""Commands in any order, repeated at any time, against a plain dictionary: what is in a cart, and when it changes."""

import sqlite3
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_intent_pb2, cart_pb2
from legato.protocol.ids import new_id
from legato_adapters.conformance.cart_user import steps_by_sku, total
from legato_adapters.reference.carts import Carts
from legato_adapters.reference.catalog import Catalog
from legato_adapters.reference.database import _SCHEMA
from legato_adapters.reference.seed import seed
from tests.adapters.tried import REFERENCE

STOCK = {"STOVE-TI": 5, "LAMP-400-RED": 0, "MUG-WHT": 105, "BAR-APPLE": 660}
SKUS = st.sampled_from([*STOCK, "NO-SUCH-SKU"])


class Shopping(RuleBasedStateMachine):
    """One cart. `model` has the pieces of each sku, `parts` what each client's key stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(_SCHEMA)
        seed(self.connection)
        self.carts = Carts(Catalog.load(self.connection))
        self.cart_id = new_id()
        self.cart = cart_pb2.Cart()
        self.version = 0
        self.sent: list[tuple[cart_service_pb2.ApplyCommandRequest, cart_service_pb2.ApplyCommandResponse]] = []
        self.model: dict[str, int] = {}
        self.parts: dict[str, tuple[str, int]] = {}

    def teardown(self) -> None:
        self.connection.close()

    def send(self, *, changes: bool, **intent: Any) -> None:
        """Send a command; `changes` is whether the model says that the cart becomes another."""
        request = cart_service_pb2.ApplyCommandRequest(
            context=REFERENCE.context(),
            cart_id=self.cart_id,
            command_id=new_id(),
            intent=cart_intent_pb2.CartIntent(**intent),
        )
        response = self.carts.apply(self.connection, request, None)
        self.sent.append((request, response))
        self.cart = response.cart
        self.version += changes
        assert int(response.version) == self.version

    @initialize()
    def create(self) -> None:
        self.send(changes=True, create_cart={})

    @rule(sku=SKUS, steps=st.integers(1, 8), key=st.sampled_from(["", "a", "b", "c"]))
    def add(self, sku: str, steps: int, key: str) -> None:
        possible = key not in self.parts and self.model.get(sku, 0) + steps <= STOCK.get(sku, 0)
        self.send(changes=possible, add_line={"sku": sku, "quantity": {"steps": steps}, "client_line_key": key})
        if possible:
            self.model[sku] = self.model.get(sku, 0) + steps
            if key:
                self.parts[key] = (sku, steps)

    @rule(key=st.sampled_from(["a", "b", "c"]), steps=st.integers(0, 8))
    def set_part(self, key: str, steps: int) -> None:
        sku, had = self.parts.get(key, ("", 0))
        whole = self.model.get(sku, 0) - had + steps
        possible = key in self.parts and whole <= max(STOCK[sku], self.model[sku])
        intent = {"line": {"client_line_key": key}, "quantity": {"steps": steps}}
        self.send(changes=possible and steps != had, set_line_quantity=intent)
        if possible:
            self.model[sku] = whole
            self.parts[key] = (sku, steps)
            self.forget_what_is_gone()

    @rule(data=st.data())
    def remove_line(self, data: st.DataObject) -> None:
        if self.cart.lines:
            line = data.draw(st.sampled_from(list(self.cart.lines)))
            self.send(changes=True, remove_line={"line": {"line_id": line.id}})
            self.model[line.sku] = 0
            self.forget_what_is_gone()

    def forget_what_is_gone(self) -> None:
        self.model = {sku: steps for sku, steps in self.model.items() if steps}
        self.parts = {key: part for key, part in self.parts.items() if part[1] and part[0] in self.model}

    @rule(code=st.sampled_from(["WELCOME10", "SAVE5", "FREESHIP", "SUMMER19"]))
    def add_code(self, code: str) -> None:
        known = {entered.code for entered in self.cart.discount_codes}
        self.send(changes=code != "SUMMER19" and code not in known, add_discount_code={"code": code})

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        request, first = data.draw(st.sampled_from(self.sent))
        again = self.carts.apply(self.connection, request, None)
        resolved = self.carts.resolve(self.connection, request)
        assert resolved.resolution == cart_service_pb2.RESOLUTION_APPLIED
        for answer in (again, resolved.response):
            assert (answer.line_id, answer.rejection) == (first.line_id, first.rejection)
            assert answer.cart.lines == self.cart.lines
            assert int(answer.version) == self.version

    @invariant()
    def the_cart_is_the_models(self) -> None:
        assert steps_by_sku(self.cart) == self.model
        parts = {share.key: (line.sku, share.steps) for line in self.cart.lines for share in line.client_line_keys}
        assert parts == self.parts

    @invariant()
    def sums_agree(self) -> None:
        if self.cart.HasField("totals"):
            paid = sum(line.total.units for line in self.cart.lines)
            assert total(self.cart, self.cart.totals.items[-1].type) == paid
            shared = sum(line_tax.amount.units for line in self.cart.lines for line_tax in line.tax_lines)
            assert shared == sum(tax.amount.units for tax in self.cart.totals.tax_lines)


TestShopping = Shopping.TestCase
TestShopping.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
