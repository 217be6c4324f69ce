"""Who is believed: bearer tokens, channel keys, and the credentials that sign a shopper in.

A token is a JWT signed with HS256 under `auth.secret`. What it is for stands in its `typ` (RFC 8725, section 3.11), so
a customer's credential is no bearer token and the other way round.

    claim      bearer token                                        customer's credential
    aud        "legato"                                            "legato"
    exp        seconds; absent for never, not with a shopper       seconds
    tenant     tenant                                              tenant
    sub        session id, terminal id or name                     customer id
    kind       shopper, terminal, service or operator              -
    store      selling entity; absent for the whole tenant         -
    name       -                                                   display name

No token is ever logged or put into an error.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from legato.orchestrator.v1 import error_pb2
from legato_hub.config import AuthConfig, ChannelConfig
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.core.problem import Problem
from legato_hub.secret import Secret

MAX_TOKEN_LENGTH = 4_096
MAX_HEADER_LENGTH = 512
VERIFIED_KEPT = 16_384
"""Tokens that are not verified again until they expire; by digest, so that no token lies in memory for it."""

ALGORITHM = "HS256"
AUDIENCE = "legato"
ACCESS = "legato-access+jwt"
CREDENTIAL = "legato-customer+jwt"

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


class Verifier(Protocol):
    """Turns a bearer token into an identity."""

    def verify(self, token: str, now_ms: int) -> Identity:
        """Raise Problem (UNAUTHENTICATED, TOKEN_EXPIRED) unless the token is good at `now_ms`."""


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody the shop knows."""

    id: str
    display_name: str


class CredentialVerifier(Protocol):
    """Checks what a shopper signs in with."""

    async def verify(self, tenant: str, credential: str) -> Customer:
        """Raise Problem (UNAUTHENTICATED, TOKEN_EXPIRED) unless the credential is a customer's of this tenant."""


class _Header(msgspec.Struct, frozen=True):
    alg: str
    typ: str = ""


Expiry = Annotated[float, msgspec.Meta(ge=0, le=99_999_999_999)]


class _Access(msgspec.Struct, frozen=True, omit_defaults=True):
    aud: str
    kind: Literal["shopper", "terminal", "service", "operator"]
    tenant: str
    sub: str
    store: str = ""
    exp: Expiry = 0


class _Credential(msgspec.Struct, frozen=True, omit_defaults=True):
    aud: str
    tenant: str
    sub: str
    exp: Expiry
    name: str = ""


_Claims = TypeVar("_Claims", _Access, _Credential)


class TokenAuthority:
    """Issues and verifies bearer tokens, and knows the channels' keys.

    With `tenants`, a token for another tenant is refused: it is of another hub, or its tenant was given up.
    """

    def __init__(
        self,
        secret: Secret,
        channels: Iterable[ChannelConfig] = (),
        tenants: Container[str] | None = None,
    ) -> None:
        self._key = _key(secret)
        self._tenants = tenants
        self._verified: dict[bytes, Identity] = {}
        # Looked up by digest, so that timing tells nothing about the keys.
        self._channels = {
            _digest(channel.key): Identity(IdentityKind.CHANNEL, channel.tenant, channel.kind, channel.store)
            for channel in channels
        }

    def issue(self, identity: Identity) -> str:
        """A token for any identity but a channel's. Raise ValueError for what no verifier would accept."""
        if identity.kind is IdentityKind.CHANNEL:
            raise ValueError("channels have keys, not tokens")
        claims = _Access(
            AUDIENCE,
            identity.kind.value,
            identity.tenant,
            identity.subject,
            identity.store,
            _seconds(identity.expires_at),
        )
        if fault := _fault(claims):
            raise ValueError(fault)
        return _sign(ACCESS, claims, self._key)

    def issue_shopper(self, tenant: str, store: str, session_id: str, expires_at: int) -> str:
        """A shopper's token; `expires_at` in milliseconds since 1970."""
        return self.issue(Identity(IdentityKind.SHOPPER, tenant, session_id, store, expires_at))

    def verify(self, token: str, now_ms: int) -> Identity:
        """See `Verifier`."""
        digest = _digest(token)
        if channel := self._channels.get(digest):
            return channel
        known = self._verified.get(digest)
        if known is not None and not 0 < known.expires_at <= now_ms:
            return known
        claims = _open(token, ACCESS, _Access, self._key, now_ms)
        if _fault(claims) or (self._tenants is not None and claims.tenant not in self._tenants):
            raise _refused("the token is of another hub")
        expires_at = _milliseconds(claims.exp)
        identity = Identity(IdentityKind(claims.kind), claims.tenant, claims.sub, claims.store, expires_at)
        if len(self._verified) == VERIFIED_KEPT:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = identity
        return identity


class DevelopmentCredentials:
    """Customers' credentials signed with the hub's own secret: for development, where no identity provider is."""

    def __init__(self, secret: Secret, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._key = _key(secret)
        self._now_ms = now_ms

    def issue(self, tenant: str, customer: Customer, expires_at: int) -> str:
        """A credential; `expires_at` in milliseconds since 1970. Raise ValueError for what `verify` would refuse."""
        if not (tenant and customer.id and expires_at > 0):
            raise ValueError("tenant, customer id and expiry are required")
        claims = _Credential(AUDIENCE, tenant, customer.id, _seconds(expires_at), customer.display_name)
        return _sign(CREDENTIAL, claims, self._key)

    async def verify(self, tenant: str, credential: str) -> Customer:
        """See `CredentialVerifier`."""
        claims = _open(credential, CREDENTIAL, _Credential, self._key, self._now_ms())
        if claims.tenant != tenant or not claims.sub:
            raise _refused("the credential is of another tenant")
        return Customer(claims.sub, claims.name)


class NoCredentials:
    """Nobody signs in: no verifier is configured."""

    async def verify(self, tenant: str, credential: str) -> Customer:
        """Refuse everything."""
        raise _refused("this hub has no verifier for credentials")


def credential_verifier(auth: AuthConfig) -> CredentialVerifier:
    """The verifier that the configuration asks for."""
    return DevelopmentCredentials(auth.secret) if auth.development else NoCredentials()


def bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The token of `authorization: Bearer TOKEN`. Raise Problem (UNAUTHENTICATED) unless there is exactly one."""
    found = [value for key, value in metadata if key == "authorization"]
    if len(found) != 1:
        raise _refused("one `authorization` is required" if found else "no `authorization` was sent")
    text = found[0] if isinstance(found[0], str) else ""
    scheme, _, token = text.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise _refused("`authorization` must be `Bearer TOKEN`")
    return token


def _refused(message: str) -> Problem:
    return Problem(error_pb2.ERROR_REASON_UNAUTHENTICATED, message)


def _fault(claims: _Access) -> str:
    """Why nobody may have such a token; empty if it is fine."""
    if not (claims.tenant and claims.sub):
        return "tenant and subject are required"
    if claims.kind in ("shopper", "terminal") and not claims.store:
        return f"a {claims.kind} belongs to a store"
    if claims.kind == "shopper" and claims.exp <= 0:
        return "a shopper's token must expire"
    return ""


def _key(secret: Secret) -> OctKey:
    return OctKey.import_key(secret.reveal().encode())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _seconds(milliseconds: int) -> float:
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _sign(typ: str, claims: msgspec.Struct, key: OctKey) -> str:
    return jws.serialize_compact({"alg": ALGORITHM, "typ": typ}, msgspec.json.encode(claims), key, [ALGORITHM])


def _open(token: str, typ: str, kind: type[_Claims], key: OctKey, now_ms: int) -> _Claims:
    """The claims of a token that is well-formed, of this type, rightly signed, meant for us and not expired."""
    if len(token) > MAX_TOKEN_LENGTH or not _FORM.fullmatch(token):
        raise _refused("the token is malformed")
    try:
        # Before joserfc sees it: a header that is no object, or asks for another algorithm, needs no cryptography.
        header = _decode_header(token.partition(".")[0])
        if header.alg != ALGORITHM or header.typ != typ:
            raise _refused("the token is not of the kind that is needed here")
        payload = jws.deserialize_compact(token, key, [ALGORITHM]).payload
        claims: _Claims = msgspec.json.decode(payload, type=kind)
    except (JoseError, msgspec.MsgspecError, ValueError):
        raise _refused("the token cannot be verified") from None
    if claims.aud != AUDIENCE:
        raise _refused("the token is for another audience")
    if 0 < _milliseconds(claims.exp) <= now_ms:
        raise Problem(error_pb2.ERROR_REASON_TOKEN_EXPIRED, "the token is past its time")
    return claims


def _decode_header(segment: str) -> _Header:
    if len(segment) > MAX_HEADER_LENGTH:
        raise ValueError("too long")
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    return msgspec.json.decode(data, type=_Header)
