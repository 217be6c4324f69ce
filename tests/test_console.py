"""The console script `legato`, with and without a hub installed."""

import subprocess
import sys

import pytest

WITHOUT_HUB = (
    "typer",
    "msgspec",
    "joserfc",
    "uvloop",
    "grpc_health",
    "grpc_status",
    "aiohttp",
    "pytest",
    "opentelemetry",
)
"""What `pip install legato` does not bring."""


def legato(*arguments: str, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the script, as if these modules were not installed."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        f"sys.argv = {['legato', *arguments]!r}\n"
        "from legato.console import main\n"
        "sys.exit(main())\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", [(), WITHOUT_HUB], ids=["with a hub", "without"])
def test_an_adapter_is_tried(missing: tuple[str, ...]) -> None:
    done = legato("conformance", "legato_adapters.reference:create", "--only", "identity.", missing=missing)
    assert done.returncode == 0, done.stderr
    assert "passed   identity.info" in done.stdout


def test_the_hubs_commands_go_to_the_hub() -> None:
    done = legato("--help")
    assert done.returncode == 0
    assert "serve" in done.stdout
    assert "legato conformance --help" in done.stdout
    assert legato("serve", "--colour").returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--help"], ["serve"], ["nonsense"]], ids=" ".join)
def test_without_a_hub_it_says_what_there_is(arguments: list[str]) -> None:
    done = legato(*arguments, missing=WITHOUT_HUB)
    assert done.returncode == 2
    assert "without a hub there is: conformance" in done.stderr
    assert "pip install 'legato[hub]'" in done.stderr
