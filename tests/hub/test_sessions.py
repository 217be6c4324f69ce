"""What commands do to a session: the reducer alone."""

import pytest

from legato.commerce.v1 import session_pb2
from legato.orchestrator.v1 import error_pb2, session_intent_pb2
from legato.protocol.entities import assemble_session
from legato.protocol.ids import new_id
from legato.protocol.state import Entries, diff
from legato_hub.core import sessions, sign_in
from legato_hub.core.market import Market, Store, resolve
from legato_hub.core.problem import Problem

SESSION = new_id()
NOW = 1_780_000_000_000
CARTS = sorted(new_id(NOW + n) for n in range(60))
STORES = {"main": Store("main", "DE", ("EUR", "CHF"), "de-DE"), "us": Store("us", "US", ("USD",), "en-US")}


@pytest.fixture
def fresh() -> Entries:
    return sessions.new(SESSION, "demo", Market("main", "DE", "EUR", "de-DE"), NOW)


def intent(**wish: object) -> session_intent_pb2.SessionIntent:
    return session_intent_pb2.SessionIntent(**wish)  # type: ignore[arg-type]


def view(product_id: str, sku: str = "") -> session_intent_pb2.SessionIntent:
    return intent(view_product=session_intent_pb2.ViewProduct(product_id=product_id, sku=sku))


def consent(purpose: str, granted: bool) -> session_intent_pb2.SessionIntent:
    return intent(set_consent=session_intent_pb2.SetConsent(purpose=purpose, granted=granted))


def activate(cart_id: str) -> session_intent_pb2.SessionIntent:
    return intent(activate_cart=session_intent_pb2.ActivateCart(cart_id=cart_id))


CLEAR = intent(clear_history=session_intent_pb2.ClearHistory())
SIGN_OUT = intent(sign_out=session_intent_pb2.SignOut())


def after(entries: Entries, *wishes: session_intent_pb2.SessionIntent, now: int = NOW, channel: str = "web") -> Entries:
    for wish in wishes:
        entries = sessions.reduce(entries, wish, channel=channel, now=now)
    return entries


def attach(entries: Entries, *carts: str, customer_id: str = "", closed: str = "") -> Entries:
    for cart_id in carts:
        entries = sessions.attach_cart(entries, cart_id, customer_id=customer_id, closed=closed, now=NOW)
    return entries


def signed_in(entries: Entries, *, carts: tuple[str, ...] = (), active: str = "") -> Entries:
    listed = [session_pb2.SessionCart(cart_id=cart_id) for cart_id in carts]
    return sign_in.signed_in(
        entries, customer_id="anna", display_name="Anna", channel="app", carts=listed, views=(), active=active, now=NOW
    )


def refused(entries: Entries, wish: session_intent_pb2.SessionIntent) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        after(entries, wish)
    assert len(caught.value.error.field_violations) == 1
    return caught.value.reason, caught.value.error.field_violations[0].field


def test_a_new_session_is_anonymous_and_active(fresh: Entries) -> None:
    session = assemble_session(fresh)
    assert (session.id, session.tenant, session.state) == (SESSION, "demo", session_pb2.SESSION_STATE_ACTIVE)
    assert (session.store, session.country, session.currency_code, session.locale) == ("main", "DE", "EUR", "de-DE")
    assert session.login.status == session_pb2.LOGIN_STATUS_ANONYMOUS
    assert session.created_at.ToMilliseconds() == NOW
    assert not [*session.carts, *session.views, *session.consents]
    assert session.active_cart_id == ""


def test_the_history_is_newest_first_even_within_a_millisecond(fresh: Entries) -> None:
    entries = after(fresh, view("a", "a-1"), view("b"), view("c"), view("a", "a-2"))
    entries = after(entries, view("d"), now=NOW - 5_000)
    shown = [(seen.product_id, seen.sku) for seen in assemble_session(entries).views]
    assert shown == [("d", ""), ("a", "a-2"), ("c", ""), ("b", "")]


def test_the_history_is_bounded_and_loses_its_oldest(fresh: Entries) -> None:
    entries = after(fresh, *(view(f"p{n}") for n in range(sessions.MAX_VIEWS)), view("p0"), view("new"))
    shown = [seen.product_id for seen in assemble_session(entries).views]
    assert len(shown) == sessions.MAX_VIEWS
    assert shown[:2] == ["new", "p0"]
    assert "p1" not in shown
    assert "p2" in shown


def test_the_history_can_be_forgotten(fresh: Entries) -> None:
    entries = attach(after(fresh, view("a"), view("b"), consent("ads", False)), CARTS[0])
    cleared = after(entries, CLEAR)
    assert diff(entries, cleared).deletes == {"view/a", "view/b"}
    assert not diff(entries, cleared).upserts
    assert not diff(cleared, after(cleared, CLEAR))


def test_a_word_on_a_purpose_is_kept_until_it_changes(fresh: Entries) -> None:
    granted = after(fresh, consent("ads", True))
    assert not diff(granted, after(granted, consent("ads", True), now=NOW + 9))
    taken_back = assemble_session(after(granted, consent("ads", False), now=NOW + 9)).consents
    assert [(c.purpose, c.granted, c.changed_at.ToMilliseconds()) for c in taken_back] == [("ads", False, NOW + 9)]


def test_purposes_are_bounded(fresh: Entries) -> None:
    full = after(fresh, *(consent(f"p{n}", True) for n in range(sessions.MAX_CONSENTS)))
    reason = error_pb2.ERROR_REASON_INVALID_FIELD
    assert refused(full, consent("more", True)) == (reason, "command.session.set_consent.purpose")
    assert len(assemble_session(after(full, consent("p0", False))).consents) == sessions.MAX_CONSENTS


def test_the_first_cart_becomes_active_and_later_ones_are_listed(fresh: Entries) -> None:
    session = assemble_session(attach(fresh, CARTS[0], CARTS[1], CARTS[1]))
    assert session.active_cart_id == CARTS[0]
    assert [(cart.cart_id, cart.guest) for cart in session.carts] == [(CARTS[1], True), (CARTS[0], True)]


def test_a_new_cart_takes_the_place_of_a_closed_one(fresh: Entries) -> None:
    entries = attach(attach(fresh, CARTS[0]), CARTS[1], closed=CARTS[0])
    assert assemble_session(entries).active_cart_id == CARTS[1]


def test_a_customers_cart_needs_the_customer(fresh: Entries) -> None:
    assert not diff(fresh, attach(fresh, CARTS[0], customer_id="anna"))
    assert [cart.guest for cart in assemble_session(attach(signed_in(fresh), CARTS[0], customer_id="anna")).carts] == [
        False
    ]


def test_the_list_of_carts_is_bounded_and_keeps_the_active_one(fresh: Entries) -> None:
    listed = [cart.cart_id for cart in assemble_session(attach(fresh, *CARTS)).carts]
    assert listed == [*reversed(CARTS[-sessions.MAX_CARTS + 1 :]), CARTS[0]]


def test_only_a_listed_cart_or_none_can_be_active(fresh: Entries) -> None:
    entries = attach(fresh, CARTS[0], CARTS[1])
    assert assemble_session(after(entries, activate(CARTS[1]))).active_cart_id == CARTS[1]
    assert not diff(entries, after(entries, activate(CARTS[0])))
    assert assemble_session(after(entries, activate(""))).active_cart_id == ""
    reason = error_pb2.ERROR_REASON_INVALID_FIELD
    assert refused(entries, activate(CARTS[2])) == (reason, "command.session.activate_cart.cart_id")


def test_signing_out_leaves_what_a_guest_had(fresh: Entries) -> None:
    entries = attach(after(fresh, view("a"), consent("ads", True)), CARTS[0], CARTS[1])
    entries = signed_in(entries, carts=(CARTS[2], CARTS[3]), active=CARTS[3])
    assert assemble_session(entries).active_cart_id == CARTS[3]
    session = assemble_session(after(entries, SIGN_OUT, now=NOW + 5, channel="pos"))
    assert [cart.cart_id for cart in session.carts] == [CARTS[1], CARTS[0]]
    assert session.active_cart_id == CARTS[1]
    assert not session.views
    assert [word.purpose for word in session.consents] == ["ads"]
    login = session.login
    assert (login.status, login.customer_id, login.display_name) == (session_pb2.LOGIN_STATUS_ANONYMOUS, "", "")
    assert (login.channel, login.changed_at.ToMilliseconds()) == ("pos", NOW + 5)


def test_signing_out_keeps_a_guests_cart_active_and_may_leave_none(fresh: Entries) -> None:
    entries = signed_in(attach(fresh, CARTS[0], CARTS[1]), carts=(CARTS[2],), active=CARTS[0])
    assert assemble_session(after(entries, SIGN_OUT)).active_cart_id == CARTS[0]
    alone = signed_in(fresh, carts=(CARTS[2],), active=CARTS[2])
    assert assemble_session(after(alone, SIGN_OUT)).active_cart_id == ""
    assert not assemble_session(after(alone, SIGN_OUT)).carts


def test_nobody_signs_out_twice(fresh: Entries) -> None:
    assert not diff(fresh, after(fresh, SIGN_OUT))


def test_signing_in_again_changes_nothing(fresh: Entries) -> None:
    once = signed_in(attach(fresh, CARTS[0]), carts=(CARTS[0], CARTS[1]), active=CARTS[0])
    assert [cart.guest for cart in assemble_session(once).carts] == [False, False]
    assert not diff(once, signed_in(once, carts=(CARTS[0], CARTS[1]), active=CARTS[0]))


def test_a_joined_session_takes_no_more_commands_and_no_carts(fresh: Entries) -> None:
    gone = sign_in.joined(attach(fresh, CARTS[0]), "live", NOW)
    head = sessions.head_of(gone)
    assert (head.state, head.joined_session_id) == (session_pb2.SESSION_STATE_JOINED, "live")
    for wish in (view("a"), CLEAR, consent("ads", True), activate(""), SIGN_OUT):
        assert refused(gone, wish) == (error_pb2.ERROR_REASON_INVALID_FIELD, "command.resource")
    assert not diff(gone, attach(gone, CARTS[1]))
    assert not diff(gone, sign_in.joined(gone, "live", NOW + 9))
    empty = sign_in.emptied(gone)
    assert set(empty) == {"session", "login"}
    assert not diff(empty, sign_in.emptied(empty))


def test_a_session_that_is_not_there_does_not_exist() -> None:
    with pytest.raises(Problem) as caught:
        after({}, view("a"))
    assert caught.value.reason == error_pb2.ERROR_REASON_NOT_FOUND


def market(own: str = "", **wish: str) -> Market:
    asked = {"store": "", "country": "", "currency_code": "", "locale": ""} | wish
    return resolve(STORES, own, **asked, path="market")


def test_an_empty_market_is_the_stores() -> None:
    assert market("us") == Market("us", "US", "USD", "en-US")
    assert market("us", store="main", currency_code="CHF") == Market("main", "DE", "CHF", "de-DE")
    alone = {"main": STORES["main"]}
    assert resolve(alone, "", store="", country="", currency_code="", locale="fr").locale == "fr"


@pytest.mark.parametrize(
    ("wish", "reason", "field"),
    [
        ({}, error_pb2.ERROR_REASON_INVALID_FIELD, "market.store"),
        ({"store": "moon"}, error_pb2.ERROR_REASON_INVALID_FIELD, "market.store"),
        ({"store": "us", "country": "DE"}, error_pb2.ERROR_REASON_INVALID_FIELD, "market.country"),
        ({"store": "us", "locale": "!"}, error_pb2.ERROR_REASON_INVALID_FIELD, "market.locale"),
        ({"store": "us", "currency_code": "EUR"}, error_pb2.ERROR_REASON_UNKNOWN_CURRENCY, "market.currency_code"),
        ({"store": "us", "currency_code": "XYZ"}, error_pb2.ERROR_REASON_UNKNOWN_CURRENCY, "market.currency_code"),
    ],
)
def test_a_market_that_is_not_served_is_refused(wish: dict[str, str], reason: int, field: str) -> None:
    with pytest.raises(Problem) as caught:
        market(**wish)
    assert caught.value.reason == reason
    assert {violation.field for violation in caught.value.error.field_violations} == {field}
