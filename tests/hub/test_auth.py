"""Tokens, channel keys and credentials: what is believed, and that everything else is refused with its reason."""

import base64
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from legato.orchestrator.v1 import error_pb2
from legato_hub.auth import (
    ACCESS,
    CREDENTIAL,
    MAX_TOKEN_LENGTH,
    Customer,
    DevelopmentCredentials,
    NoCredentials,
    TokenAuthority,
    bearer_token,
    credential_verifier,
)
from legato_hub.config import AuthConfig, default_config
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from legato_hub.secret import Secret

SECRET = Secret("the secret that the tests of tokens share")
OTHER_SECRET = Secret("a secret that the hub under test never saw")
NOW = 1_800_000_000_000
LATER = NOW + 60_000

AUTHORITY = TokenAuthority(SECRET, default_config().channels, default_config().tenants)
CREDENTIALS = DevelopmentCredentials(SECRET, lambda: NOW)

UNAUTHENTICATED = error_pb2.ERROR_REASON_UNAUTHENTICATED
TOKEN_EXPIRED = error_pb2.ERROR_REASON_TOKEN_EXPIRED


def segment(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def signed(claims: Any, *, secret: Secret = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """A token of any content, signed as the hub would, or as somebody else."""
    key = OctKey.import_key(secret.reveal().encode())
    whole = {"alg": algorithm, "typ": ACCESS, **header}
    return jws.serialize_compact(whole, json.dumps(claims), key, [algorithm])


CLAIMS = {"aud": "legato", "kind": "shopper", "tenant": "demo", "store": "main", "sub": "s", "exp": LATER // 1000}


def refusal(token: str, now_ms: int = NOW) -> Problem:
    with pytest.raises(Problem) as caught:
        AUTHORITY.verify(token, now_ms)
    # A short text may well be a part of the sentence.
    assert len(token) < 16 or token not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "identity",
    [
        Identity(IdentityKind.SHOPPER, "demo", "session-1", "main", LATER),
        Identity(IdentityKind.SHOPPER, "demo", "session-1", "us", LATER + 123),
        Identity(IdentityKind.TERMINAL, "demo", "till-4", "main", LATER),
        Identity(IdentityKind.SERVICE, "demo", "billing", "", 0),
        Identity(IdentityKind.OPERATOR, "demo", "anna", "", LATER),
    ],
)
def test_an_issued_token_gives_the_identity_back(identity: Identity) -> None:
    assert AUTHORITY.verify(AUTHORITY.issue(identity), NOW) == identity


def test_a_shopper_token_carries_its_session() -> None:
    identity = AUTHORITY.verify(AUTHORITY.issue_shopper("demo", "main", "session-1", LATER), NOW)
    assert (identity.subject, identity.expires_at) == ("session-1", LATER)


def test_a_hand_made_token_of_the_documented_claims_is_believed() -> None:
    assert AUTHORITY.verify(signed(CLAIMS), NOW).principal == "demo/shopper/s"


@pytest.mark.parametrize(
    "identity",
    [
        Identity(IdentityKind.CHANNEL, "demo", "web", "main"),
        Identity(IdentityKind.SHOPPER, "demo", "session-1", "main", expires_at=0),
        Identity(IdentityKind.SHOPPER, "demo", "session-1", "", expires_at=LATER),
        Identity(IdentityKind.TERMINAL, "demo", "till-4", ""),
        Identity(IdentityKind.SERVICE, "", "billing"),
        Identity(IdentityKind.SERVICE, "demo", ""),
    ],
)
def test_what_would_not_be_believed_is_not_issued(identity: Identity) -> None:
    with pytest.raises(ValueError, match=r"keys|expire|store|required"):
        AUTHORITY.issue(identity)


def test_a_token_ends_exactly_at_its_time() -> None:
    token = AUTHORITY.issue_shopper("demo", "main", "s", LATER + 1)
    assert AUTHORITY.verify(token, LATER).expires_at == LATER + 1
    assert refusal(token, LATER + 1).reason == TOKEN_EXPIRED


def test_a_forged_token_is_refused_also_after_the_true_one() -> None:
    token = signed(CLAIMS)
    assert AUTHORITY.verify(token, NOW) == AUTHORITY.verify(token, NOW)
    for forged in (signed(CLAIMS, secret=OTHER_SECRET), token[:-1], token.rpartition(".")[0]):
        assert refusal(forged).reason == UNAUTHENTICATED


def test_verified_tokens_are_kept_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legato_hub.auth.VERIFIED_KEPT", 3)
    authority = TokenAuthority(SECRET)
    for number in range(9):
        assert authority.verify(signed({**CLAIMS, "sub": f"s{number}"}), NOW).subject == f"s{number}"
        assert len(authority._verified) <= 3


def test_a_channel_key_gives_the_channel() -> None:
    identity = AUTHORITY.verify("dev-web", NOW)
    assert identity == Identity(IdentityKind.CHANNEL, "demo", "web", "main")
    assert refusal("dev-webb").reason == UNAUTHENTICATED
    assert refusal("DEV-WEB").reason == UNAUTHENTICATED


HEADER, PAYLOAD, SIGNATURE = signed(CLAIMS).split(".")


def under(header: Any) -> str:
    """A token with another header over the rest of a good one."""
    return f"{segment(header)}.{PAYLOAD}.{SIGNATURE}"


REFUSED = {
    "nothing": "",
    "garbage": "not a token",
    "two parts": f"{HEADER}.{PAYLOAD}",
    "four parts": f"{HEADER}.{PAYLOAD}.{SIGNATURE}.{SIGNATURE}",
    "another secret": signed(CLAIMS, secret=OTHER_SECRET),
    "changed claims": f"{HEADER}.{segment({**CLAIMS, 'kind': 'operator'})}.{SIGNATURE}",
    "cut signature": f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-2]}",
    "no signature": f"{HEADER}.{PAYLOAD}.",
    "alg none": f"{segment({'alg': 'none', 'typ': ACCESS})}.{PAYLOAD}.",
    "alg none with a signature": under({"alg": "none", "typ": ACCESS}),
    "alg HS512": signed(CLAIMS, algorithm="HS512"),
    "alg of no text": under({"alg": ["HS256"], "typ": ACCESS}),
    "no alg": under({"typ": ACCESS}),
    "header is a list": under(["alg", "HS256"]),
    "header is a text": under("alg"),
    "header is deep": under({"alg": "HS256", "typ": ACCESS, "x": json.loads("[" * 100 + "]" * 100)}),
    "header is long": signed(CLAIMS, kid="k" * 400),
    "critical extension": under({"alg": "HS256", "typ": ACCESS, "crit": ["b64"], "b64": False}),
    "another type": signed(CLAIMS, typ="JWT"),
    "another audience": signed({**CLAIMS, "aud": "shop"}),
    "audiences": signed({**CLAIMS, "aud": ["legato", "shop"]}),
    "no audience": signed({k: v for k, v in CLAIMS.items() if k != "aud"}),
    "unknown kind": signed({**CLAIMS, "kind": "king"}),
    "kind channel": signed({**CLAIMS, "kind": "channel"}),
    "no tenant": signed({**CLAIMS, "tenant": ""}),
    "unknown tenant": signed({**CLAIMS, "tenant": "elsewhere"}),
    "shopper for ever": signed({k: v for k, v in CLAIMS.items() if k != "exp"}),
    "expiry is a text": signed({**CLAIMS, "exp": "tomorrow"}),
    "expiry is endless": signed({**CLAIMS, "exp": 1e300}),
    "expiry below zero": signed({**CLAIMS, "exp": -1}),
    "claims are a list": signed([1, 2]),
    "over-long": signed({**CLAIMS, "sub": "s" * MAX_TOKEN_LENGTH}),
    "not ASCII": f"{HEADER}.{PAYLOAD}.é",
    "line break": f"{HEADER}.{PAYLOAD}.{SIGNATURE}\n",
    "lone surrogate": "\ud800.a.b",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_believed_is_unauthenticated(token: str) -> None:
    assert refusal(token).reason == UNAUTHENTICATED


def test_expiry_is_told_only_to_the_rightful_holder() -> None:
    past = {**CLAIMS, "exp": NOW // 1000 - 1}
    assert refusal(signed(past)).reason == TOKEN_EXPIRED
    assert refusal(signed(past, secret=OTHER_SECRET)).reason == UNAUTHENTICATED


@given(st.text(max_size=80) | st.from_regex(r"\A[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\Z"))
def test_no_text_breaks_the_verifier(text: str) -> None:
    assert refusal(text).reason == UNAUTHENTICATED


@given(
    st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=9), st.lists, max_leaves=5)
)
def test_no_header_breaks_the_verifier(header: Any) -> None:
    for whole in (header, {"alg": header, "typ": ACCESS}, {"alg": "HS256", "typ": header}):
        assert refusal(f"{segment(whole)}.{PAYLOAD}.{SIGNATURE}").reason == UNAUTHENTICATED


async def test_a_credential_gives_the_customer_back() -> None:
    customer = Customer("c-1", "Zoë")
    assert await CREDENTIALS.verify("demo", CREDENTIALS.issue("demo", customer, LATER)) == customer


async def credential_refusal(credential: str, tenant: str = "demo") -> Problem:
    with pytest.raises(Problem) as caught:
        await CREDENTIALS.verify(tenant, credential)
    return caught.value


async def test_a_credential_is_refused_elsewhere_later_and_when_forged() -> None:
    credential = CREDENTIALS.issue("demo", Customer("c-1", "Zoë"), LATER)
    assert (await credential_refusal(credential, "other")).reason == UNAUTHENTICATED
    forged = DevelopmentCredentials(OTHER_SECRET).issue("demo", Customer("c-1", "Zoë"), LATER)
    assert (await credential_refusal(forged)).reason == UNAUTHENTICATED
    past = CREDENTIALS.issue("demo", Customer("c-1", "Zoë"), NOW)
    assert (await credential_refusal(past)).reason == TOKEN_EXPIRED
    for bad in ("", "c-1", signed({"aud": "legato", "tenant": "demo", "sub": "c-1"}, typ=CREDENTIAL)):
        assert (await credential_refusal(bad)).reason == UNAUTHENTICATED
    nobody = signed({"aud": "legato", "tenant": "demo", "sub": "", "exp": LATER // 1000}, typ=CREDENTIAL)
    assert (await credential_refusal(nobody)).reason == UNAUTHENTICATED


async def test_tokens_and_credentials_are_not_interchangeable() -> None:
    shopper = AUTHORITY.issue_shopper("demo", "main", "s", LATER)
    assert (await credential_refusal(shopper)).reason == UNAUTHENTICATED
    credential = CREDENTIALS.issue("demo", Customer("c-1", "Zoë"), LATER)
    assert refusal(credential).reason == UNAUTHENTICATED
    # Not even with each other's claims: what counts is what the token was signed as.
    both = {**CLAIMS, "name": "Zoë"}
    assert refusal(signed(both, typ=CREDENTIAL)).reason == UNAUTHENTICATED
    assert (await credential_refusal(signed(both, typ=ACCESS))).reason == UNAUTHENTICATED


@pytest.mark.parametrize(("tenant", "customer", "until"), [("", "c", 1), ("demo", "", 1), ("demo", "c", 0)])
def test_credentials_that_would_be_refused_are_not_issued(tenant: str, customer: str, until: int) -> None:
    with pytest.raises(ValueError, match="required"):
        CREDENTIALS.issue(tenant, Customer(customer, ""), until)


async def test_development_credentials_end_with_development() -> None:
    assert isinstance(credential_verifier(AuthConfig()), DevelopmentCredentials)
    verifier = credential_verifier(AuthConfig(secret=SECRET, development=False))
    assert isinstance(verifier, NoCredentials)
    credential = DevelopmentCredentials(SECRET).issue("demo", Customer("c-1", "Zoë"), 4_000_000_000_000)
    with pytest.raises(Problem) as caught:
        await verifier.verify("demo", credential)
    assert caught.value.reason == UNAUTHENTICATED


def test_the_token_is_taken_from_the_metadata() -> None:
    assert bearer_token([("user-agent", "x"), ("authorization", "Bearer a.b.c")]) == "a.b.c"
    assert bearer_token([("authorization", "bearer dev-web")]) == "dev-web"


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", "Basic abc")],
        [("authorization", b"Bearer a")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ],
)
def test_metadata_without_one_bearer_token_is_refused(metadata: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(Problem) as caught:
        bearer_token(metadata)
    assert caught.value.reason == UNAUTHENTICATED


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for token in REFUSED.values():
            refusal(token)
        AUTHORITY.verify("dev-web", NOW)
    assert not caplog.records
