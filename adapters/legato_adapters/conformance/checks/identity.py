"""Who an adapter is, which versions it speaks, what it claims, whether its backend lives."""

import functools
from collections.abc import Awaitable, Callable

import grpc.aio

from legato.adapter.v1 import (
    cart_service_pb2,
    catalog_service_pb2,
    content_service_pb2,
    customer_service_pb2,
    event_service_pb2,
    fulfilment_service_pb2,
    identity_service_pb2,
    inventory_service_pb2,
    order_service_pb2,
    payment_service_pb2,
)
from legato.contract import CONTRACT_VERSIONS
from legato_adapters.conformance.check import Code, broken, check, code_of, expect, one_of, same
from legato_adapters.conformance.claims import COMMANDS
from legato_adapters.conformance.subject import Subject


async def _info(subject: Subject, *versions: str) -> identity_service_pb2.GetInfoResponse:
    request = identity_service_pb2.GetInfoRequest(contract_versions=versions)
    return await subject.stubs.identity.GetInfo(request)


@check("identity.info", "", "GetInfo tells name and version, and the same whenever it is asked")
async def info(subject: Subject) -> None:
    first = await _info(subject, *CONTRACT_VERSIONS)
    expect(first.name, "the name is empty")
    expect(first.version, "the version is empty")
    same("the second answer", await _info(subject, *CONTRACT_VERSIONS), first)


@check("identity.versions", "", "the version chosen is the first of the hub's that the adapter speaks")
async def versions(subject: Subject) -> None:
    spoken = [v for v in CONTRACT_VERSIONS if await _chosen(subject, v) == v]
    expect(spoken, f"of the versions {', '.join(CONTRACT_VERSIONS)} it speaks none")
    for offered in (CONTRACT_VERSIONS, CONTRACT_VERSIONS[::-1], ("no-such-version", *CONTRACT_VERSIONS)):
        wanted = next(version for version in offered if version in spoken)
        same(f"the version chosen of {', '.join(offered)}", await _chosen(subject, *offered), wanted)
    same("the version chosen where none is offered", await _chosen(subject), "1" if "1" in spoken else None)


@check("identity.no_common_version", "", "where there is no version in common, GetInfo is FAILED_PRECONDITION")
async def no_common_version(subject: Subject) -> None:
    chosen = await _chosen(subject, "no-such-version", "nor-this")
    expect(chosen is None, f"version {chosen!r} was chosen, which was not offered")


async def _chosen(subject: Subject, *offered: str) -> str | None:
    """The version chosen; none where the adapter says that there is none in common."""
    try:
        return (await _info(subject, *offered)).contract_version
    except grpc.aio.AioRpcError as error:
        same(f"the status of GetInfo with versions {', '.join(offered)}", error.code(), Code.FAILED_PRECONDITION)
        return None


@check("identity.claims", "", "claims are well-formed: each once, known commands, an effect class where there are any")
async def claims(subject: Subject) -> None:
    answer = await _info(subject, *CONTRACT_VERSIONS)
    capabilities = list(answer.capabilities)
    expect(capabilities, "it claims nothing")
    expect(len(set(capabilities)) == len(capabilities), "a capability is claimed twice")
    expect(identity_service_pb2.CAPABILITY_UNSPECIFIED not in capabilities, "CAPABILITY_UNSPECIFIED is claimed")
    claimed = [claim.capability for claim in answer.command_claims]
    expect(len(set(claimed)) == len(claimed), "a capability has two command claims")
    for name in COMMANDS:
        number = identity_service_pb2.Capability.Value(f"CAPABILITY_{name}")
        if number in claimed:
            expect(name != "CART", "carts are claimed by cart_intents and effect_class, not by a command claim")
            expect(number in capabilities, f"there is a command claim for {name}, which is not claimed")
    for name, effect in subject.claims.effects.items():
        one_of(f"the effect class of {name}", effect, ("KEYED", "MARKED", "ABSOLUTE", "NONE"))
        commands = subject.claims.commands[name]
        expect(commands, f"{name} is claimed without a command")
        expect(len(set(commands)) == len(commands), f"a command of {name} is claimed twice")
        if unknown := sorted(set(commands) - set(COMMANDS[name])):
            broken(f"{name} claims {unknown[0]}, which is no command of the contract")
    if "CART" in subject.claims.effects:
        expect(subject.claims_command("CART", "create_cart"), "CART is claimed without create_cart")
    if subject.effect("PAYMENT") == "ABSOLUTE" or subject.effect("FULFILMENT") == "ABSOLUTE":
        broken("payments and shipments cannot be ABSOLUTE")


@check("identity.served", "", "every RPC of a claimed capability is there")
async def served(subject: Subject) -> None:
    calls = _calls(subject)
    for capability, names in _RPCS.items():
        if subject.claims_capability(capability):
            for name in names:
                code = await code_of(calls[name]())
                expect(code is not Code.UNIMPLEMENTED, f"{capability} is claimed, and {name} is UNIMPLEMENTED")


_MODULES = {
    "identity": identity_service_pb2,
    "catalog": catalog_service_pb2,
    "inventory": inventory_service_pb2,
    "cart": cart_service_pb2,
    "order": order_service_pb2,
    "payment": payment_service_pb2,
    "customer": customer_service_pb2,
    "content": content_service_pb2,
    "fulfilment": fulfilment_service_pb2,
    "event": event_service_pb2,
}
"""Messages of each service, by its name in `Stubs`."""

_RPCS = {
    "CATALOG": ("GetProduct",),
    "SEARCH": ("SearchProducts",),
    "PRICING": ("GetPrices",),
    "INVENTORY": ("GetAvailability",),
    "CART": ("GetCart", "ApplyCommand", "ResolveCommand"),
    "ORDER": ("GetOrder", "ListOrders", "ApplyOrderCommand", "ResolveOrderCommand"),
    "PAYMENT": ("GetPayment", "ApplyPaymentCommand", "ResolvePaymentCommand"),
    "CUSTOMER": ("GetCustomer", "ApplyCustomerCommand", "ResolveCustomerCommand"),
    "CREDENTIALS": ("AuthenticateCustomer",),
    "CONTENT": ("GetEntry", "ListEntries"),
    "FULFILMENT": ("ListShipments", "ApplyFulfilmentCommand", "ResolveFulfilmentCommand"),
    "DELIVERY_OPTIONS": ("ListDeliveryOptions",),
    "PICKUP_LOCATIONS": ("ListPickupLocations",),
    "CHANGES": ("ListChanges",),
    "WEBHOOKS": ("ParseWebhook",),
}
"""What each capability has."""

_HARMFUL = {
    "CART": "ApplyCommand",
    "ORDER": "ApplyOrderCommand",
    "PAYMENT": "ApplyPaymentCommand",
    "CUSTOMER": "ApplyCustomerCommand",
    "CREDENTIALS": "AuthenticateCustomer",
    "FULFILMENT": "ApplyFulfilmentCommand",
}
"""What nobody may call by accident."""


def _calls(subject: Subject) -> dict[str, Callable[[], Awaitable[object]]]:
    """Every RPC, with a request in which there is nothing but for whom it is."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {}
    for name, module in _MODULES.items():
        (service,) = module.DESCRIPTOR.services_by_name.values()
        for method in service.methods:
            request = getattr(module, method.input_type.name)()
            context = getattr(request, "call", request)
            if "context" in context.DESCRIPTOR.fields_by_name:
                context.context.CopyFrom(subject.context)
            calls[method.name] = functools.partial(getattr(getattr(subject.stubs, name), method.name), request)
    return calls


@check("identity.minimum", "", "it claims at least what the shop file says")
async def minimum(subject: Subject) -> None:
    least, has = subject.shop.minimum, subject.claims
    missing = [name for name in least.capabilities if name not in has.capabilities]
    missing += [
        f"{name}.{command}"
        for name, commands in least.commands.items()
        for command in commands
        if command not in has.commands.get(name, ())
    ]
    missing += [
        f"{name} as {effect} (it is {has.effects.get(name, 'not claimed')})"
        for name, effect in least.effects.items()
        if has.effects.get(name) != effect
    ]
    expect(not missing, f"it does not claim {', '.join(missing)}")


@check("identity.unclaimed", "", "what could do harm and is not claimed is UNIMPLEMENTED: commands, and passwords")
async def unclaimed(subject: Subject) -> None:
    calls = _calls(subject)
    for capability, name in _HARMFUL.items():
        if not subject.claims_capability(capability):
            same(f"the status of {name}, which is not claimed,", await code_of(calls[name]()), Code.UNIMPLEMENTED)


@check("identity.probe", "", "Probe says that the backend lives, for the tenant and for all")
async def probe(subject: Subject) -> None:
    for context in (subject.context, None):
        await subject.stubs.identity.Probe(identity_service_pb2.ProbeRequest(context=context))
