import sys
import types
from collections.abc import Iterator
from typing import Any

import grpc.aio
import pytest

from legato.hosting import Adapter, AdapterLoadError, load_adapter


class Small:
    def __init__(self, colour: str) -> None:
        if colour == "none":
            raise ValueError("a colour is needed")
        self.colour = colour

    def add_to(self, server: grpc.aio.Server) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def shelf() -> Iterator[str]:
    """An importable module with factories."""
    module = types.ModuleType("legato_test_shelf")
    vars(module).update(create=Small, broken=object, number=5)
    sys.modules[module.__name__] = module
    yield module.__name__
    del sys.modules[module.__name__]


def test_options_reach_the_factory(shelf: str) -> None:
    adapter = load_adapter(f"{shelf}:create", {"colour": "red"})
    assert isinstance(adapter, Adapter)
    assert isinstance(adapter, Small)
    assert adapter.colour == "red"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_colon", {}, "an adapter is named 'module:factory', not 'no_colon'"),
        (":create", {}, "an adapter is named 'module:factory', not ':create'"),
        ("module:", {}, "an adapter is named 'module:factory', not 'module:'"),
        ("legato_test_nowhere:create", {}, "there is no module 'legato_test_nowhere'"),
        ("legato.nowhere.at_all:create", {}, "there is no module 'legato.nowhere'"),
        ("legato_test_shelf:missing", {}, "module 'legato_test_shelf' has no 'missing'"),
        ("legato_test_shelf:number", {}, "'number' is no factory but int"),
        ("legato_test_shelf:create", {}, r"missing a required argument: 'colour'; its options are \(colour: str\)"),
        ("legato_test_shelf:create", {"colour": "red", "size": 1}, "unexpected keyword argument 'size'"),
        ("legato_test_shelf:create", {"colour": "none"}, "refuses its options: a colour is needed"),
        ("legato_test_shelf:broken", {}, "the factory returned object, no adapter"),
    ],
)
@pytest.mark.usefixtures("shelf")
def test_mistakes_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AdapterLoadError, match=message):
        load_adapter(name, options)


def test_a_module_that_the_adapter_misses_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "legato_test_needy.py").write_text("import legato_test_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AdapterLoadError, match="needs 'legato_test_not_installed', which is not installed"):
        load_adapter("legato_test_needy:create", {})
