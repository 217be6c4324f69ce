"""How hub and adapter get to know each other: which version of the contract they speak, and what the adapter claims."""

from legato.adapter.v1 import identity_service_pb2
from legato.contract import CONTRACT_VERSIONS, listed

CATALOG = identity_service_pb2.CAPABILITY_CATALOG
SEARCH = identity_service_pb2.CAPABILITY_SEARCH
PRICING = identity_service_pb2.CAPABILITY_PRICING
INVENTORY = identity_service_pb2.CAPABILITY_INVENTORY
CART = identity_service_pb2.CAPABILITY_CART

_WITH_COMMANDS = (
    identity_service_pb2.CAPABILITY_ORDER,
    identity_service_pb2.CAPABILITY_PAYMENT,
    identity_service_pb2.CAPABILITY_CUSTOMER,
    identity_service_pb2.CAPABILITY_FULFILMENT,
)


class UnusableAdapter(Exception):
    """What an adapter said of itself rules out using it."""


def introduction() -> identity_service_pb2.GetInfoRequest:
    """What the hub says of itself."""
    return identity_service_pb2.GetInfoRequest(contract_versions=CONTRACT_VERSIONS)


def introduced(info: identity_service_pb2.GetInfoResponse) -> identity_service_pb2.GetInfoResponse:
    """The adapter's answer in the words of the newest version. Raise UnusableAdapter.

    `contract_version` stays the one that the adapter speaks.
    """
    if info.contract_version not in CONTRACT_VERSIONS:
        spoken = listed(CONTRACT_VERSIONS)
        raise UnusableAdapter(f"it speaks version {info.contract_version!r} of the adapter contract, the hub {spoken}")
    answer = identity_service_pb2.GetInfoResponse()
    answer.CopyFrom(info)
    if info.contract_version == "1" and CATALOG in info.capabilities:
        answer.capabilities.extend(c for c in (SEARCH, PRICING) if c not in info.capabilities)
    _check_effects(answer)
    return answer


def _check_effects(info: identity_service_pb2.GetInfoResponse) -> None:
    classes = {claim.capability: claim.effect_class for claim in info.command_claims}
    if len(classes) < len(info.command_claims):
        raise UnusableAdapter("it claims the commands of one capability twice")
    classes[CART] = info.effect_class
    for capability in (CART, *_WITH_COMMANDS):
        if capability in info.capabilities and not classes.get(capability):
            raise UnusableAdapter(f"it has {word_of(capability)} and does not say which effect class")


def word_of(capability: int) -> str:
    """A capability for people, whether it is known here or not."""
    known = identity_service_pb2.Capability.DESCRIPTOR.values_by_number.get(capability)
    return str(capability) if known is None else known.name.removeprefix("CAPABILITY_").lower()
