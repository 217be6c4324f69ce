"""The demo, as a newcomer runs it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from textual.widgets import Input, RichLog, Static

from legato_demo.live import LiveDemo
from legato_demo.script import EXPECTED
from legato_demo.stage import open_stage

ROOT = Path(__file__).resolve().parents[2]
PLAY_TIMEOUT_S = 120.0


async def legato(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "legato_hub.cli", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(os.environ),
    )


@pytest.mark.timeout(PLAY_TIMEOUT_S + 30)
@pytest.mark.parametrize("backend", ["reference", "vendure", "commercetools"])
async def test_the_play_ends_well(backend: str) -> None:
    process = await legato("demo", "--once", "--backend", backend)
    async with asyncio.timeout(PLAY_TIMEOUT_S):
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert "0 snapshots" in text, "the till must have resumed by deltas alone"
    assert "exit code -9" in text
    assert text.count(f": {EXPECTED}}}") == 4, "three channels and the backend"
    assert "drained and stopped" in text


@pytest.mark.timeout(PLAY_TIMEOUT_S + 30)
async def test_the_play_on_two_hubs_ends_well() -> None:
    process = await legato("demo", "--once", "--hubs", "2")
    async with asyncio.timeout(PLAY_TIMEOUT_S):
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert "hub2  is dead (exit code -9)" in text
    for channel in ("app", "till"):
        assert f"{channel:>5}  went on at another hub, by deltas" in text
    assert text.count(f": {EXPECTED}}}") == 6, "three channels, two hubs and the backend"
    digests = {line.split()[-1] for line in text.splitlines() if "revision" in line}
    assert len(digests) == 1, text
    assert "drained and stopped" in text


@pytest.mark.timeout(90)
async def test_the_live_demo_goes_on_without_one_of_two_hubs() -> None:
    async with open_stage("reference", 2) as stage:
        for label in stage.channels:
            await stage.do(f"{label} add 1")
        for channel in stage.channels.values():
            await channel.shows({stage.shop.sku: 3})
        await stage.do("kill 2")
        for label in stage.channels:
            await stage.do(f"{label} add 1")
        for channel in stage.channels.values():
            await channel.shows({stage.shop.sku: 6})
        with pytest.raises(ValueError, match="there are 2"):
            await stage.do("kill 3")
        await stage.do("start 2")
        assert stage.hubs.all[1].runs


async def test_without_a_terminal_the_script_moves_and_a_signal_drains() -> None:
    process = await legato("demo")
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        while not all(f"{label}  ●" in seen for label in ("web", "app", "till")):
            line = (await process.stdout.readline()).decode()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGINT)
        rest, _ = await process.communicate()
    assert process.returncode == 0
    assert "the hub has drained and stopped" in rest.decode()


@pytest.mark.timeout(90)
async def test_what_is_typed_moves_all_three_panels() -> None:
    async with open_stage("reference") as stage:
        app = LiveDemo(stage)
        async with app.run_test(size=(120, 40)) as pilot:

            async def type_in(text: str) -> None:
                app.query_one(Input).value = text
                await pilot.press("enter")

            await type_in("app add 4")
            async with asyncio.timeout(30):
                for label in stage.channels:
                    await stage.channels[label].shows({stage.shop.sku: 4})
                    while f"4 × {stage.shop.sku}" not in str(app.query_one(f"#{label}", Static).content):
                        await pilot.pause(0.02)
            await type_in("web add 6 STOVE-TI")
            async with asyncio.timeout(30):
                while not any("stock" in strip.text for strip in app.query_one(RichLog).lines):
                    await pilot.pause(0.02)
            await type_in("web jump")
            await pilot.pause()
            assert any("no such move" in strip.text for strip in app.query_one(RichLog).lines)
