"""A product page: every backend is asked at the same time, under one deadline, and what is missing is marked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from legato.adapter.v1 import (
    catalog_service_pb2,
    identity_service_pb2,
    inventory_service_pb2,
    request_context_pb2,
)
from legato.orchestrator.v1 import error_pb2, reads_pb2
from legato_hub.backend import CATALOG, INVENTORY, PRICING, Backend
from legato_hub.backends import Backends
from legato_hub.core.problem import Problem

DEADLINE_S = 2.0
"""For callers without a deadline."""

MARGIN_S = 0.05
"""Left of the caller's deadline for the answer to travel."""

_Context = request_context_pb2.RequestContext
_Key = catalog_service_pb2.ProductKey
_Page = reads_pb2.GetProductPageResponse


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page: who is asked for it, what, and where the answer goes."""

    name: str
    capability: identity_service_pb2.Capability.ValueType
    ask: Callable[[Backend, _Context, _Key, float], Awaitable[Any]]
    merge: Callable[[_Page, Any], None]
    leads: bool = False
    """Without it there is no page: NOT_FOUND here is NOT_FOUND of the whole."""


def _product(backend: Backend, context: _Context, key: _Key, timeout: float) -> Awaitable[Any]:
    request = catalog_service_pb2.GetProductRequest(context=context, product=key)
    return backend.read(backend.catalog.GetProduct, request, timeout)


def _prices(backend: Backend, context: _Context, key: _Key, timeout: float) -> Awaitable[Any]:
    request = catalog_service_pb2.GetPricesRequest(context=context, product=key)
    return backend.read(backend.catalog.GetPrices, request, timeout)


def _availability(backend: Backend, context: _Context, key: _Key, timeout: float) -> Awaitable[Any]:
    request = inventory_service_pb2.GetAvailabilityRequest(context=context, product=key)
    return backend.read(backend.inventory.GetAvailability, request, timeout)


SECTIONS = (
    Section("product", CATALOG, _product, lambda page, answer: page.product.CopyFrom(answer.product), leads=True),
    Section("prices", PRICING, _prices, lambda page, answer: page.prices.extend(answer.prices)),
    Section(
        "availability", INVENTORY, _availability, lambda page, answer: page.availability.extend(answer.availability)
    ),
)


async def compose(backends: Backends, context: _Context, key: _Key, timeout: float | None) -> _Page:
    """The page of a product. `timeout` is what the caller leaves, in seconds; None for DEADLINE_S.

    Raise Problem: NOT_FOUND if there is no such product; CAPABILITY_MISSING or BACKEND_UNAVAILABLE if every section is
    missing. Nothing that was asked runs on afterwards.
    """
    budget = DEADLINE_S if timeout is None else max(timeout - MARGIN_S, timeout / 2)
    tasks = {section: asyncio.create_task(_ask(section, backends, context, key, budget)) for section in SECTIONS}
    leading = {tasks[section] for section in SECTIONS if section.leads}
    try:
        pending = set(tasks.values())
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done & leading:
                answer = task.result()
                if isinstance(answer, Problem) and answer.reason == error_pb2.ERROR_REASON_NOT_FOUND:
                    raise answer
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return _merged(backends, {section: task.result() for section, task in tasks.items()})


async def _ask(section: Section, backends: Backends, context: _Context, key: _Key, timeout: float) -> Any:
    """The answer, or the Problem why there is none."""
    backend = backends.routed(section.capability)
    try:
        backend.require(section.capability)
        # The deadline goes along with the call; this one is for a backend that does not heed it.
        async with asyncio.timeout(timeout):
            return await section.ask(backend, context, key, timeout)
    except TimeoutError:
        return Problem(error_pb2.ERROR_REASON_DEADLINE_EXCEEDED, f"backend {backend.name} was late")
    except Problem as problem:
        return problem


def _merged(backends: Backends, answers: dict[Section, Any]) -> _Page:
    page = _Page()
    problems = []
    for section, answer in answers.items():
        if isinstance(answer, Problem):
            problems.append(answer)
            reason = error_pb2.ErrorReason.Name(answer.reason).removeprefix("ERROR_REASON_")
            page.gaps.add(section=section.name, backend=backends.routed(section.capability).name, reason=reason)
        else:
            section.merge(page, answer)
    if len(problems) == len(answers):
        reasons = {problem.reason for problem in problems}
        if reasons == {error_pb2.ERROR_REASON_CAPABILITY_MISSING}:
            raise problems[0]
        said = ", ".join(f"{gap.section} {gap.reason}" for gap in page.gaps)
        raise Problem(error_pb2.ERROR_REASON_BACKEND_UNAVAILABLE, f"nothing could be read: {said}")
    return page
