"""The promises, each a check of a history under the name that a violation of it is reported by."""

from collections.abc import Mapping

from tests.robustness.promises import (
    authorised,
    bounded,
    drain,
    exactly_once,
    fenced,
    isolated,
    live,
    ordered,
    progress,
    resumable,
    sequential,
    torn,
    your_writes,
)
from tests.robustness.promises.finding import Check

PROMISES: Mapping[str, Check] = {
    "ordered-gap-free": ordered.check,
    "resumable": resumable.check,
    "exactly-once": exactly_once.check,
    "sequential": sequential.check,
    "read-your-writes": your_writes.check,
    "no-torn-state": torn.check,
    "progress-in-band": progress.check,
    "bounded": bounded.check,
    "fenced": fenced.check,
    "isolated": isolated.check,
    "graceful-drain": drain.check,
    "authorised": authorised.check,
    "live": live.check,
}
