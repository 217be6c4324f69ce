"""The adapter contract: who an adapter is, which version it speaks, what it claims, whether its backend lives."""

import grpc
import grpc.aio
import pytest

from legato.adapter.v1 import (
    customer_service_pb2,
    fulfilment_service_pb2,
    identity_service_pb2,
    order_service_pb2,
    payment_service_pb2,
)
from legato.contract import CONTRACT_VERSIONS
from legato_adapters.conformance.stubs import Stubs
from legato_adapters.conformance.wire import TIMEOUT_S
from tests.adapters.shops import ALL_INTENTS, Shop

pytestmark = pytest.mark.usefixtures("placement")

WITH_COMMANDS = {
    identity_service_pb2.CAPABILITY_ORDER: set(order_service_pb2.OrderCommand.DESCRIPTOR.fields_by_name),
    identity_service_pb2.CAPABILITY_PAYMENT: set(payment_service_pb2.PaymentCommand.DESCRIPTOR.fields_by_name),
    identity_service_pb2.CAPABILITY_CUSTOMER: set(customer_service_pb2.CustomerCommand.DESCRIPTOR.fields_by_name),
    identity_service_pb2.CAPABILITY_FULFILMENT: set(fulfilment_service_pb2.FulfilmentCommand.DESCRIPTOR.fields_by_name),
}


async def test_claims(shop: Shop, stubs: Stubs) -> None:
    request = identity_service_pb2.GetInfoRequest(contract_versions=CONTRACT_VERSIONS)
    info = await stubs.identity.GetInfo(request, timeout=TIMEOUT_S)
    assert info.name
    assert info.version
    assert info.contract_version == "1.1"
    assert info.effect_class == shop.effect_class
    assert set(info.cart_intents) == shop.intents <= ALL_INTENTS
    assert {identity_service_pb2.Capability.Name(c) for c in info.capabilities} == {
        f"CAPABILITY_{word}" for word in shop.capabilities
    }
    with_commands = {claim.capability for claim in info.command_claims}
    assert len(with_commands) == len(info.command_claims)
    assert with_commands == set(WITH_COMMANDS) & set(info.capabilities)
    for claim in info.command_claims:
        assert claim.effect_class != identity_service_pb2.EFFECT_CLASS_UNSPECIFIED
        assert claim.commands
        assert set(claim.commands) <= WITH_COMMANDS[claim.capability]
    assert await stubs.identity.GetInfo(request, timeout=TIMEOUT_S) == info


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), "1"), (("1",), "1"), (("2", "1.1", "1"), "1.1"), (("1", "1.1"), "1")]
)
async def test_the_first_version_of_the_hubs_that_it_speaks(
    stubs: Stubs, offered: tuple[str, ...], chosen: str
) -> None:
    request = identity_service_pb2.GetInfoRequest(contract_versions=offered)
    assert (await stubs.identity.GetInfo(request, timeout=TIMEOUT_S)).contract_version == chosen


async def test_no_version_in_common(stubs: Stubs) -> None:
    request = identity_service_pb2.GetInfoRequest(contract_versions=["3", "2"])
    with pytest.raises(grpc.aio.AioRpcError, match=r"version '3' or '2', this adapter '1\.1' or '1'") as e:
        await stubs.identity.GetInfo(request, timeout=TIMEOUT_S)
    assert e.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_the_backend_lives(shop: Shop, stubs: Stubs) -> None:
    answer = await stubs.identity.Probe(identity_service_pb2.ProbeRequest(), timeout=TIMEOUT_S)
    assert answer == identity_service_pb2.ProbeResponse()
