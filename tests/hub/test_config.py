"""Configuration: defaults, overrides, refusals that name the key, and secrets that stay hidden."""

import copy
import pickle
import tomllib
from pathlib import Path
from typing import Any

import pytest

from legato_hub.config import Config, ConfigError, default_config, is_loopback, load_config, show
from legato_hub.secret import Secret, hidden, revealed

SECRET = "not for anybody's eyes, 32 bytes long"


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "hub.toml"
    path.write_text(text)
    return load_config(path, environ)


def fault(tmp_path: Path, text: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environ)
    return caught.value


def test_no_file_gives_a_development_hub_on_loopback() -> None:
    config = default_config()
    assert config.server.listen == "127.0.0.1:50051"
    assert config.auth.development
    assert set(config.tenants["demo"].stores) == {"main", "berlin", "us"}
    assert config.tenants["demo"].stores["us"].currencies == ("USD",)
    assert [channel.key for channel in config.channels] == ["dev-web", "dev-app"]
    assert config.routing.backend("cart") == "reference"
    assert config.backends["reference"].adapter == "legato_adapters.reference:create"


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    config = load(tmp_path, "server.grace_seconds = 2\n[logging]\nformat = 'json'\n")
    assert config.server.grace_seconds == 2.0
    assert config.server.flush_tick_ms == default_config().server.flush_tick_ms
    assert config.logging.format == "json"
    assert config.tenants == default_config().tenants


def test_tenants_of_a_file_take_the_place_of_the_development_ones_and_their_channels(tmp_path: Path) -> None:
    config = load(tmp_path, "[tenants.acme.stores.at]\ncountry='AT'\ncurrencies=['EUR']\nlocale='de-AT'\n")
    assert set(config.tenants) == {"acme"}
    assert config.channels == ()


def test_backends_are_routed_by_capability(tmp_path: Path) -> None:
    text = """
    [backends.reference]
    adapter = "legato_adapters.reference:create"
    [backends.shop]
    adapter = "grpc://127.0.0.1:7001"
    [routing]
    cart = "shop"
    """
    routing = load(tmp_path, text).routing
    assert (routing.backend("cart"), routing.backend("catalog")) == ("shop", "reference")


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("[server]\nlisen = 'x'", "server.lisen", "did you mean listen?"),
        ("[sever]\nlisten = 'x'", "sever", "did you mean server?"),
        ("[server]\nxyzzy = 1", "server.xyzzy", "there is listen, grace_seconds"),
        ("[tenants.a.store.b]\ncountry='DE'", "tenants.a.store", "did you mean stores?"),
        ("[[channels]]\nkey='k'\nkinds='web'", "channels[0].kinds", "did you mean kind?"),
        ("[backends.x]\nadaptor='a:b'", "backends.x.adaptor", "did you mean adapter?"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path, text: str, path: str, hint: str) -> None:
    error = fault(tmp_path, text)
    assert error.path == path
    assert str(error).startswith(f"{tmp_path / 'hub.toml'}: {path} is not a known key")
    assert hint in str(error)


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("[server]\nflush_tick_ms = '10'", "server.flush_tick_ms", "must be whole milliseconds, 1 to 600000"),
        ("[server]\nflush_tick_ms = true", "server.flush_tick_ms", "must be whole milliseconds, 1 to 600000"),
        ("[server]\nmax_commands_in_flight = 65", "server.max_commands_in_flight", "must be 1 to 64"),
        ("[server]\nlisten = 50051", "server.listen", "must be host:port or [host]:port"),
        ("[server]\nlisten = '::1'", "server.listen", "must be host:port or [host]:port"),
        ("[server]\nlisten = '127.0.0.1:70000'", "server.listen", "has a port above 65535"),
        ("server = 3", "server", "must be a table"),
        ("[auth]\ndevelopment = 'yes'", "auth.development", "must be true or false"),
        ("[auth]\nsecret = 5", "auth.secret", "must be text"),
        ("[auth]\nsecret = 'short'", "auth.secret", "must have at least 32 bytes"),
        (
            "[logging]\nlevel = 'warn'",
            "logging.level",
            "must be one of debug, info, warning, error; did you mean warning?",
        ),
        (
            "[storage]\nurl = 'mongodb:x'",
            "storage.url",
            "must be sqlite:PATH, or valkey://host:port, valkey+sentinel://host:port,…/master or valkey+cluster://host:port",
        ),
        ("[tenants]", "tenants", "must name at least one tenant"),
        ("[tenants.a.stores]", "tenants.a.stores", "must be a table of at least one store"),
        ("[tenants.'A b'.stores.x]", "tenants.A b", "has a name that must be 1 to 32 of a-z, 0-9, - and _"),
        ("[tenants.a.stores.b]\ncountry='DE'\nlocale='de'", "tenants.a.stores.b.currencies", "is required"),
        (
            "[tenants.a.stores.b]\ncountry='DE'\nlocale='de'\ncurrencies=['EUR', 'XXX']",
            "tenants.a.stores.b.currencies",
            "has XXX, which ISO 4217 does not know",
        ),
        (
            "[tenants.a.stores.b]\nlocale='de'\ncurrencies=['EUR']\ncountry=\"DE\\n\"",
            "tenants.a.stores.b.country",
            "must be an ISO 3166-1 alpha-2 code such as DE",
        ),
        ("channels = {}", "channels", "must be an array of tables"),
        (
            "[[channels]]\nkey='k'\nkind='web'\ntenant='demo'\nstore='moon'",
            "channels[0].store",
            "names no store of the tenant; there is berlin, main, us",
        ),
        (
            "[[channels]]\nkey='k'\nkind='web'\ntenant='moon'\nstore='main'",
            "channels[0].tenant",
            "names no tenant; there is demo",
        ),
        (
            "[[channels]]\nkey='k'\nkind='web'\ntenant='demo'\nstore='main'\n" * 2,
            "channels[1].key",
            "is the key of an earlier channel",
        ),
        (
            "[backends.x]\nadapter='grpc://me:pw@host:1'",
            "backends.x.adapter",
            "must be module:factory or grpc://host:port",
        ),
        ("[routing]\ncart='shop'", "routing.cart", "names no backend; there is reference"),
        ("[routing]\nsearch='index'", "routing.search", "names no backend; there is reference"),
        (
            "[backends.reference]\nadapter='a:b'\n[backends.reference.tenants.acme]\ntoken='t'",
            "backends.reference.tenants.acme",
            "names no tenant; there is demo",
        ),
        (
            "[backends.reference]\nadapter='grpc://h:1'\n[backends.reference.tenants.demo]\ntoken='t'",
            "backends.reference.tenants",
            "must be empty: an adapter behind an address has its tenants' options on its side",
        ),
        ("[backends.x]\nadapter='a:b'", "routing.default", "names no backend; there is x"),
    ],
)
def test_a_bad_value_names_its_key(tmp_path: Path, text: str, path: str, problem: str) -> None:
    error = fault(tmp_path, text)
    assert (error.path, error.problem) == (path, problem)
    assert error.source == str(tmp_path / "hub.toml")


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml", {})
    assert "is not TOML" in str(fault(tmp_path, "[server"))
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe4'")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "latin.toml", {})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[server]\nlisten = '127.0.0.1:1'\n",
        LEGATO_SERVER__LISTEN="127.0.0.1:2",
        LEGATO_SERVER__GRACE_SECONDS="7",
        LEGATO_AUTH__SECRET="1" * 32,
        LEGATO_AUTH__DEVELOPMENT="true",
        LEGATO_TENANTS__DEMO__STORES__MAIN__CURRENCIES='["EUR", "CHF"]',
        LEGATO_BACKENDS__REFERENCE__OPTIONS__URL="http://127.0.0.1:3000/x",
        LEGATO_BACKENDS__REFERENCE__OPTIONS__RETRIES="3",
        LEGATO_LOGGING__LEVEL="debug",
    )
    assert config.server.listen == "127.0.0.1:2"
    assert config.server.grace_seconds == 7.0
    assert config.auth.secret == Secret("1" * 32)
    assert config.tenants["demo"].stores["main"].currencies == ("EUR", "CHF")
    assert config.tenants["demo"].stores["main"].country == "DE"
    added = {"url": "http://127.0.0.1:3000/x", "retries": 3}
    assert config.backends["reference"].options == default_config().backends["reference"].options | added
    assert config.logging.level == "debug"


def test_variables_without_a_section_or_of_others_are_left_alone() -> None:
    assert load_config(None, {"LEGATO_TOKEN": "x", "LEGATOR__X": "1", "PATH": "/bin"}) == default_config()


@pytest.mark.parametrize(
    ("variable", "value", "path", "problem"),
    [
        ("LEGATO_SERVER__LISEN", "x", "server.lisen", "is not a known key; did you mean listen?"),
        ("LEGATO_SERVR__LISTEN", "x", "servr", "is not a known key; did you mean server?"),
        (
            "LEGATO_SERVER__FLUSH_TICK_MS",
            "fast",
            "server.flush_tick_ms",
            "must be whole milliseconds, 1 to 600000, written as in TOML",
        ),
        ("LEGATO_SERVER__FLUSH_TICK_MS", "0", "server.flush_tick_ms", "must be whole milliseconds, 1 to 600000"),
        ("LEGATO_SERVER__LISTEN__PORT", "1", "server.listen", "is not a table"),
        ("LEGATO_CHANNELS__0__KEY", "k", "channels", "is not a table"),
        ("LEGATO_ROUTING__CART", "shop", "routing.cart", "names no backend; there is reference"),
    ],
)
def test_a_bad_override_names_the_variable(variable: str, value: str, path: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {variable: value})
    assert str(caught.value) == f"environment variable {variable}: {path} {problem}"


def test_what_an_override_leaves_out_is_not_blamed_on_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"LEGATO_BACKENDS__NEW__TIMEOUT_MS": "5"})
    assert str(caught.value) == "configuration: backends.new.adapter is required"


def test_production_needs_its_own_secret_and_tenants(tmp_path: Path) -> None:
    tenants = "[tenants.a.stores.b]\ncountry='DE'\ncurrencies=['EUR']\nlocale='de-DE'\n"
    assert fault(tmp_path, tenants, LEGATO_AUTH__DEVELOPMENT="false").path == "auth.secret"
    assert fault(tmp_path, f'[auth]\nsecret="{SECRET}"\ndevelopment=false').path == "tenants"
    assert not load(tmp_path, f'{tenants}[auth]\nsecret="{SECRET}"\ndevelopment=false').auth.development


def test_the_development_secret_stays_on_loopback(tmp_path: Path) -> None:
    assert fault(tmp_path, "[server]\nlisten='0.0.0.0:1'").path == "auth.secret"
    assert load(tmp_path, f"[server]\nlisten='0.0.0.0:1'\n[auth]\nsecret=\"{SECRET}\"").server.listen == "0.0.0.0:1"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:0"])
def test_loopback_addresses(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "hub.example:1", "10.0.0.1:1"])
def test_addresses_that_others_reach(address: str) -> None:
    assert not is_loopback(address)


def secretive(tmp_path: Path) -> Config:
    text = f"""
    [auth]
    secret = "{SECRET}"
    [backends.reference]
    adapter = "a:b"
    options = {{ url = "http://x", api_key = "{SECRET}", nested = {{ clientSecret = "{SECRET}" }}, tokens = 3 }}
    """
    return load(tmp_path, text)


def test_secrets_are_masked_wherever_a_configuration_is_shown(tmp_path: Path) -> None:
    config = secretive(tmp_path)
    for text in (show(config), repr(config), str(config), f"{config.auth.secret}", f"{config.auth!r}"):
        assert SECRET not in text
        assert "********" in text
    assert "http://x" in show(config)


def test_secrets_reach_the_adapter_alone(tmp_path: Path) -> None:
    backend = secretive(tmp_path).backends["reference"]
    assert backend.plain_options() == {
        "url": "http://x",
        "api_key": SECRET,
        "nested": {"clientSecret": SECRET},
        "tokens": 3,
    }
    assert backend.options["api_key"] == Secret(SECRET)


def test_tenants_options_are_kept_apart_and_masked(tmp_path: Path) -> None:
    text = f"""
    [tenants.acme.stores.main]
    country = "DE"
    currencies = ["EUR"]
    locale = "de-DE"
    [backends.reference]
    adapter = "a:b"
    options = {{ url = "http://x" }}
    [backends.reference.tenants.acme]
    url = "http://y"
    api_key = "{SECRET}"
    """
    config = load(tmp_path, text, LEGATO_BACKENDS__REFERENCE__TENANTS__ACME__TIMEOUT="7")
    backend = config.backends["reference"]
    assert backend.plain_tenants() == {"acme": {"url": "http://y", "api_key": SECRET, "timeout": 7}}
    assert backend.plain_options() == {"url": "http://x"}
    assert SECRET not in show(config)
    assert tomllib.loads(show(config))["backends"]["reference"]["tenants"]["acme"]["url"] == "http://y"


def test_errors_never_quote_a_value(tmp_path: Path) -> None:
    for text in (f'[auth]\nsecret = ["{SECRET}"]', f'[storage]\nurl = "{SECRET}"', f'[logging]\nlevel = "{SECRET}"'):
        assert SECRET not in str(fault(tmp_path, text))
    assert SECRET not in str(fault(tmp_path, "", LEGATO_SERVER__GRACE_SECONDS=SECRET))


def test_what_is_shown_reads_as_the_same_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, "[backends.reference]\nadapter = 'a:b'\noptions = {\"a b\" = [1, {c = true}], d = 'ä\"'}\n")
    shown = tmp_path / "shown.toml"
    shown.write_text(show(config), "utf-8")
    again = load_config(shown, {"LEGATO_AUTH__SECRET": SECRET})
    assert again.backends == config.backends
    assert (again.tenants, again.channels, again.server) == (config.tenants, config.channels, config.server)
    assert tomllib.loads(show(config))["auth"]["secret"] == "********"


def test_a_secret_compares_and_hashes_but_is_not_written() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a").reveal() == "a"
    with pytest.raises(TypeError, match="not written"):
        pickle.dumps(Secret("a"))


@pytest.mark.parametrize("value", [1, "x", {"password": "p", "list": [{"token": "t"}]}, [1, "a"], None])
def test_hiding_and_revealing_are_inverse(value: Any) -> None:
    before = copy.deepcopy(value)
    assert revealed(hidden(value)) == before
    assert value == before
