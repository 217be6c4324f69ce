"""Frames put together by hand are what protobuf would have serialised."""

from hypothesis import given
from hypothesis import strategies as st

from legato.orchestrator.v1 import cursor_pb2, orchestrator_service_pb2, stream_pb2
from legato_hub.core.frames import SharedDelta, delta_frame, frame

SEQS = st.sampled_from([0, 1, 127, 128, 2**63 - 1])


@given(st.text(max_size=64), st.binary(max_size=400), SEQS, SEQS, st.lists(st.text(max_size=60), max_size=8))
def test_a_delta_in_parts_is_the_delta(name: str, payload: bytes, revision: int, seq: int, traces: list[str]) -> None:
    own = stream_pb2.Delta(subscription_id=name)
    shared = stream_pb2.Delta(
        prev_revision=revision,
        cursor=cursor_pb2.Cursor(epoch="e", revision=revision),
        payload=payload * 50,
        traceparents=traces,
    )
    seqs = stream_pb2.Delta(last_seq=seq, durable_seq=seq)
    whole = stream_pb2.Delta()
    for part in (own, shared, seqs):
        whole.MergeFrom(part)
    parts = [part.SerializeToString() for part in (own, shared, seqs)]
    pong = stream_pb2.ServerMessage(pong=stream_pb2.Pong(nonce=revision))
    data = delta_frame(*parts) + frame(pong)
    expected = [stream_pb2.ServerMessage(delta=whole), pong]
    assert list(stream_pb2.ConnectResponse.FromString(data).messages) == expected
    assert list(orchestrator_service_pb2.WatchResponse.FromString(data).messages) == expected


def test_a_shared_delta_tells_each_stream_what_is_its_own() -> None:
    shared = SharedDelta(stream_pb2.Delta(prev_revision=1, payload=b"x").SerializeToString(), (), 0)
    wanted = [("s1", 0), ("s1", 0), ("s1", 7), ("s2", 0), ("s1", 0)]
    own = [stream_pb2.Delta(subscription_id=name, last_seq=seq) for name, seq in wanted]
    data = b"".join(shared.frame(part.SerializeToString()) for part in own)
    deltas = [message.delta for message in stream_pb2.ConnectResponse.FromString(data).messages]
    assert [(delta.subscription_id, delta.last_seq) for delta in deltas] == wanted
    assert {(delta.prev_revision, delta.payload) for delta in deltas} == {(1, b"x")}
