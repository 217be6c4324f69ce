"""The faults: what is done to a running world, one file a group."""

from collections.abc import Mapping

from tests.robustness.faults import backends, commands, crashes, hubs, network, overtaken, sdk, storage
from tests.robustness.faults.fault import Fault

FAULTS: Mapping[str, Fault] = {
    **crashes.FAULTS,
    **overtaken.FAULTS,
    **hubs.FAULTS,
    **network.FAULTS,
    **commands.FAULTS,
    **backends.FAULTS,
    **storage.FAULTS,
    **sdk.FAULTS,
}
