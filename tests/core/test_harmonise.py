"""From a backend's cart to the canonical one."""

from hypothesis import given
from hypothesis import strategies as st

from legato.adapter.v1 import cart_service_pb2
from legato.commerce.v1 import cart_pb2, discount_pb2
from legato.protocol.entities import assemble_cart, split_cart
from legato.protocol.state import apply
from legato_hub.core.harmonise import change, harmonise

NOW = 1_800_000_000_000


def answer(*lines: tuple[str, int]) -> cart_pb2.Cart:
    made = cart_pb2.Cart()
    for line_id, steps in lines:
        made.lines.add(id=line_id, sku=line_id.upper()).quantity.steps = steps
    return made


def created() -> cart_pb2.Cart:
    call = cart_service_pb2.ApplyCommandRequest(cart_id="x", channel="web")
    call.context.tenant, call.context.store, call.context.currency_code = "t", "s", "EUR"
    call.owner.anonymous_id = "session"
    return harmonise(None, answer(), call, line_id="", source="shop", now=NOW)


def added(
    before: cart_pb2.Cart, said: cart_pb2.Cart, line_id: str, key: str = "", steps: int = 0, channel: str = "web"
) -> cart_pb2.Cart:
    call = cart_service_pb2.ApplyCommandRequest(cart_id="x", channel=channel)
    call.line_target.client_line_key, call.line_target.client_line_steps = key, steps
    return harmonise(before, said, call, line_id=line_id, source="shop", now=NOW)


def read(before: cart_pb2.Cart, said: cart_pb2.Cart, now: int = NOW) -> cart_pb2.Cart:
    return harmonise(before, said, None, line_id="", source="shop", now=now)


def keys(cart: cart_pb2.Cart, line_id: str) -> dict[str, int]:
    (line,) = (line for line in cart.lines if line.id == line_id)
    return {key.key: key.steps for key in line.client_line_keys}


def test_a_new_cart_is_whose_and_where_the_hub_says() -> None:
    cart = created()
    assert (cart.id, cart.tenant, cart.store, cart.currency_code) == ("x", "t", "s", "EUR")
    assert cart.anonymous_id == "session"
    assert cart.state == cart_pb2.CART_STATE_ACTIVE
    assert cart.provenance.source == "shop"


def test_a_backend_cannot_give_a_cart_to_somebody_else() -> None:
    said = cart_pb2.Cart(id="y", tenant="other", store="elsewhere", currency_code="USD", customer_id="mallory")
    cart = read(created(), said)
    assert (cart.id, cart.tenant, cart.store, cart.currency_code) == ("x", "t", "s", "EUR")
    assert cart.WhichOneof("owner") == "anonymous_id"


def test_lines_keep_their_place_and_the_channel_that_added_them() -> None:
    cart = added(created(), answer(("a", 1)), "a", channel="web")
    cart = added(cart, answer(("b", 1), ("a", 1)), "b", channel="pos")
    # The backend lists them in another order, and has one more that nobody added here.
    cart = read(cart, answer(("c", 1), ("b", 1), ("a", 2)))
    assert {line.id: (line.position, line.added_by_channel) for line in cart.lines} == {
        "a": (1, "web"),
        "b": (2, "pos"),
        "c": (3, ""),
    }


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 120))
def test_keys_never_stand_for_more_than_there_is(shares: list[int], left: int) -> None:
    cart, total = created(), 0
    for number, share in enumerate(shares):
        total += share
        cart = added(cart, answer(("a", total)), "a", f"k{number}", share)
    assert keys(cart, "a") == {f"k{number}": share for number, share in enumerate(shares)}
    cart = read(cart, answer(("a", left)) if left else answer())
    if not left:
        assert not cart.lines
        return
    found = keys(cart, "a")
    assert sum(found.values()) == min(left, total)
    # The oldest are served first.
    assert list(found) == [f"k{number}" for number in range(len(found))]


def test_a_removed_share_is_gone() -> None:
    cart = added(created(), answer(("a", 3)), "a", "k", 3)
    cart = added(cart, answer(("a", 5)), "a", "m", 2)
    cart = added(cart, answer(("a", 2)), "a", "k", 0)
    assert keys(cart, "a") == {"m": 2}


def test_the_time_of_reading_alone_is_no_change() -> None:
    before = created()
    later = read(before, answer(), NOW + 5_000)
    assert not change(split_cart(before), split_cart(later))
    later.provenance.stale = True
    assert change(split_cart(before), split_cart(later))


def test_a_change_carries_the_new_time_of_reading() -> None:
    before = split_cart(created())
    after = split_cart(read(created(), answer(("a", 1)), NOW + 5_000))
    delta = change(before, after)
    assert {"line/a", "provenance"} <= delta.upserts.keys()
    assert apply(before, delta) == after


@given(st.permutations("abcde"), st.permutations("abcde"), st.lists(st.sampled_from("XYZ"), unique=True))
def test_it_is_what_its_entities_describe(first: list[str], later: list[str], codes: list[str]) -> None:
    cart = read(created(), answer(*((line_id, 1) for line_id in first)))
    said = answer(*((line_id, 2) for line_id in later[1:]))
    said.discount_codes.extend(discount_pb2.DiscountCode(code=code) for code in codes)
    said.totals.items.add(label="Total")
    cart = read(cart, said)
    assert cart == assemble_cart(split_cart(cart))
