"""Forms of ids, texts and fields; the ranges themselves are tried end to end by the list of bad input."""

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from legato.orchestrator.v1 import command_pb2, error_pb2
from legato.protocol.ids import new_id
from legato_hub.core import validation
from legato_hub.core.problem import Problem


def command(**fields: object) -> command_pb2.Command:
    made = command_pb2.Command(command_id=new_id(), resource=f"carts/{new_id()}", **fields)  # type: ignore[arg-type]
    if made.WhichOneof("intent") is None:
        made.cart.cancel_cart.SetInParent()
    return made


def faults(made: command_pb2.Command) -> list[str]:
    try:
        validation.check_frame(made, "at")
        validation.check_body(made, "at")
    except Problem as problem:
        return [violation.field for violation in problem.error.field_violations]
    return []


def test_every_fault_is_named_at_once_and_where_it_is() -> None:
    made = command(traceparent="x")
    made.timeout.seconds = 61
    made.cart.add_line.quantity.steps = -1
    made.cart.add_line.quantity.scale = 7
    assert faults(made) == [
        "at.timeout",
        "at.traceparent",
        "at.cart.add_line.sku",
        "at.cart.add_line.quantity.steps",
        "at.cart.add_line.quantity.scale",
    ]


@given(seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1))
def test_a_timeout_is_1_ms_to_60_s_whatever_it_says(seconds: int, nanos: int) -> None:
    made = command()
    made.timeout.CopyFrom(Duration(seconds=seconds, nanos=nanos))
    fine = faults(made) == []
    assert fine == (abs(seconds) <= 3_600 and 1 <= (seconds * 10**9 + nanos) // 10**6 <= 60_000)


@given(st.text(max_size=80))
def test_no_resource_breaks_the_frame(name: str) -> None:
    made = command()
    made.resource = name
    assert faults(made) == ["at.resource"]


@given(st.text(max_size=60))
def test_no_command_id_breaks_the_frame(command_id: str) -> None:
    made = command()
    made.command_id = command_id
    assert faults(made) == ["at.command_id"]


def test_a_seq_has_63_bits() -> None:
    assert faults(command(seq=(1 << 63) - 1)) == []
    assert faults(command(seq=1 << 63)) == ["at.seq"]


def test_an_intent_belongs_to_its_kind_of_resource() -> None:
    made = command()
    made.session.sign_out.SetInParent()
    assert faults(made) == ["at.session"]
    made.resource = f"sessions/{new_id()}/active_cart"
    assert faults(made) == ["at.resource"]
    bare = command()
    bare.ClearField("intent")
    assert faults(bare) == ["at"]


@given(st.text(max_size=300))
def test_an_email_is_taken_or_named(email: str) -> None:
    made = command()
    made.cart.set_email.email = email
    taken = faults(made) == []
    assert not taken or ("@" in email and len(email) <= 254 and not any(c.isspace() for c in email))


@pytest.mark.parametrize("email", ["a@b.de", "ada+tag@shop.example.org", "ü@straße.de", '"a b"@c.de', "@b.de", "a@b"])
def test_emails(email: str) -> None:
    made = command()
    made.cart.set_email.email = email
    assert (faults(made) == []) == (email in ("a@b.de", "ada+tag@shop.example.org", "ü@straße.de"))


@pytest.mark.parametrize("text", ["\x00", "a\x07b", "\x7f", "\x1b[0m"])
def test_control_characters_are_refused_and_line_ends_are_not(text: str) -> None:
    assert list(validation.check_text("f", text, 10)) == [("f", "must not contain control characters")]
    assert list(validation.check_text("f", "a\n\tb", 10)) == []


@pytest.mark.parametrize(
    ("word", "fine"), [("web", True), ("a-b_9", True), ("", False), ("Web", False), ("a\n", False)]
)
def test_a_word_is_whole(word: str, fine: bool) -> None:
    assert (not list(validation.check_word("f", word, 5))) == fine
    assert list(validation.check_word("f", "abcdef", 5))


def test_a_currency_that_is_none_has_a_reason_of_its_own() -> None:
    with pytest.raises(Problem) as caught:
        validation.raise_for(validation.check_market("f", "de", "EURO", "?"))
    assert caught.value.reason == error_pb2.ERROR_REASON_UNKNOWN_CURRENCY
    fields = [violation.field for violation in caught.value.error.field_violations]
    assert fields == ["f.country", "f.currency_code", "f.locale"]
