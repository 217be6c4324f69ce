"""From a wish to an adapter call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import cart_service_pb2, request_context_pb2
from legato.commerce.v1 import cart_intent_pb2, cart_pb2, line_item_pb2, quantity_pb2
from legato.orchestrator.v1 import command_pb2, error_pb2
from legato_hub.core.compile import MAX_LINES, body_hash, compile_call
from legato_hub.core.problem import Problem
from legato_hub.core.validation import MAX_STEPS

CONTEXT = request_context_pb2.RequestContext(tenant="t", store="s")
OWNER = cart_service_pb2.Owner(anonymous_id="session")


def line(sku: str, steps: int, *keys: tuple[str, int], unit: str = "") -> line_item_pb2.LineItem:
    made = line_item_pb2.LineItem(id=f"line-{sku}", sku=sku, quantity=quantity_pb2.Quantity(steps=steps, unit=unit))
    for key, share in keys:
        made.client_line_keys.add(key=key, steps=share)
    return made


def cart(*lines: line_item_pb2.LineItem, state: int = cart_pb2.CART_STATE_ACTIVE) -> cart_pb2.Cart:
    made = cart_pb2.Cart(id="x", lines=lines)
    made.state = state  # type: ignore[assignment]
    return made


def command(intent: cart_intent_pb2.CartIntent) -> command_pb2.Command:
    return command_pb2.Command(command_id="c", resource="carts/x", cart=intent)


def adding(sku: str, steps: int, key: str = "", unit: str = "") -> cart_intent_pb2.CartIntent:
    quantity = quantity_pb2.Quantity(steps=steps, unit=unit)
    return cart_intent_pb2.CartIntent(add_line=cart_intent_pb2.AddLine(sku=sku, quantity=quantity, client_line_key=key))


def setting(steps: int, **selector: str) -> cart_intent_pb2.CartIntent:
    made = cart_intent_pb2.CartIntent()
    made.set_line_quantity.line.CopyFrom(cart_intent_pb2.LineSelector(**selector))
    made.set_line_quantity.quantity.steps = steps
    return made


def removing(**selector: str) -> cart_intent_pb2.CartIntent:
    made = cart_intent_pb2.CartIntent()
    made.remove_line.line.CopyFrom(cart_intent_pb2.LineSelector(**selector))
    return made


def target(intent: cart_intent_pb2.CartIntent, present: cart_pb2.Cart) -> cart_service_pb2.LineTarget:
    return compile_call(command(intent), present, CONTEXT, OWNER, "web").line_target


def refusal(intent: cart_intent_pb2.CartIntent, present: cart_pb2.Cart | None) -> str:
    with pytest.raises(Problem) as caught:
        compile_call(command(intent), present, CONTEXT, OWNER, "web")
    return error_pb2.ErrorReason.Name(caught.value.reason).removeprefix("ERROR_REASON_")


CREATE = cart_intent_pb2.CartIntent(create_cart=cart_intent_pb2.CreateCart())


def test_a_creation_names_the_owner_and_nothing_else_does() -> None:
    assert compile_call(command(CREATE), None, CONTEXT, OWNER, "web").owner == OWNER
    assert not compile_call(command(adding("a", 1)), cart(), CONTEXT, OWNER, "web").HasField("owner")


def test_a_cart_is_created_once_and_changed_only_while_active() -> None:
    assert refusal(CREATE, cart()) == "CART_EXISTS"
    assert refusal(adding("a", 1), None) == "NOT_FOUND"
    for state in set(cart_pb2.CartState.values()) - {cart_pb2.CART_STATE_ACTIVE}:
        assert refusal(adding("a", 1), cart(state=state)) == "CART_NOT_ACTIVE"


@given(present=st.integers(1, MAX_STEPS), steps=st.integers(1, MAX_STEPS))
def test_more_of_a_line_is_a_larger_line(present: int, steps: int) -> None:
    if present + steps > MAX_STEPS:
        assert refusal(adding("a", steps), cart(line("a", present))) == "QUANTITY_LIMIT"
    else:
        found = target(adding("a", steps), cart(line("b", 9), line("a", present)))
        assert (found.line_id, found.sku, found.steps) == ("line-a", "a", present + steps)


def test_a_new_line_has_no_id_and_there_is_an_end_to_lines() -> None:
    found = target(adding("new", 2, "k"), cart(line("a", 1)))
    assert (found.line_id, found.steps, found.client_line_key, found.client_line_steps) == ("", 2, "k", 2)
    full = cart(*(line(f"s{n}", 1) for n in range(MAX_LINES)))
    assert refusal(adding("new", 1), full) == "LINE_LIMIT"
    assert target(adding("s1", 1), full).steps == 2


@given(shares=st.lists(st.integers(1, 50), min_size=1, max_size=4), rest=st.integers(0, 50), steps=st.integers(0, 99))
def test_a_folded_key_changes_its_own_quantity_only(shares: list[int], rest: int, steps: int) -> None:
    keys = [(f"k{n}", share) for n, share in enumerate(shares)]
    present = cart(line("a", sum(shares) + rest, *keys))
    changed = target(setting(steps, client_line_key="k0"), present)
    assert (changed.line_id, changed.steps) == ("line-a", sum(shares[1:]) + rest + steps)
    assert (changed.client_line_key, changed.client_line_steps) == ("k0", steps)
    removed = target(removing(client_line_key="k0"), present)
    assert (removed.steps, removed.client_line_steps) == (sum(shares[1:]) + rest, 0)


def test_a_line_by_its_id_is_set_whole() -> None:
    present = cart(line("a", 7, ("k", 3)))
    assert target(setting(5, line_id="line-a"), present).steps == 5
    assert target(removing(line_id="line-a"), present).steps == 0


@pytest.mark.parametrize("intent", [setting(1, line_id="no"), removing(line_id="no"), removing(client_line_key="no")])
def test_a_line_that_is_not_there(intent: cart_intent_pb2.CartIntent) -> None:
    assert refusal(intent, cart(line("a", 1, ("k", 1)))) == "LINE_NOT_FOUND"


def test_a_key_stands_for_one_add_and_a_line_has_one_unit() -> None:
    present = cart(line("a", 7, ("k", 3)), line("tea", 125, unit="kg"))
    assert refusal(adding("b", 1, "k"), present) == "CLIENT_LINE_KEY_TAKEN"
    assert refusal(adding("tea", 1), present) == "INVALID_FIELD"
    assert refusal(setting(1, line_id="line-tea"), present) == "INVALID_FIELD"
    assert target(adding("tea", 25, unit="kg"), present).steps == 150


def test_a_repeat_may_differ_in_what_does_not_matter_and_in_nothing_else() -> None:
    first = command(adding("a", 1))
    repeat = command(adding("a", 1))
    repeat.command_id, repeat.seq, repeat.traceparent = "d", 9, "00-1-2-01"
    repeat.timeout.seconds, repeat.expected.revision = 3, 4
    assert body_hash(first) == body_hash(repeat)
    other = command(adding("a", 1))
    other.resource = "carts/y"
    session = command_pb2.Command(resource="carts/x")
    session.session.sign_out.SetInParent()
    hashes = {body_hash(c) for c in (first, other, session, command(adding("a", 2)), command(removing(line_id="a")))}
    assert len(hashes) == 5
