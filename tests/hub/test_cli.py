"""The command line, through typer's runner. What runs for long stands in test_cli_watch."""

import asyncio
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from legato_hub import cli
from legato_hub.auth import DevelopmentCredentials, TokenAuthority
from legato_hub.config import DEVELOPMENT_SECRET, Config, default_config
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.telemetry import tracing

SECRET = "not for anybody's eyes, 32 bytes long"
SESSION = "01932d5e-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEGATO_CONFIG", "LEGATO_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def legato(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def production(tmp_path: Path) -> str:
    path = tmp_path / "hub.toml"
    path.write_text(
        f'[auth]\nsecret = "{SECRET}"\ndevelopment = false\n'
        "[tenants.acme.stores.at]\ncountry = 'AT'\ncurrencies = ['EUR']\nlocale = 'de-AT'\n"
    )
    return str(path)


def test_the_console_script_answers_without_loading_what_a_command_needs() -> None:
    program = (
        "import sys\nfrom legato_hub import cli\n"
        "try: cli.main()\n"
        "finally: print([n for n in ('grpc', 'msgspec', 'joserfc', 'opentelemetry', 'rich') if n in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "watch" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_it_tells_its_version() -> None:
    result = legato("--version")
    assert (result.exit_code, result.stdout) == (0, "legato 0.1.0\n")


def test_without_a_command_it_shows_its_help() -> None:
    assert "Commands:" in legato().output


def test_check_shows_everything_with_secrets_masked(tmp_path: Path) -> None:
    result = legato("check", production(tmp_path))
    assert result.exit_code == 0
    assert 'secret = "********"' in result.stdout
    assert SECRET not in result.output
    assert "[tenants.acme.stores.at]" in result.stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"valkey://:{SECRET.replace(' ', '')}@h:1/0", "valkey://********@h:1/0"),
        (f"valkey://u:{SECRET.replace(' ', '')}@h/x@h:1", "valkey://********@h:1"),
        (
            f"valkey+sentinel://h/m?password={SECRET.replace(' ', '')}&db=1",
            "valkey+sentinel://h/m?password=********&db=1",
        ),
        ("valkey+cluster://h:1", "valkey+cluster://h:1"),
        ("sqlite:data/hub.sqlite3", "sqlite:data/hub.sqlite3"),
    ],
)
def test_check_shows_no_password_of_a_url(monkeypatch: pytest.MonkeyPatch, url: str, shown: str) -> None:
    monkeypatch.setenv("LEGATO_STORAGE__URL", url)
    result = legato("check")
    assert f'url = "{shown}"' in result.stdout
    assert SECRET.replace(" ", "") not in result.output


def test_check_obeys_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGATO_SERVER__LISTEN", "127.0.0.1:9")
    assert 'listen = "127.0.0.1:9"' in legato("check").stdout


def test_check_in_a_process_of_its_own_names_file_key_and_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(f'[auth]\nsecrte = "{SECRET}"\n')
    command = [sys.executable, "-m", "legato_hub.cli", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"legato: {path}: auth.secrte is not a known key; did you mean secret?\n"


@pytest.mark.parametrize(
    "arguments", [("check", "none.toml"), ("serve", "-c", "none.toml"), ("watch", "x", "-c", "none.toml")]
)
def test_a_missing_file_is_told(arguments: tuple[str, ...]) -> None:
    result = legato(*arguments)
    assert result.exit_code == 2
    assert result.stderr == "legato: none.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "identity"),
    [
        (("operator",), Identity(IdentityKind.OPERATOR, "demo", "operator")),
        (("service", "--subject", "billing"), Identity(IdentityKind.SERVICE, "demo", "billing")),
        (("terminal",), Identity(IdentityKind.TERMINAL, "demo", "terminal", "main")),
        (("terminal", "--subject", "t4", "--store", "us"), Identity(IdentityKind.TERMINAL, "demo", "t4", "us")),
        (
            ("shopper", "--subject", SESSION),
            Identity(IdentityKind.SHOPPER, "demo", SESSION, "main"),
        ),
    ],
)
def test_a_development_token_is_believed(arguments: tuple[str, ...], identity: Identity) -> None:
    result = legato("token", *arguments, "--hours", "2")
    assert result.exit_code == 0
    now = time.time_ns() // 1_000_000
    found = TokenAuthority(DEVELOPMENT_SECRET).verify(result.stdout.strip(), now)
    assert (found.principal, found.store) == (identity.principal, identity.store)
    assert 0 < found.expires_at - now <= 2 * 3_600_000


def test_a_customer_token_is_a_credential() -> None:
    result = legato("token", "customer", "--subject", "c-1", "--name", "Zoë")
    customer = asyncio.run(DevelopmentCredentials(DEVELOPMENT_SECRET).verify("demo", result.stdout.strip()))
    assert (customer.id, customer.display_name) == ("c-1", "Zoë")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("customer",), "a customer needs --subject"),
        (("shopper",), "a shopper needs --subject"),
        (("shopper", "--subject", "me"), "a shopper needs --subject"),
        (("operator", "--tenant", "moon"), "there is no tenant 'moon'; there is demo"),
        (("terminal", "--store", "moon"), "there is no store 'moon'; there is main"),
    ],
)
def test_a_token_that_nobody_would_believe_is_refused(arguments: tuple[str, ...], problem: str) -> None:
    result = legato("token", *arguments)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stdout == ""


def test_no_tokens_outside_development(tmp_path: Path) -> None:
    config = production(tmp_path)
    for arguments in (("token", "operator"), ("watch", f"carts/{SESSION}")):
        result = legato(*arguments, "--config", config)
        assert result.exit_code == 2
        assert "auth.development is false" in result.stderr
        assert SECRET not in result.output


def test_watching_elsewhere_needs_a_token() -> None:
    result = legato("watch", f"carts/{SESSION}", "--target", "hub.example:443")
    assert result.exit_code == 2
    assert "a hub at hub.example:443 needs --token" in result.stderr


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Stands where `legato_hub.server` stands."""
    module = types.ModuleType("legato_hub.server")
    monkeypatch.setitem(sys.modules, "legato_hub.server", module)
    monkeypatch.delitem(sys.modules, "legato_hub.cli_serve", raising=False)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    return module


def test_serve_runs_the_hub_with_the_configuration(server: types.ModuleType) -> None:
    ran: list[Config] = []

    async def run(config: Config) -> None:
        ran.append(config)

    vars(server)["run"] = run
    assert legato("serve", "--listen", "127.0.0.1:7", "--storage", "valkey://h:1").exit_code == 0
    assert [(config.server.listen, config.storage.url) for config in ran] == [("127.0.0.1:7", "valkey://h:1")]
    assert ran[0].tenants == default_config().tenants


def test_serve_says_why_it_could_not(server: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(config: Config) -> None:
        raise OSError("the file is locked by another hub")

    vars(server)["run"] = run
    result = legato("serve")
    assert (result.exit_code, result.stderr) == (1, "legato: the file is locked by another hub\n")
    result = legato("serve", "--listen", "here")
    assert (result.exit_code, result.stderr) == (2, "legato: --listen must be host:port or [host]:port\n")
    result = legato("serve", "--storage", f"mysql://u:{SECRET}@h")
    assert result.exit_code == 2
    assert result.stderr.startswith("legato: --storage must be sqlite:PATH, or valkey://host:port")
    assert SECRET not in result.output
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    result = legato("serve")
    assert result.exit_code == 2
    assert "OTEL_TRACES_EXPORTER" in result.stderr
    assert not tracing.tracer.enabled


def test_serve_on_valkey_names_the_extra_it_needs(tmp_path: Path) -> None:
    without = "import sys; sys.modules['redis'] = None; from legato_hub import cli; cli.main()"
    command = [sys.executable, "-c", without, "serve", "--listen", "127.0.0.1:0", "--storage", "valkey://:hidden@h"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'legato[valkey]'" in done.stderr
    assert "hidden" not in done.stderr


def test_demo_leaves_with_the_status_of_the_play(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[bool, str, int]] = []

    def main(once: bool, backend: str, hubs: int) -> int:
        played.append((once, backend, hubs))
        return 3

    module = types.ModuleType("legato_demo.play")
    vars(module)["main"] = main
    monkeypatch.setitem(sys.modules, "legato_demo.play", module)
    assert legato("demo").exit_code == 3
    assert legato("demo", "--once", "--backend", "vendure", "--hubs", "2").exit_code == 3
    assert played == [(False, "reference", 1), (True, "vendure", 2)]


def test_demo_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "legato_demo.play", None)
    result = legato("demo")
    assert result.exit_code == 2
    assert "pip install 'legato[demo]'" in result.stderr
