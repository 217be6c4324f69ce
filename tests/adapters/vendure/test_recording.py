"""The recorded answers are what the server still answers."""

from collections.abc import Iterator
from typing import Any

from legato_adapters.vendure.dev_server import VendureServer
from tests.adapters.vendure.recording import FOLDER, record, recorded

# Different at each recording.
_CHANGING = {"id", "code", "createdAt"}


def facts(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path, without those that differ each time."""
    if isinstance(data, dict):
        for name, value in data.items():
            if name not in _CHANGING or path.endswith("availableCountries[]"):
                yield from facts(value, f"{path}.{name}")
            else:
                yield f"{path}.{name}", type(value)
    elif isinstance(data, list):
        for value in data:
            yield from facts(value, f"{path}[]")
    else:
        yield path, data


async def test_the_recording_is_up_to_date(vendure_server: VendureServer) -> None:
    answers = await record(vendure_server.shop_api)
    assert {path.stem for path in FOLDER.glob("*.json")} == answers.keys()
    for name, data in answers.items():
        assert sorted(facts(data), key=str) == sorted(facts(recorded(name)), key=str), name
