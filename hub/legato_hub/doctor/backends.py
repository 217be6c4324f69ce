"""The configured backends, through their adapters."""

from collections.abc import AsyncIterator

import grpc.aio

from legato.adapter.v1 import identity_service_pb2
from legato.hosting import AdapterLoadError
from legato_hub.backend import Backend, EmbeddedBackend, text_of
from legato_hub.config import BackendConfig
from legato_hub.doctor.report import Finding, Verdict
from legato_hub.introduction import CART, UnusableAdapter, introduced, introduction, word_of
from legato_hub.remote_backend import REMOTE_SCHEME, RemoteBackend

_UPDATE = "update the adapter or the hub, so that both speak one contract"


async def backend(name: str, config: BackendConfig, timeout_s: float) -> AsyncIterator[Finding]:
    """Who the adapter is, and whether the backend behind it lives. One in the hub's process is started here anew."""
    check = f"backend {name}"
    adapter: Backend
    if config.adapter.startswith(REMOTE_SCHEME):
        adapter = RemoteBackend(name, config)
    else:
        adapter = EmbeddedBackend(name, config)
        try:
            await adapter.start()
        except AdapterLoadError as error:
            await adapter.close()
            remedy = f"correct [backends.{name}]; the hub does not start like this"
            yield Finding(check, Verdict.FAILED, str(error), remedy)
            return
    try:
        async for finding in _asked(check, config, adapter, timeout_s):
            yield finding
    finally:
        await adapter.close()


async def _asked(check: str, config: BackendConfig, adapter: Backend, timeout_s: float) -> AsyncIterator[Finding]:
    patience = timeout_s * 0.4
    try:
        info = introduced(await adapter.identity.GetInfo(introduction(), timeout=patience))
    except UnusableAdapter as error:
        yield Finding(check, Verdict.FAILED, str(error), _UPDATE)
        return
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            yield Finding(check, Verdict.FAILED, text_of(error), _UPDATE)
            return
        remedy = f"start the adapter at {config.adapter}, or correct the address; the hub finds it again by itself"
        yield Finding(check, Verdict.FAILED, f"the adapter does not answer: {text_of(error)}", remedy)
        return
    words = ", ".join(map(word_of, info.capabilities))
    seen = f"{info.name} {info.version}, contract {info.contract_version}, {words}, effects {_effects(info)}"
    try:
        await adapter.identity.Probe(identity_service_pb2.ProbeRequest(), timeout=patience)
    except grpc.aio.AioRpcError as error:
        refused = error.code() is grpc.StatusCode.FAILED_PRECONDITION
        remedy = "correct its credentials" if refused else "look at the commerce system itself, and the way to it"
        said = f"{seen}; the system behind it does not answer: {text_of(error)}"
        yield Finding(check, Verdict.FAILED, said, remedy)
        return
    yield Finding(check, Verdict.OK, seen)


def _effects(info: identity_service_pb2.GetInfoResponse) -> str:
    """The effect class, or the one of each capability where they differ."""
    classes = {CART: info.effect_class} if CART in info.capabilities else {}
    classes.update((claim.capability, claim.effect_class) for claim in info.command_claims)
    if len(distinct := set(classes.values())) == 1:
        return _word(distinct.pop())
    return ", ".join(f"{word_of(capability)} {_word(its_class)}" for capability, its_class in classes.items()) or "none"


def _word(effect_class: int) -> str:
    known = identity_service_pb2.EffectClass.DESCRIPTOR.values_by_number.get(effect_class)
    return str(effect_class) if known is None else known.name.removeprefix("EFFECT_CLASS_").lower()
