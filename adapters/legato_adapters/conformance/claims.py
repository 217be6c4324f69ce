"""What an adapter claims, in the words of the contract without their prefixes."""

from collections.abc import Mapping
from dataclasses import dataclass

from legato.adapter.v1 import (
    customer_service_pb2,
    fulfilment_service_pb2,
    identity_service_pb2,
    order_service_pb2,
    payment_service_pb2,
)
from legato.commerce.v1 import cart_intent_pb2

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "CART": tuple(cart_intent_pb2.CartIntent.DESCRIPTOR.fields_by_name),
    "ORDER": tuple(order_service_pb2.OrderCommand.DESCRIPTOR.fields_by_name),
    "PAYMENT": tuple(payment_service_pb2.PaymentCommand.DESCRIPTOR.fields_by_name),
    "CUSTOMER": tuple(customer_service_pb2.CustomerCommand.DESCRIPTOR.fields_by_name),
    "FULFILMENT": tuple(fulfilment_service_pb2.FulfilmentCommand.DESCRIPTOR.fields_by_name),
}
"""Every command of the contract, by capability."""

REMEMBERING = frozenset({"KEYED", "MARKED"})
"""Effect classes whose backends know a command again."""

REPEATABLE = REMEMBERING | {"ABSOLUTE"}
"""Effect classes whose commands the hub may repeat."""


@dataclass(frozen=True)
class Claims:
    """What GetInfo said."""

    name: str
    version: str
    contract_version: str
    capabilities: tuple[str, ...]
    effects: Mapping[str, str]
    """Effect class of each capability that has commands."""
    commands: Mapping[str, tuple[str, ...]]
    """Commands of each."""


def claims_of(info: identity_service_pb2.GetInfoResponse) -> Claims:
    """Read an answer of GetInfo; values that this release does not know are left out."""
    effects = {"CART": effect_name(info.effect_class)}
    commands = {"CART": tuple(info.cart_intents)}
    for claim in info.command_claims:
        name = capability_name(claim.capability)
        effects[name] = effect_name(claim.effect_class)
        commands[name] = tuple(claim.commands)
    capabilities = tuple(capability_name(number) for number in info.capabilities)
    if info.contract_version == "1" and "CATALOG" in capabilities:
        capabilities += ("SEARCH", "PRICING")
    with_commands = [name for name in capabilities if name in COMMANDS]
    return Claims(
        info.name,
        info.version,
        info.contract_version,
        capabilities,
        {name: effects.get(name, "UNSPECIFIED") for name in with_commands},
        {name: commands.get(name, ()) for name in with_commands},
    )


def capability_name(number: int) -> str:
    """For example "CART"; the number where this release has no word for it."""
    known = identity_service_pb2.Capability.DESCRIPTOR.values_by_number.get(number)
    return str(number) if known is None else known.name.removeprefix("CAPABILITY_")


def effect_name(number: int) -> str:
    """For example "KEYED"."""
    known = identity_service_pb2.EffectClass.DESCRIPTOR.values_by_number.get(number)
    return str(number) if known is None else known.name.removeprefix("EFFECT_CLASS_")
