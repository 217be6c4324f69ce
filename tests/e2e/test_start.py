"""A hub that cannot start says why, and leaves nothing open."""

from pathlib import Path

import msgspec
import pytest

from legato.hosting import AdapterLoadError
from legato_hub.config import BackendConfig, RoutingConfig
from legato_hub.server import Hub
from legato_hub.storage.base import StorageError
from tests.support.hub import RunningHub, hub_config, running_hub


async def test_two_hubs_cannot_share_a_file(hub: RunningHub) -> None:
    with pytest.raises(StorageError, match=r"hub\.sqlite3"):
        await Hub(hub.config).start()


async def test_two_hubs_cannot_share_a_port(hub: RunningHub, tmp_path: Path) -> None:
    config = hub_config(tmp_path / "other", listen=hub.target)
    (tmp_path / "other").mkdir()
    with pytest.raises(OSError, match="cannot listen on"):
        await Hub(config).start()
    # Its files are free again.
    async with running_hub(hub_config(tmp_path / "other")):
        pass


async def test_a_backend_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    broken = BackendConfig(adapter="legato_adapters.nowhere:create")
    config = msgspec.structs.replace(
        hub_config(tmp_path, backends={"broken": broken}), routing=RoutingConfig(default="reference", cart="broken")
    )
    with pytest.raises(AdapterLoadError, match="broken"):
        await Hub(config).start()
    async with running_hub(hub_config(tmp_path)):
        pass
