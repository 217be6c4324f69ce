"""What a hub can be told, with the defaults that make a development hub run with no file at all.

A file is TOML. `LEGATO_SECTION__KEY=value` in the environment overrides it; `config_reader` has the rules. Tenants,
channels and backends that a file names take the place of the development ones altogether.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from legato_hub.config_reader import ConfigError, Reader, parse_file
from legato_hub.config_writer import write
from legato_hub.core.currencies import CURRENCIES
from legato_hub.secret import Secret, revealed

__all__ = ["Config", "ConfigError", "Secret", "default_config", "is_loopback", "load_config", "show"]

DEVELOPMENT_SECRET = Secret("a development secret that everybody knows")
SECRET_LENGTH = 32
"""Shortest secret accepted, in bytes: the strength of HS256 (RFC 7518, section 3.2)."""

Name = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*\Z", max_length=32, description="1 to 32 of a-z, 0-9, - and _"),
]
Address = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}\Z", description="host:port or [host]:port")
]
OptionalAddress = Annotated[
    str,
    Meta(pattern=r"^(|([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})\Z", description="host:port, [host]:port or empty"),
]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000, description="whole milliseconds, 1 to 600000")]
Seconds = Annotated[float, Meta(gt=0, le=86_400, description="seconds, above 0 and at most 86400")]
Days = Annotated[int, Meta(ge=1, le=3_650, description="whole days, 1 to 3650")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z", description="an ISO 3166-1 alpha-2 code such as DE")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="an ISO 4217 code such as EUR")]
Currencies = Annotated[tuple[Currency, ...], Meta(min_length=1, description="a list of ISO 4217 codes, not empty")]
Locale = Annotated[
    str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", description="a BCP 47 language tag such as de-DE")
]
# No dots, so that a key can never be mistaken for a signed token.
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z", description="1 to 64 of A-Z, a-z, 0-9, - and _")]
Adapter = Annotated[
    str,
    Meta(
        pattern=r"^(grpc://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}|[A-Za-z_][\w.]*:[A-Za-z_]\w*)\Z",
        description="module:factory or grpc://host:port",
    ),
]
StorageUrl = Annotated[
    str,
    Meta(
        pattern=r"^(sqlite:.+|(valkey|redis)s?(\+sentinel|\+cluster)?://.+)\Z",
        description="sqlite:PATH, or valkey://host:port, valkey+sentinel://host:port,…/master or"
        " valkey+cluster://host:port",
    ),
]


class ServerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[server]: the listener, and what one stream may ask of it."""

    listen: Address = "127.0.0.1:50051"
    grace_seconds: Annotated[float, Meta(ge=0, le=3_600, description="seconds, 0 to 3600")] = 5.0
    """From the drain message to the end of the streams."""
    flush_tick_ms: Milliseconds = 10
    """A busy stream gets at most one message in this time."""
    max_message_bytes: Annotated[int, Meta(ge=1_024, le=16_777_216, description="1024 to 16777216 bytes")] = 262_144
    max_commands_in_flight: Annotated[int, Meta(ge=1, le=64, description="1 to 64")] = 64
    """Per stream; bounded by the results that storage keeps."""
    max_subscriptions: Annotated[int, Meta(ge=1, le=10_000, description="1 to 10000")] = 256
    max_unacknowledged: Annotated[int, Meta(ge=1, le=10_000, description="1 to 10000")] = 64
    keepalive_ms: Milliseconds = 10_000
    keepalive_timeout_ms: Milliseconds = 5_000
    progress_seconds: Seconds = 15.0
    """A quiet subscription hears this often that it is up to date."""
    presence_seconds: Seconds = 10.0
    """Hubs that share a storage tell each other this often who is present; one that is silent three times as long is
    taken for dead."""
    refresh_seconds: Seconds = 30.0
    """A watched cart is read from its backend this often."""
    slot_seconds: Seconds = 5.0
    """After the end of a command's call to the backend, before another hub may resolve what became of it."""


class StorageConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[storage]: where the hub keeps what it synchronises, and for how long."""

    url: StorageUrl = "sqlite:legato-data/hub.sqlite3"
    closed_days: Days = 30
    """Closed carts become tombstones after this."""
    idle_days: Days = 90
    """So do carts and sessions that nobody changed for this long."""


class AuthConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[auth]: who is believed."""

    secret: Secret = DEVELOPMENT_SECRET
    development: bool = True
    """Development tokens and credentials are issued and accepted."""
    shopper_token_days: Days = 30


class StoreConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[tenants.NAME.stores.NAME]: a selling entity and its market."""

    country: Country
    currencies: Currencies
    """The first is the default."""
    locale: Locale


class TenantConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[tenants.NAME]."""

    stores: Annotated[dict[Name, StoreConfig], Meta(min_length=1, description="a table of at least one store")]


class ChannelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[channels]]: a channel's publishable key. It stands in web pages and apps and is no secret."""

    key: Key
    kind: Name
    tenant: Name
    store: Name


class BackendConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[backends.NAME]: an adapter, in this process or behind an address."""

    adapter: Adapter
    options: dict[str, Any] = field(default_factory=dict)
    """For the factory. A text whose key ends in secret, password, token, key or credential is held as a Secret."""
    tenants: dict[Name, dict[str, Any]] = field(default_factory=dict)
    """[backends.NAME.tenants.TENANT]: options of one tenant's own, above the common ones, for instance credentials.
    Where there are any, the backend serves these tenants only. An adapter behind an address has them on its side."""
    timeout_ms: Milliseconds = 5_000

    def plain_options(self) -> dict[str, Any]:
        """The options with their secrets revealed, for the adapter's factory and nobody else."""
        return {name: revealed(value) for name, value in self.options.items()}

    def plain_tenants(self) -> dict[str, dict[str, Any]]:
        """The same for the tenants' own options."""
        return {tenant: revealed(options) for tenant, options in self.tenants.items()}


class RoutingConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[routing]: which backend serves which capability; empty takes the default."""

    default: Name = "reference"
    catalog: str = ""
    search: str = ""
    """Empty takes the catalog's; so does `pricing`."""
    pricing: str = ""
    inventory: str = ""
    cart: str = ""

    def backend(self, capability: Literal["catalog", "search", "pricing", "inventory", "cart"]) -> str:
        """Name of the backend that serves a capability."""
        chosen: str = getattr(self, capability)
        if not chosen and capability in {"search", "pricing"}:
            chosen = self.catalog
        return chosen or self.default


class LoggingConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[logging]."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "text"


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[metrics]: Prometheus' text at `/metrics`; OTLP is asked for by the standard OTEL_ variables."""

    listen: OptionalAddress = ""
    """Worker i of several listens on the port + i. Without a password: loopback, or a network of your own."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything."""

    server: ServerConfig = ServerConfig()
    storage: StorageConfig = StorageConfig()
    auth: AuthConfig = AuthConfig()
    tenants: dict[Name, TenantConfig]
    channels: tuple[ChannelConfig, ...] = ()
    backends: dict[Name, BackendConfig]
    routing: RoutingConfig = RoutingConfig()
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()


def _development() -> dict[str, Any]:
    return {
        "tenants": {
            "demo": {
                "stores": {
                    "main": {"country": "DE", "currencies": ["EUR"], "locale": "de-DE"},
                    "berlin": {"country": "DE", "currencies": ["EUR"], "locale": "de-DE"},
                    "us": {"country": "US", "currencies": ["USD"], "locale": "en-US"},
                }
            }
        },
        "channels": [
            {"key": "dev-web", "kind": "web", "tenant": "demo", "store": "main"},
            {"key": "dev-app", "kind": "app", "tenant": "demo", "store": "main"},
        ],
        "backends": {
            "reference": {
                "adapter": "legato_adapters.reference:create",
                "options": {"path": "legato-data/reference.sqlite3"},
            }
        },
    }


def default_config() -> Config:
    """The development hub: loopback, embedded storage and backend, tenant "demo" with three stores."""
    return load_config(None, {})


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read a file, or none, and the overrides of the environment. Raise ConfigError for the first fault found."""
    data = parse_file(path) if path else {}
    defaults = _development()
    if "tenants" in data:
        # The development channels belong to the development tenant.
        del defaults["channels"]
    reader = Reader(str(path) if path else "configuration", {**defaults, **data})
    reader.override(Config, environ)
    config = reader.read(Config)
    for where, what in _faults(config, tenants_given="tenants" in data):
        raise reader.error(where, what)
    return config


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `host:port`."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _faults(config: Config, *, tenants_given: bool) -> Iterator[tuple[str, str]]:
    """What each value on its own does not show: (path, what is wrong)."""
    if int(config.server.listen.rpartition(":")[2]) > 65_535:
        yield "server.listen", "has a port above 65535"
    if config.metrics.listen:
        port = int(config.metrics.listen.rpartition(":")[2])
        if port > 65_535:
            yield "metrics.listen", "has a port above 65535"
        if port and port == int(config.server.listen.rpartition(":")[2]):
            yield "metrics.listen", "has the port of server.listen"
    yield from _secret_faults(config)
    if not config.tenants:
        yield "tenants", "must name at least one tenant"
    if not config.auth.development and not tenants_given:
        yield "tenants", "is required outside development"
    for tenant_name, tenant in config.tenants.items():
        for name, store in tenant.stores.items():
            for code in store.currencies:
                if code not in CURRENCIES:
                    path = f"tenants.{tenant_name}.stores.{name}.currencies"
                    yield path, f"has {code}, which ISO 4217 does not know"
    yield from _channel_faults(config)
    yield from _backend_faults(config)
    for key in RoutingConfig.__struct_fields__:
        backend = getattr(config.routing, key)
        if backend and backend not in config.backends:
            yield f"routing.{key}", f"names no backend; there is {_names(config.backends)}"


def _secret_faults(config: Config) -> Iterator[tuple[str, str]]:
    secret = config.auth.secret
    if len(secret.reveal().encode()) < SECRET_LENGTH:
        yield "auth.secret", f"must have at least {SECRET_LENGTH} bytes"
    if secret == DEVELOPMENT_SECRET and not (config.auth.development and is_loopback(config.server.listen)):
        yield "auth.secret", "is required outside development and wherever the hub listens beyond loopback"


def _backend_faults(config: Config) -> Iterator[tuple[str, str]]:
    for name, backend in config.backends.items():
        path = f"backends.{name}.tenants"
        if backend.tenants and backend.adapter.startswith("grpc://"):
            yield path, "must be empty: an adapter behind an address has its tenants' options on its side"
        for tenant in backend.tenants:
            if tenant not in config.tenants:
                yield f"{path}.{tenant}", f"names no tenant; there is {_names(config.tenants)}"


def _channel_faults(config: Config) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for index, channel in enumerate(config.channels):
        tenant = config.tenants.get(channel.tenant)
        if channel.key in seen:
            yield f"channels[{index}].key", "is the key of an earlier channel"
        if tenant is None:
            yield f"channels[{index}].tenant", f"names no tenant; there is {_names(config.tenants)}"
        elif channel.store not in tenant.stores:
            yield f"channels[{index}].store", f"names no store of the tenant; there is {_names(tenant.stores)}"
        seen.add(channel.key)


def _names(table: Mapping[str, object]) -> str:
    return ", ".join(sorted(table)) or "none"


def show(config: Config) -> str:
    """The whole configuration as TOML, defaults included, secrets masked."""
    return write(config)
