"""A minute of the suite: the faults that tell most, with one seed each. `make robustness` plays all of them."""

from pathlib import Path

import pytest

from tests.robustness.faults import FAULTS
from tests.robustness.report import table, told
from tests.robustness.setting import Setting
from tests.robustness.suite import play, settings

SHORT = [
    Setting("kill", 11, "sqlite", "ABSOLUTE", "write.after_adapter"),
    Setting("kill", 12, "sqlite", "NONE", "write.after_begin"),
    Setting("kill", 13, "valkey", "KEYED", "write.after_adapter"),
    Setting("gone-for-good", 14, "valkey", "MARKED", "write.after_adapter"),
    Setting("failover", 15, "valkey", "MARKED"),
    Setting("unruly-commands", 16, "sqlite", "NONE", "duplicated"),
    Setting("drain", 17, "valkey", "MARKED"),
]


# Several processes have to start in each: on a busy machine that takes longer than other tests may.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("setting", SHORT, ids=lambda setting: setting.name)
async def test_a_fault_breaks_no_promise(setting: Setting, tmp_path: Path) -> None:
    played = await play(setting, tmp_path)
    assert not played.failed, "\n".join(told(played))
    # A promise that nothing put to the test was not kept either.
    for promise in ("ordered-gap-free", "resumable", "exactly-once", "sequential", "fenced", "authorised", "live"):
        assert played.findings[promise].checked, promise


def test_each_short_run_is_one_of_the_suite() -> None:
    suite = {(one.fault, one.engine, one.effect_class, one.variant) for one in settings(seed=1)}
    assert {(one.fault, one.engine, one.effect_class, one.variant) for one in SHORT} <= suite
    assert {one.fault for one in settings(seed=1)} == FAULTS.keys()


@pytest.mark.timeout(400)  # As above.
async def test_what_a_broken_hub_does_is_kept_and_can_be_played_again(tmp_path: Path) -> None:
    setting = Setting("drain", 1, "sqlite", "MARKED", mutant="digest-skips-a-field", patience_s=10.0)
    played = await play(setting, tmp_path)
    assert "no-torn-state" in played.violated
    lines = list(told(played))
    assert any(line.startswith("VIOLATED no-torn-state: ") for line in lines)
    arguments = "--fault drain --seed 1 --engine sqlite --effect-class MARKED --mutant digest-skips-a-field"
    assert lines[-2:] == [f"history: {played.folder}", f"replay:  python -m tests.robustness {arguments}"]
    head, row = table([played]).splitlines()
    assert head.split()[0] == "runs"
    assert "!" in row
