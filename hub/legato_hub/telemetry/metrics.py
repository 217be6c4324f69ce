"""Every metric of the hub, each defined here and nowhere else.

`docs/observability.md` has the same list as a table, which a test holds against this module. In Prometheus a name has
underscores, the unit and, for counters, `_total` behind it: `legato.adapter.call.duration` in seconds becomes
`legato_adapter_call_duration_seconds`.
"""

from time import monotonic_ns

from legato.orchestrator.v1 import command_pb2, error_pb2, stream_pb2
from legato_hub.core.outbox import Outbox
from legato_hub.telemetry.instruments import Counter, Doubling, Gauge, Histogram, Instrument, Registry, Sum, Total

# Streams

STREAMS = Gauge("legato.streams", "{stream}", "Open streams, Connect and Watch.")
SUBSCRIPTIONS = Gauge("legato.subscriptions", "{subscription}", "Subscriptions on open streams.")
RESOURCES = Gauge("legato.resources", "{resource}", "Carts and sessions held in memory, watched or used lately.")
OUTBOX_DUE = Gauge("legato.outbox.due", "{subscription}", "Subscriptions with something that was not sent yet.")
OUTBOX_BACKLOG = Gauge("legato.outbox.backlog", "{message}", "Answers and results that wait, of all streams.")
OUTBOX_BACKLOG_MAX = Gauge(
    "legato.outbox.backlog.max", "{message}", "Answers and results that wait, of the worst stream.", worst=True
)
UNACKNOWLEDGED = Gauge(
    "legato.outbox.unacknowledged", "{message}", "Messages that clients did not acknowledge yet, of all streams."
)
UNACKNOWLEDGED_MAX = Gauge(
    "legato.outbox.unacknowledged.max",
    "{message}",
    "The same, of the subscription that is furthest behind.",
    worst=True,
)
SNAPSHOTS = Counter(
    "legato.snapshots",
    "{snapshot}",
    "Snapshots sent, by reason: initial, trimmed, cursor_ahead, epoch_changed, slow_client, target_changed.",
    "reason",
)
MESSAGE_REVISIONS = Doubling(
    "legato.message.revisions",
    "{revision}",
    "Revisions merged into one message to one stream; 0 for one with answers or snapshots only.",
    bits=(0, 10),
)
SENT = Sum("legato.sent", "By", "Bytes handed to grpc on streams, before compression and framing.")
FANOUT = Doubling(
    "legato.fanout.duration",
    "s",
    "From a commit that this hub heard of to the hand-over to grpc of the message that tells a stream; a merged"
    " message counts from the oldest revision in it.",
    bits=(13, 34),
    scale=1e-9,
)

# Commands

COMMANDS = Counter(
    "legato.commands",
    "{command}",
    "Commands answered. Resource is carts, sessions or other; reason is empty unless there is an error.",
    "resource",
    "outcome",
    "reason",
)
COMMAND_DURATION = Histogram(
    "legato.command.duration", "s", "From taking a command to its result, waiting for the cart included.", "outcome"
)
COMMANDS_RUNNING = Gauge("legato.commands.running", "{command}", "Commands that were taken and have no result yet.")
SLOTS_RESOLVING = Gauge(
    "legato.slots.resolving", "{slot}", "Commands of unknown outcome that this hub is finding out about."
)
RESOLUTIONS = Counter(
    "legato.slots.resolutions",
    "{resolution}",
    "What was found out: applied, not_applied, unknown; failed for an attempt that will be repeated.",
    "result",
)

# Backends

ADAPTER_CALLS = Histogram(
    "legato.adapter.call.duration",
    "s",
    "Calls to adapters, by gRPC status code.",
    "backend",
    "method",
    "code",
)
ADAPTER_READY = Gauge(
    "legato.adapter.ready", "1", "1 while an adapter has said what it can do, 0 while it is awaited.", "backend"
)

# Storage

STORAGE = Histogram(
    "legato.storage.operation.duration",
    "s",
    "Operations of the storage; `commit` is the commit latency. Outcome is ok or error.",
    "operation",
    "outcome",
)
STORAGE_REACHABLE = Gauge(
    "legato.storage.reachable", "1", "1 if the last look at the storage, every few seconds, was answered, else 0."
)
FEED_REPAIRS = Counter(
    "legato.storage.feed.repairs", "{repair}", "Revisions that no message told of and the log did (Valkey)."
)
EPOCHS = Counter(
    "legato.storage.epochs", "{epoch}", "New epochs seen while running: restart, failover, restore (Valkey)."
)
RECONNECTS = Counter(
    "legato.storage.reconnects",
    "{connection}",
    "Connections to the storage that were lost; role is commands or feeds (Valkey).",
    "role",
)

# The process

EVENT_LOOP_LAG = Histogram(
    "legato.event_loop.lag", "s", "How much later than asked the event loop ran a timer, ten times a second."
)
DRAINING = Gauge("legato.draining", "1", "1 from the drain message to the end of the process, else 0.")
READY = Gauge("legato.ready", "1", "1 while the health service says SERVING for the public API, else 0.")
BUILD = Gauge(
    "legato.build.info", "", "Always 1; the labels tell what runs.", "version", "contract", "storage", worst=True
)
CPU = Total("process.cpu.time", "s", "CPU time of the process; mode is user or system.", "mode")
MEMORY = Gauge("process.memory.usage", "By", "Resident memory of the process (Linux only).")
UPTIME = Gauge("process.uptime", "s", "Since the process started to count.")

ALL: tuple[Instrument, ...] = tuple(value for value in vars().values() if isinstance(value, Instrument))
registry = Registry(*ALL)
"""The process's one registry."""

_merged, _waited = MESSAGE_REVISIONS.counts, FANOUT.counts
_REASONS = {value: name.removeprefix("SNAPSHOT_REASON_").lower() for name, value in stream_pb2.SnapshotReason.items()}
_OUTCOMES = {value: name.removeprefix("OUTCOME_").lower() for name, value in command_pb2.Outcome.items()}
_ERRORS = {value: name.removeprefix("ERROR_REASON_").lower() for name, value in error_pb2.ErrorReason.items()}


def message_sent(outbox: Outbox, size: int) -> None:
    """What `outbox.take` gave last is handed to grpc. There is no hotter path."""
    revisions = outbox.revisions
    _merged[revisions.bit_length()] += 1
    SENT.value += size
    if revisions:
        MESSAGE_REVISIONS.sum += revisions
        waited = monotonic_ns() - outbox.told_at
        _waited[waited.bit_length()] += 1
        FANOUT.sum += waited
    if outbox.snapshots:
        for reason in outbox.snapshots:
            SNAPSHOTS.add(_REASONS.get(reason, "other"))


def command_answered(result: command_pb2.CommandResult, took_s: float) -> None:
    """A command has its result."""
    outcome = _OUTCOMES.get(result.outcome, "other")
    kind = result.resource.partition("/")[0]
    reason = "" if outcome in ("applied", "no_op") else _ERRORS.get(result.error.reason, "other")
    COMMANDS.add(kind if kind in ("carts", "sessions") else "other", outcome, reason)
    COMMAND_DURATION.record(took_s, outcome)
