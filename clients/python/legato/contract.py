"""Versions of the adapter contract, and how an adapter agrees with a hub on one.

The rules stand in identity_service.proto.
"""

from collections.abc import Sequence
from typing import Any

import grpc

from legato.adapter.v1 import identity_service_pb2

__all__ = ["CONTRACT_VERSIONS", "NoCommonVersion", "agree_on_version", "choose_version"]

CONTRACT_VERSIONS = ("1.1", "1")
"""The versions that this release knows, best first."""

_BEFORE_NEGOTIATION = ("1",)


class NoCommonVersion(Exception):
    """Hub and adapter have no version in common; the text names both sides' versions."""


def choose_version(offered: Sequence[str], spoken: Sequence[str] = CONTRACT_VERSIONS) -> str:
    """The first of the hub's versions that the adapter speaks. Raise NoCommonVersion.

    An adapter that speaks "1" too must have SEARCH and PRICING where it has CATALOG.
    """
    offered = offered or _BEFORE_NEGOTIATION
    for version in offered:
        if version in spoken:
            return version
    hub, adapter = listed(offered), listed(spoken)
    raise NoCommonVersion(f"of the adapter contract the hub speaks version {hub}, this adapter {adapter}")


async def agree_on_version(
    request: identity_service_pb2.GetInfoRequest, context: Any, spoken: Sequence[str] = CONTRACT_VERSIONS
) -> str:
    """What GetInfo answers as `contract_version`; ends the call as FAILED_PRECONDITION where there is none."""
    try:
        return choose_version(request.contract_versions, spoken)
    except NoCommonVersion as error:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
    raise AssertionError("abort does not return")


def listed(versions: Sequence[str]) -> str:
    """Versions for people."""
    return " or ".join(repr(version) for version in versions)
