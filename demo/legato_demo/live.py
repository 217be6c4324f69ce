"""The live demo: three channels side by side in one terminal, moved by typing or by a script."""

import asyncio
import contextlib
import signal
import sys
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, RichLog, Static

import legato
from legato_demo.channels import Channel
from legato_demo.stage import HELP, Stage, open_stage

MOVE_S = 1.5
"""Between two moves of the script."""


def picture(channel: Channel) -> str:
    """What a channel shows, as text."""
    view = channel.cart.view
    rows = [f"{'●' if view.connected else '○'} {'connected' if view.connected else 'no connection'}"]
    rows += [f"{line.quantity.steps:>6} × {line.sku}  {line.item.name[:24]}" for line in view.cart.lines]
    if view.cart.totals.items:
        total = view.cart.totals.items[-1].amount
        rows.append(f"{total.units / 10**total.scale:>9.{total.scale}f} {total.currency_code}")
    rows.append(f"revision {channel.revision}, {channel.digest}")
    if view.pending:
        rows.append(f"{view.pending} not confirmed yet")
    return "\n".join(rows)


class LiveDemo(App[None]):
    """Three panels, a log, and a line to type in."""

    CSS = """
    #channels { height: 1fr; }
    .channel { width: 1fr; border: round $primary; padding: 0 1; }
    RichLog { height: 8; border: round $secondary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", "Drain and quit", priority=True)]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._script: asyncio.Task[None] | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="channels"):
            for label in self._stage.channels:
                panel = Static(id=label, classes="channel", markup=False)
                panel.border_title = label
                yield panel
        yield RichLog(id="log", wrap=True, markup=False)
        yield Input(placeholder="web add 2    (help, auto, Ctrl-C)")

    def on_mount(self) -> None:
        self.query_one(RichLog).write(HELP)
        self.query_one(Input).focus()
        for channel in self._stage.channels.values():
            self.run_worker(self._follow(channel))

    async def _follow(self, channel: Channel) -> None:
        panel = self.query_one(f"#{channel.label}", Static)
        panel.update(picture(channel))
        async for _ in channel.cart.watch():
            panel.update(picture(channel))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        event.input.clear()
        if text == "quit":
            self.exit()
        elif text == "auto":
            self.run_worker(self._auto(), exclusive=True, group="auto")
        elif text:
            await self._do(text)

    async def _auto(self) -> None:
        for move in self._stage.script():
            await self._do(move)
            await asyncio.sleep(MOVE_S)

    async def _do(self, text: str) -> None:
        log = self.query_one(RichLog)
        try:
            told, pending = await self._stage.do(text)
        except (ValueError, RuntimeError) as error:
            log.write(f"{text}: {error}")
            return
        log.write(told)
        if pending is not None:
            self.run_worker(self._await(told, pending))

    async def _await(self, told: str, pending: legato.PendingCommand) -> None:
        if refusal := await refusal_of(pending):
            self.query_one(RichLog).write(f"{told}: {refusal}")


async def refusal_of(pending: legato.PendingCommand) -> str:
    """Why a command was refused, once that is known; empty if it was not."""
    try:
        await pending.result()
    except legato.LegatoError as error:
        return str(error)
    return ""


async def plain(stage: Stage, stop: asyncio.Event) -> None:
    """Without a terminal: the script moves, and each change is a line, until `stop`."""

    async def follow(channel: Channel) -> None:
        async for _ in channel.cart.watch():
            print(f"{channel.label:>5}  {' | '.join(picture(channel).splitlines())}", flush=True)

    async def move() -> None:
        for text in stage.script():
            with contextlib.suppress(ValueError):  # a move that the cart does not allow just now
                told, _ = await stage.do(text)
                print(f"    →  {told}", flush=True)
            await asyncio.sleep(MOVE_S)

    tasks = [asyncio.create_task(follow(channel)) for channel in stage.channels.values()]
    tasks.append(asyncio.create_task(move()))
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
    for task in [*tasks, ended]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _live(backend: str, hubs: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(f"starting {'a hub' if hubs == 1 else f'{hubs} hubs'} on {backend} …", flush=True)
    async with open_stage(backend, hubs) as stage:
        if sys.stdin.isatty() and sys.stdout.isatty():
            app = LiveDemo(stage)
            running = asyncio.create_task(app.run_async())
            ended = asyncio.create_task(stop.wait())
            await asyncio.wait([running, ended], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                app.exit()
            ended.cancel()
            await running
        else:
            await plain(stage, stop)
        print("draining …", flush=True)
    print(f"{'the hub has' if hubs == 1 else 'the hubs have'} drained and stopped", flush=True)


def main(backend: str, hubs: int) -> int:
    """The exit status."""
    asyncio.run(_live(backend, hubs))
    return 0
