"""The metrics of several workers are told apart, never those of one at random."""

import asyncio
import re
import socket
import urllib.request
from pathlib import Path

import legato
from tests.storage.valkey_servers import own_server
from tests.support import served


def two_ports() -> int:
    """The first of two that were free a moment ago."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def shown(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
    return text


async def test_each_worker_shows_its_own(tmp_path: Path) -> None:
    port = two_ports()
    with own_server() as server:
        storage, listen = f"valkey://127.0.0.1:{server.port}", f"127.0.0.1:{port}"
        async with served.hub(tmp_path, storage, "--workers", "2", LEGATO_METRICS__LISTEN=listen) as hub:
            for _ in range(2):
                await hub.log("a worker serves")
            async with legato.connect(hub.target, channel_key="dev-web") as client:
                await client.create_cart()
                texts = [await asyncio.to_thread(shown, port + number) for number in range(2)]
            assert await hub.stop() == 0
    streams = [re.findall(r'^legato_streams\{worker="(\d)"\} (\d)', text, re.MULTILINE) for text in texts]
    assert [[number for number, _ in found] for found in streams] == [["0"], ["1"]]
    # The one stream is one worker's, and the other one says so.
    assert sorted(count for found in streams for _, count in found) == ["0", "1"]
    assert all('worker="' in line for text in texts for line in text.splitlines() if not line.startswith("#"))
