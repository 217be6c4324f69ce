"""The servicers of the Strapi adapter: one line for each RPC."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import grpc.aio

from legato.adapter.v1 import (
    content_service_pb2,
    content_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
)
from legato.contract import agree_on_version
from legato_adapters.http import answer_read, base_url
from legato_adapters.strapi.api import StrapiApi
from legato_adapters.strapi.content import Content
from legato_adapters.strapi.mapping import SYSTEM


class StrapiAdapter:
    """The translator to one Strapi; made by `create`."""

    def __init__(self, url: str, token: str, types: Mapping[str, str], slug_field: str) -> None:
        if not isinstance(types, Mapping) or not types or not all(isinstance(n, str) and n for n in types.values()):
            raise ValueError('types must name at least one, for example {"banner": "banners"}')
        if not slug_field.isidentifier():
            raise ValueError("slug_field must be the name of a field")
        self._api = StrapiApi(url, token)
        self._content = Content(self._api, base_url(url), dict(types), slug_field)

    def add_to(self, server: grpc.aio.Server) -> None:
        identity = _IdentityServicer(self._content)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(identity, server)
        content_service_pb2_grpc.add_ContentServiceServicer_to_server(_ContentServicer(self._content), server)

    async def start(self) -> None:
        await self._api.open()

    async def close(self) -> None:
        await self._api.close()


class _IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    def __init__(self, content: Content) -> None:
        self._content = content

    async def GetInfo(
        self, request: identity_service_pb2.GetInfoRequest, context: Any
    ) -> identity_service_pb2.GetInfoResponse:
        return identity_service_pb2.GetInfoResponse(
            name=SYSTEM,
            version=importlib.metadata.version("legato"),
            contract_version=await agree_on_version(request, context),
            capabilities=[identity_service_pb2.CAPABILITY_CONTENT],
        )

    async def Probe(
        self, request: identity_service_pb2.ProbeRequest, context: Any
    ) -> identity_service_pb2.ProbeResponse:
        await answer_read(context, self._content.probe)
        return identity_service_pb2.ProbeResponse()


class _ContentServicer(content_service_pb2_grpc.ContentServiceServicer):
    def __init__(self, content: Content) -> None:
        self._content = content

    async def GetEntry(
        self, request: content_service_pb2.GetEntryRequest, context: Any
    ) -> content_service_pb2.GetEntryResponse:
        return await answer_read(context, lambda call: self._content.get(call, request))

    async def ListEntries(
        self, request: content_service_pb2.ListEntriesRequest, context: Any
    ) -> content_service_pb2.ListEntriesResponse:
        return await answer_read(context, lambda call: self._content.list(call, request))
