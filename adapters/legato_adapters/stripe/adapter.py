"""The servicers of the Stripe adapter: one line for each RPC."""

import importlib.metadata
import time
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from legato.adapter.v1 import (
    event_service_pb2,
    event_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from legato.contract import agree_on_version
from legato_adapters.http import Call, answer_command, answer_read
from legato_adapters.stripe.api import StripeApi
from legato_adapters.stripe.mapping import SYSTEM
from legato_adapters.stripe.payments import Payments
from legato_adapters.stripe.webhooks import changes_of, check_signature

_COMMANDS = ["authorize", "capture", "void", "refund"]


class StripeAdapter:
    """The translator to one account of Stripe's; made by `create`."""

    def __init__(self, secret_key: str, webhook_secrets: Sequence[str], url: str) -> None:
        if isinstance(webhook_secrets, str) or not all(isinstance(s, str) and s for s in webhook_secrets):
            raise ValueError("webhook_secrets must be a list of secrets")
        self._api = StripeApi(secret_key, url)
        self._webhook_secrets = tuple(webhook_secrets)

    def add_to(self, server: grpc.aio.Server) -> None:
        identity = _IdentityServicer(self._api, webhooks=bool(self._webhook_secrets))
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(identity, server)
        payments = _PaymentServicer(Payments(self._api))
        payment_service_pb2_grpc.add_PaymentServiceServicer_to_server(payments, server)
        events = _EventServicer(self._webhook_secrets)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(events, server)

    async def start(self) -> None:
        await self._api.open()

    async def close(self) -> None:
        await self._api.close()


class _IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    def __init__(self, api: StripeApi, *, webhooks: bool) -> None:
        self._api = api
        self._capabilities = [identity_service_pb2.CAPABILITY_PAYMENT]
        if webhooks:
            self._capabilities.append(identity_service_pb2.CAPABILITY_WEBHOOKS)

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: Any
    ) -> identity_service_pb2.GetInfoResponse:
        return identity_service_pb2.GetInfoResponse(
            name=SYSTEM,
            version=importlib.metadata.version("legato"),
            contract_version=await agree_on_version(request, context),
            capabilities=self._capabilities,
            command_claims=[
                identity_service_pb2.CommandClaim(
                    capability=identity_service_pb2.CAPABILITY_PAYMENT,
                    effect_class=identity_service_pb2.EFFECT_CLASS_KEYED,
                    commands=_COMMANDS,
                )
            ],
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: Any
    ) -> identity_service_pb2.ProbeResponse:
        await answer_read(context, self._api.probe)
        return identity_service_pb2.ProbeResponse()


class _PaymentServicer(payment_service_pb2_grpc.PaymentServiceServicer):
    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    async def GetPayment(
        self, request: payment_service_pb2.GetPaymentRequest, context: Any
    ) -> payment_service_pb2.GetPaymentResponse:
        return await answer_read(context, lambda call: self._payments.get(call, request))

    async def ApplyPaymentCommand(
        self, request: payment_service_pb2.ApplyPaymentCommandRequest, context: Any
    ) -> payment_service_pb2.ApplyPaymentCommandResponse:
        return await answer_command(context, lambda call: self._payments.apply(call, request))

    async def ResolvePaymentCommand(
        self, request: payment_service_pb2.ResolvePaymentCommandRequest, context: Any
    ) -> payment_service_pb2.ResolvePaymentCommandResponse:
        return await answer_read(context, lambda call: self._payments.resolve(call, request.call))


class _EventServicer(event_service_pb2_grpc.EventServiceServicer):
    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    async def ListChanges(
        self, request: event_service_pb2.ListChangesRequest, context: Any
    ) -> event_service_pb2.ListChangesResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "changes come by webhooks only")
        raise AssertionError("abort does not return")

    async def ParseWebhook(
        self, request: event_service_pb2.ParseWebhookRequest, context: Any
    ) -> event_service_pb2.ParseWebhookResponse:
        async def parse(call: Call) -> event_service_pb2.ParseWebhookResponse:
            check_signature(request.headers, request.body, self._secrets, time.time())
            return event_service_pb2.ParseWebhookResponse(changes=changes_of(request.body))

        return await answer_read(context, parse)
