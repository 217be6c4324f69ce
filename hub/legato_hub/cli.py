"""The hub's commands: `legato serve | check | token | watch | doctor | erase | backup | restore | new-epoch | demo`.

Everything but the arguments' shape is imported by the command that needs it, so that `legato --help` answers at once.
"""

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from legato_hub.config import Config

USAGE = 2
"""Exit status for what the caller has to correct: arguments, configuration, environment."""

OVERRIDES = {
    "--listen": ("server.listen", "LEGATO_SERVER__LISTEN"),
    "--storage": ("storage.url", "LEGATO_STORAGE__URL"),
}
"""Options of `serve` that stand for a key of the configuration, and the variable that does the same."""

app = typer.Typer(
    help="Legato: one cart and one session on every sales channel.",
    epilog="For whoever writes an adapter, and without a hub: legato conformance --help",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="LEGATO_CONFIG", help="TOML file; without one a development hub's defaults."),
]


class TokenKind(StrEnum):
    """What a token is for."""

    SHOPPER = "shopper"
    TERMINAL = "terminal"
    SERVICE = "service"
    OPERATOR = "operator"
    CUSTOMER = "customer"


def main() -> None:
    """The console script."""
    app()


def refuse(message: str, status: int = USAGE) -> NoReturn:
    """Say what is wrong on standard error and leave."""
    typer.echo(f"legato: {message}", err=True)
    raise typer.Exit(status)


def read_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> "Config":
    """The configuration of file and environment, or leave with what is wrong."""
    from legato_hub.config import ConfigError, load_config

    try:
        return load_config(path, environ)
    except ConfigError as error:
        for option, (key, variable) in OVERRIDES.items():
            if error.path == key and environ.get(variable) != os.environ.get(variable):
                refuse(f"{option} {error.problem}")
        refuse(str(error))


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"legato {version('legato')}")
        raise typer.Exit


@app.callback()
def _legato(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: ConfigOption = None,
    listen: Annotated[str | None, typer.Option(help="host:port, instead of the configured one.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="sqlite:PATH, or valkey:// for hubs that share it, instead of the configured one. "
            "Arguments are seen by everybody on the machine: LEGATO_STORAGE__URL is the place for a password.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that share the port; more than one need Valkey.")
    ] = 1,
) -> None:
    """Run a hub until SIGTERM or Ctrl-C.

    LEGATO_SECTION__KEY=value in the environment overrides the file; the standard OTEL_ variables turn tracing on.
    """
    given = {"--listen": listen, "--storage": storage}
    environ = {**os.environ, **{OVERRIDES[name][1]: text for name, text in given.items() if text is not None}}
    settings = read_config(config, environ)
    if workers > 1:
        from legato_hub.workers import supervise

        supervise(settings, workers, config, environ)
        return
    from legato_hub.cli_serve import serve

    serve(settings)


@app.command()
def check(
    config: Annotated[Path | None, typer.Argument(help="TOML file; without one the defaults.")] = None,
) -> None:
    """Show the configuration that `serve` would use, secrets masked; status 2 if it cannot be used."""
    from legato_hub.config import show

    typer.echo(show(read_config(config)), nl=False)


@app.command()
def token(
    kind: Annotated[TokenKind, typer.Argument(help="What it is for; `customer` gives a credential for SignIn.")],
    subject: Annotated[
        str | None,
        typer.Option(
            help="Session id of a shopper, id of a terminal or customer, name of a service or operator; "
            "only a shopper's and a customer's must be given."
        ),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Without it the first of the configuration.")] = None,
    store: Annotated[str | None, typer.Option(help="Without it a shopper's and a terminal's is the first.")] = None,
    name: Annotated[str, typer.Option(help="Display name of a customer.")] = "",
    hours: Annotated[int, typer.Option(min=1, max=24 * 365, help="How long it lasts.")] = 24,
    config: ConfigOption = None,
) -> None:
    """Print a development token, signed with the configured secret. Refused unless auth.development is true."""
    from legato_hub.cli_token import TokenRequest, mint

    request = TokenRequest(kind.value, subject, tenant, store, name, hours)
    typer.echo(mint(read_config(config), request))


@app.command()
def watch(
    resource: Annotated[str, typer.Argument(help="carts/ID, sessions/ID or sessions/ID/active_cart.")],
    target: Annotated[
        str | None, typer.Option(help="host:port of the hub; without it the configured listener.")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", "--channel-key", envvar="LEGATO_TOKEN", help="Bearer token or channel key.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose operator to be when no token is given.")] = None,
    config: ConfigOption = None,
) -> None:
    """Show a cart or session live: one block a change, until Ctrl-C or the end of the hub.

    Without a token, and with a hub on this machine (loopback) in development, it makes itself an operator's token with
    the configured secret, which is the well-known development secret unless a configuration says otherwise.
    """
    from legato_hub.cli_token import operator_token
    from legato_hub.cli_watch import watch

    settings = read_config(config)
    where = target or settings.server.listen
    raise typer.Exit(watch(where, resource, token or operator_token(settings, where, tenant)))


@app.command()
def doctor(
    target: Annotated[
        str | None, typer.Option(help="host:port of the hub; without it the configured listener.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="LEGATO_TOKEN", help="Bearer token to try a stream with.")] = None,
    timeout: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds that each check may take.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="A list of findings instead of text.")] = False,
    config: ConfigOption = None,
) -> None:
    """Look at a running hub, its storage and its backends: what is wrong, and what to do. Status 1 if anything failed.

    Give it the hub's own configuration. Without a token, and with a development hub on this machine, it makes itself an
    operator's token. An adapter that runs in the hub's process is started a second time, in this one.
    """
    from legato_hub.cli_doctor import doctor
    from legato_hub.cli_token import operator_token
    from legato_hub.config import is_loopback

    settings = read_config(config)
    where = target or settings.server.listen
    if token is None and settings.auth.development and is_loopback(where):
        token = operator_token(settings, where, None)
    raise typer.Exit(doctor(settings, where, token or "", timeout_s=timeout, as_json=as_json))


@app.command()
def erase(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    target: Annotated[
        str | None, typer.Option(help="host:port of any hub; without it the configured listener.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="LEGATO_TOKEN", help="An operator's token.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose customer it is, when no token is given.")] = None,
    config: ConfigOption = None,
) -> None:
    """Erase a customer: sessions, carts, their logs and results, in the storage and on every hub.

    A running hub does it. The tenant is that of the token; without one, and in development, an operator's token is made
    as for `watch`. What backends, backups and the files of a Valkey server keep is not touched: see docs/storage.md.
    """
    from legato_hub.cli_erase import erase
    from legato_hub.cli_token import operator_token

    settings = read_config(config)
    where = target or settings.server.listen
    erase(where, customer, token or operator_token(settings, where, tenant))


StorageOption = Annotated[str | None, typer.Option("--storage", help="URL; without it the configured storage's.")]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
    storage: StorageOption = None,
    config: ConfigOption = None,
) -> None:
    """Back the SQLite storage up, also under a running hub. Valkey makes its own backups: see docs/storage.md."""
    from legato_hub.cli_storage import backup

    backup(storage or read_config(config).storage.url, file)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `legato backup` has made.")],
    storage: StorageOption = None,
    config: ConfigOption = None,
) -> None:
    """Make the SQLite storage from a backup, under a new epoch, with the hub stopped and the former file moved away."""
    from legato_hub.cli_storage import restore

    restore(storage or read_config(config).storage.url, file)


@app.command()
def new_epoch(storage: StorageOption = None, config: ConfigOption = None) -> None:
    """Say that the storage's data is not what it was: every client takes a snapshot, no old cursor is believed.

    On Valkey running hubs see it within seconds; a hub on SQLite must be stopped.
    """
    from legato_hub.cli_storage import new_epoch

    new_epoch(storage or read_config(config).storage.url)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Play the script and leave; status 0 only if all agree.")
    ] = False,
    backend: Annotated[str, typer.Option(help="reference, or vendure for a real shop.")] = "reference",
    hubs: Annotated[int, typer.Option(min=1, max=9, help="More than one share a Valkey that the demo starts.")] = 1,
) -> None:
    """Run a hub, or several, and three live channels side by side."""
    from importlib import import_module

    try:
        main = import_module("legato_demo.play").main
    except ModuleNotFoundError as error:
        refuse(f"the demo needs the extra `demo`: pip install 'legato[demo]' ({error})")
    raise typer.Exit(main(once, backend, hubs))


if __name__ == "__main__":
    sys.exit(app())
