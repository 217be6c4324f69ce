"""Runs checks on an adapter, one after the other, and judges what becomes of each."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc.aio

from legato.adapter.v1 import identity_service_pb2
from legato.contract import CONTRACT_VERSIONS
from legato_adapters.conformance.check import Broken, Check, Skipped, shown
from legato_adapters.conformance.claims import Claims, claims_of
from legato_adapters.conformance.loss import Losses
from legato_adapters.conformance.network import Network, reaching
from legato_adapters.conformance.report import FAILED, KNOWN, PASSED, SKIPPED, Report, Result
from legato_adapters.conformance.shop import Shop, ShopError
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.subject import Subject
from legato_adapters.conformance.suite import SUITE

LONGEST_CHECK_S = 60.0
"""A check that takes longer has failed."""

FIRST_ANSWER_S = 30.0
"""So long an adapter may take to say who it is."""


class NotReached(Exception):
    """The adapter does not say who it is; the text says why."""


async def conformance(
    target: str,
    shop: Shop,
    options: Mapping[str, Any] | None = None,
    tenants: Mapping[str, Mapping[str, Any]] | None = None,
    checks: Sequence[Check] = SUITE,
) -> Report:
    """Run the checks on "module:factory" (with its options, in this process) or on "grpc://host:port".

    Raises NotReached, ShopError, legato.hosting.AdapterLoadError.
    """
    losses = Losses()
    own = {**shop.options, **(options or {})}
    async with reaching(target, own, tenants or shop.tenants, losses.observe) as network:
        claims = await introduced(network)
        results = [result async for result in examined(network, shop, claims, losses, checks)]
    return Report(claims, results, losses.found(claims.capabilities))


async def introduced(network: Network) -> Claims:
    """What the adapter claims. Raises NotReached."""
    request = identity_service_pb2.GetInfoRequest(contract_versions=CONTRACT_VERSIONS)
    try:
        return claims_of(await Stubs(network.wire()).identity.GetInfo(request, timeout=FIRST_ANSWER_S))
    except grpc.aio.AioRpcError as error:
        raise NotReached(f"GetInfo ended with {error.code().name}: {error.details()}") from error


async def examined(
    network: Network, shop: Shop, claims: Claims, losses: Losses, checks: Sequence[Check] = SUITE
) -> AsyncIterator[Result]:
    """The result of each check, as it comes. Raises ShopError for a known failure of a check that does not exist."""
    known = {failure.check: failure for failure in shop.known_failures}
    if unknown := sorted(known.keys() - {check.id for check in SUITE}):
        raise ShopError(f"known failure {unknown[0]}: there is no such check")
    subject = Subject(network, shop, claims, losses)
    for check in checks:
        result = await _result(check, subject)
        if check.id in known:
            failure = known[check.id]
            if result.status == FAILED:
                result = Result(check, KNOWN, f"{failure.reason} ({failure.payload})", result.detail)
            else:
                result = Result(check, FAILED, f"{result.status}, though the shop file calls it a known failure")
        yield result


async def _result(check: Check, subject: Subject) -> Result:
    if reason := _not_claimed(check, subject.claims):
        return Result(check, SKIPPED, reason)
    try:
        async with asyncio.timeout(LONGEST_CHECK_S):
            await check.run(subject)
    except Skipped as skipped:
        return Result(check, SKIPPED, str(skipped))
    except Broken as broken:
        return Result(check, FAILED, str(broken))
    except grpc.aio.AioRpcError as error:
        return Result(check, FAILED, f"a call ended with {error.code().name}: {error.details()}")
    except TimeoutError:
        return Result(check, FAILED, f"it took more than {LONGEST_CHECK_S:.0f} s")
    except Exception as error:  # noqa: BLE001  whatever an answer makes of a check is that check's failure, not the run's
        return Result(check, FAILED, f"an answer cannot be used: {type(error).__name__}: {shown(str(error))}")
    return Result(check, PASSED)


def _not_claimed(check: Check, claims: Claims) -> str:
    """Why the check is not about this adapter; empty if it is."""
    for capability in (check.capability, *sorted(check.also)):
        if capability and capability not in claims.capabilities:
            return f"{capability} is not claimed"
    if check.effects and claims.effects[check.capability] not in check.effects:
        return f"{check.capability} is {claims.effects[check.capability]}"
    for command in sorted(check.commands):
        capability, _, name = command.rpartition(".")
        if name not in claims.commands.get(capability or check.capability, ()):
            return f"{command} is not claimed"
    return ""
