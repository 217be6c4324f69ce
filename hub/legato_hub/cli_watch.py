"""`legato watch`: a subscription as text, through the generated stub."""

import os
import signal
import sys
from collections.abc import Iterable

import grpc

from legato.error_table import from_error, from_rpc_error
from legato.errors import LegatoError
from legato.orchestrator.v1 import orchestrator_service_pb2, orchestrator_service_pb2_grpc, stream_pb2
from legato.protocol.ids import new_id
from legato.protocol.resources import Kind, Resource, parse
from legato.replica import Replica, Verdict
from legato_hub import cli_render
from legato_hub.cli import refuse

KEEPALIVE = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000))
"""A hub whose machine vanished is noticed within 15 s."""


class _Refetch(Exception):
    """What came does not fit what is here: ask again from where we are."""


class _Watcher:
    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._replica = Replica()
        self._draining = False
        self._stopped = False
        self._stream: grpc.Call | None = None

    def stop(self) -> None:
        """End `run`, from a signal's handler."""
        self._stopped = True
        if self._stream is not None:
            self._stream.cancel()

    def run(self, stub: "orchestrator_service_pb2_grpc.OrchestratorServiceStub", token: str) -> None:
        """Until the hub ends the stream. Raise LegatoError when it refuses or goes without a word."""
        while not self._stopped:
            self._stream = stream = stub.Watch(self._request(), metadata=(("authorization", f"Bearer {token}"),))
            if self._stopped:
                stream.cancel()  # The signal came between the two lines above.
            try:
                for response in stream:
                    self._take(response.messages)
            except _Refetch:
                stream.cancel()
                continue
            except grpc.RpcError as error:
                if not (self._draining or self._stopped):
                    raise from_rpc_error(error) from error
            return

    def _request(self) -> orchestrator_service_pb2.WatchRequest:
        subscribe = stream_pb2.Subscribe(
            subscription_id=new_id(), resource=self._resource.name, since=self._replica.cursor
        )
        if self._resource.kind is Kind.ACTIVE_CART:
            subscribe.since_target = self._replica.target
        channel = stream_pb2.Channel(kind="cli", name="legato watch")
        return orchestrator_service_pb2.WatchRequest(subscriptions=[subscribe], channel=channel)

    def _take(self, messages: Iterable[stream_pb2.ServerMessage]) -> None:
        """Apply the whole answer before anything of it is shown."""
        news = present = ""
        for message in messages:
            match message.WhichOneof("message"):
                case "snapshot":
                    self._judge(self._replica.snapshot(message.snapshot))
                    reason = stream_pb2.SnapshotReason.Name(message.snapshot.reason)
                    news = f"snapshot, {reason.removeprefix('SNAPSHOT_REASON_').lower().replace('_', ' ')}"
                case "delta":
                    self._judge(self._replica.delta(message.delta))
                    news = news or "delta"
                case "progress":
                    self._judge(self._replica.progress(message.progress))
                case "presence":
                    present = cli_render.presence(message.presence)
                case "subscription_status" if message.subscription_status.HasField("error"):
                    raise from_error(message.subscription_status.error)
                case "drain":
                    self._draining = True
                    print("legato: the hub is going down", file=sys.stderr)
        if news:
            self._show(news)
        if present:
            _say(present)

    def _judge(self, verdict: Verdict) -> None:
        if verdict is Verdict.RESUBSCRIBE:
            raise _Refetch
        if verdict is Verdict.DIVERGED:
            refuse("the hub's digest differed from its state twice in a row", 1)

    def _show(self, news: str) -> None:
        replica = self._replica
        revision = f" revision {replica.cursor.revision}" if replica.cursor else ""
        head = f"{replica.target or self._resource.name}{revision} ({news})"
        _say("\n  ".join([head, *cli_render.render(replica.target, replica.entries)]))


def _say(text: str) -> None:
    # At once, also into a pipe: whoever reads it wants to see it live.
    print(text, flush=True)


def watch(target: str, resource: str, token: str) -> int:
    """Print until Ctrl-C or the end of the hub; the exit status."""
    try:
        wanted = parse(resource)
    except ValueError as error:
        refuse(f"{resource!r} {error}")
    watcher = _Watcher(wanted)
    # Not KeyboardInterrupt: raised inside a finaliser it would be swallowed, and the watch would go on.
    former = signal.signal(signal.SIGINT, lambda *_: watcher.stop())
    with grpc.insecure_channel(target, options=KEEPALIVE) as channel:
        try:
            watcher.run(orchestrator_service_pb2_grpc.OrchestratorServiceStub(channel), token)
        except LegatoError as error:
            refuse(str(error), 1)
        except BrokenPipeError:
            # Nobody reads any more. What is left in the buffer must not fail again when Python flushes it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            signal.signal(signal.SIGINT, former)
    return 0
