"""Who an adapter is, which versions it speaks, what it claims, whether its backend lives."""

from collections.abc import Awaitable

import grpc.aio

from legato.adapter.v1 import (
    cart_service_pb2,
    customer_service_pb2,
    fulfilment_service_pb2,
    identity_service_pb2,
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
    context, stubs = subject.context, subject.stubs
    calls: dict[str, Awaitable[object]] = {}
    if not subject.claims_capability("CART"):
        calls["ApplyCommand"] = stubs.cart.ApplyCommand(cart_service_pb2.ApplyCommandRequest(context=context))
    if not subject.claims_capability("ORDER"):
        order = order_service_pb2.ApplyOrderCommandRequest(context=context)
        calls["ApplyOrderCommand"] = stubs.order.ApplyOrderCommand(order)
    if not subject.claims_capability("PAYMENT"):
        payment = payment_service_pb2.ApplyPaymentCommandRequest(context=context)
        calls["ApplyPaymentCommand"] = stubs.payment.ApplyPaymentCommand(payment)
    if not subject.claims_capability("CUSTOMER"):
        customer = customer_service_pb2.ApplyCustomerCommandRequest(context=context)
        calls["ApplyCustomerCommand"] = stubs.customer.ApplyCustomerCommand(customer)
    if not subject.claims_capability("CREDENTIALS"):
        login = customer_service_pb2.AuthenticateCustomerRequest(context=context)
        calls["AuthenticateCustomer"] = stubs.customer.AuthenticateCustomer(login)
    if not subject.claims_capability("FULFILMENT"):
        fulfilment = fulfilment_service_pb2.ApplyFulfilmentCommandRequest(context=context)
        calls["ApplyFulfilmentCommand"] = stubs.fulfilment.ApplyFulfilmentCommand(fulfilment)
    for name, call in calls.items():
        same(f"the status of {name}, which is not claimed,", await code_of(call), Code.UNIMPLEMENTED)


@check("identity.probe", "", "Probe says that the backend lives, for the tenant and for all")
async def probe(subject: Subject) -> None:
    for context in (subject.context, None):
        await subject.stubs.identity.Probe(identity_service_pb2.ProbeRequest(context=context))
