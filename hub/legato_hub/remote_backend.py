"""A backend behind an address, which comes and goes as it likes."""

import asyncio
import contextlib
import logging

import grpc
import grpc.aio

from legato_hub.backend import Backend, text_of
from legato_hub.config import BackendConfig
from legato_hub.introduction import UnusableAdapter, introduced, introduction

_log = logging.getLogger(__name__)

REMOTE_SCHEME = "grpc://"

REMOTE_OPTIONS = [
    # A silent link is noticed 15 s later, and only while calls wait for it: an adapter's server may be any server, and
    # most end connections that are pinged while idle.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]

FIRST_ANSWER_S = 1.0
"""How long the start of the hub waits for an adapter behind an address."""

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0

ASK_AGAIN_S = 30.0
"""An adapter behind an address may be replaced by a newer version of itself that nothing failed on."""


class RemoteBackend(Backend):
    """An adapter behind an address. The hub starts without it, and asks it again who it is whenever it was away."""

    def __init__(self, name: str, config: BackendConfig) -> None:
        target = config.adapter.removeprefix(REMOTE_SCHEME)
        super().__init__(name, config, grpc.aio.insecure_channel(target, options=REMOTE_OPTIONS))
        self._introduction: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()
        self._doubt = asyncio.Event()

    async def start(self) -> None:
        self._introduction = asyncio.create_task(self._introduce(), name=f"introduce {self.name}")
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                await self._answered.wait()
        except TimeoutError:
            _log.warning("backend %s does not answer yet", self.name, extra={"backend": self.name})

    async def close(self) -> None:
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
        await self.channel.close()

    def failed(self, code: grpc.StatusCode) -> None:
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
            self._doubt.set()

    async def _introduce(self) -> None:
        # Not by watching the channel's state: grpc.aio leaves such a watch pending for good when a channel is closed.
        delay, said = FIRST_RETRY_S, ""
        while True:
            self._doubt.clear()
            fault = await self._ask()
            if fault:
                if fault != said:
                    _log.error("backend %s is not used: %s", self.name, fault, extra={"backend": self.name})
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_S)
            else:
                delay = FIRST_RETRY_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ASK_AGAIN_S):
                        await self._doubt.wait()
            said = fault

    async def _ask(self) -> str:
        """Why the adapter cannot be used; empty if it can. Waits for it as long as a call may take."""
        try:
            answer = await self.identity.GetInfo(introduction(), timeout=self.timeout_s, wait_for_ready=True)
            info = introduced(answer)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                # It speaks, and speaks no version of ours: what an earlier one of it said counts no more.
                self.info = None
            return text_of(error)
        except UnusableAdapter as error:
            self.info = None
            return str(error)
        if info != self.info:
            _log.info("backend %s answers", self.name, extra={"backend": self.name})
        self.info = info
        self._answered.set()
        return ""
