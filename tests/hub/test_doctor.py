"""`legato doctor` against real things, sound and broken."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from grpc_health.v1 import health_pb2
from typer.testing import CliRunner

from legato_hub import cli
from legato_hub.auth import TokenAuthority
from legato_hub.cli_doctor import examine
from legato_hub.clock import now_ms
from legato_hub.config import BackendConfig, Config, MetricsConfig, Secret, StorageConfig
from legato_hub.core.identity import Identity, IdentityKind
from legato_hub.doctor import hub as hub_checks
from legato_hub.doctor import metrics as metrics_checks
from legato_hub.doctor.report import Finding, Verdict, run
from legato_hub.doctor.storage import server_findings
from legato_hub.telemetry.exposition import exposed
from legato_hub.telemetry.metrics import registry
from tests.hub.sample_backend import create, served
from tests.storage.valkey_servers import client, free_port, own_server, stopped
from tests.support import wayward
from tests.support.adapter_process import running_adapter
from tests.support.hub import RunningHub, hub_config, running_hub
from tests.support.hub_process import hub_process

TIMEOUT_S = 3.0


async def examined(hub: RunningHub, config: Config | None = None, token: str | None = None) -> dict[str, Finding]:
    """The findings by check."""
    token = hub.token(IdentityKind.OPERATOR) if token is None else token
    return by_check(await examine(config or hub.config, hub.target, token, TIMEOUT_S))


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def dead(config: Config) -> tuple[Config, str]:
    return config, f"127.0.0.1:{free_port()}"


def on_valkey(config: Config, port: int) -> Config:
    return msgspec.structs.replace(config, storage=StorageConfig(url=f"valkey://127.0.0.1:{port}"))


async def test_a_sound_hub_gets_nothing_but_ok(tmp_path: Path) -> None:
    with own_server() as server, exposed(registry, "127.0.0.1:0") as port:
        config = on_valkey(hub_config(tmp_path), server.port)
        config = msgspec.structs.replace(config, metrics=MetricsConfig(listen=f"127.0.0.1:{port}"))
        async with running_hub(config) as hub:
            found = await examined(hub)
    checks = ["connect", "health", "token", "clock", "stream", "storage", "slots", "eviction", "persistence"]
    checks += ["replication", "memory", "backend reference", "version", "event loop", "outboxes", "epochs"]
    assert list(found) == checks
    # What the machine and other tests do to these is not this one's.
    theirs = {"replication", "memory", "event loop", "epochs", "stream"}
    assert {c for c, f in found.items() if f.verdict is not Verdict.OK} <= theirs, found
    assert Verdict.FAILED not in {f.verdict for f in found.values()}
    assert hub.hub._storage.epoch in found["storage"].seen
    assert "contract 1.1" in found["backend reference"].seen
    assert found["replication"].seen.endswith("no replica")


async def test_a_dead_port(tmp_path: Path) -> None:
    findings = by_check(await examine(*dead(hub_config(tmp_path)), "x", TIMEOUT_S))
    assert findings["connect"].verdict is Verdict.FAILED
    assert "start the hub" in findings["connect"].remedy
    assert findings["health, token, clock, stream"].verdict is Verdict.SKIPPED
    assert findings["backend reference"].verdict is Verdict.OK


async def test_a_stopped_hub_takes_connections_and_does_not_answer(tmp_path: Path) -> None:
    async with hub_process(tmp_path) as (process, _):
        os.kill(process.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.process.pid, os.WSTOPPED | os.WNOWAIT)  # noqa: ASYNC222  # at once, or soon
        config = hub_config(tmp_path / "elsewhere")
        found = by_check(await examine(config, f"127.0.0.1:{process.port}", "x", TIMEOUT_S))
        os.kill(process.process.pid, signal.SIGCONT)
    assert found["connect"].verdict is Verdict.FAILED
    assert "takes connections and does not answer" in found["connect"].seen


async def test_a_wrong_secret(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        other = TokenAuthority(Secret("the secret of another hub, at least 32 bytes"))
        identity = Identity(IdentityKind.OPERATOR, "demo", "x", "", expires_at=now_ms() + 60_000)
        found = await examined(hub, token=other.issue(identity))
    assert found["token"].verdict is Verdict.FAILED
    assert "another [auth] secret" in found["token"].remedy


async def test_no_token(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        found = await examined(hub, token="")
    assert found["token, clock, stream"].verdict is Verdict.SKIPPED


async def test_a_draining_hub_and_one_whose_storage_is_away(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        readiness = hub.hub._readiness
        await readiness.servicer.set(hub_checks.SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert "its storage does not answer" in (await examined(hub))["health"].seen
        await readiness.drain()
        found = (await examined(hub))["health"]
        assert (found.verdict, "draining" in found.seen) == (Verdict.FAILED, True)


@pytest.mark.parametrize("ahead", [100.0, -5.0])
async def test_clocks_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    class Clock:
        def __getattr__(self, name: str) -> Any:
            import time

            return (lambda: time.time() + ahead) if name == "time" else getattr(time, name)

    async with running_hub(hub_config(tmp_path)) as hub:
        monkeypatch.setattr(hub_checks, "time", Clock())
        found = (await examined(hub))["clock"]
    assert found.verdict is (Verdict.FAILED if ahead == 100 else Verdict.WARNING)
    assert ("ahead of" if ahead > 0 else "behind") in found.seen


async def test_valkey_that_is_down(tmp_path: Path) -> None:
    config, target = dead(on_valkey(hub_config(tmp_path), free_port()))
    found = by_check(await examine(config, target, "x", TIMEOUT_S))["storage"]
    assert found.verdict is Verdict.FAILED
    assert "start the server" in found.remedy


async def test_valkey_that_hangs_does_not_hold_the_doctor_up(tmp_path: Path) -> None:
    with own_server() as server, stopped(server):
        config, target = dead(on_valkey(hub_config(tmp_path), server.port))
        found = by_check(await examine(config, target, "x", TIMEOUT_S))["storage"]
    assert found.verdict is Verdict.FAILED


async def test_valkey_that_evicts(tmp_path: Path) -> None:
    with own_server(maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        config, target = dead(on_valkey(hub_config(tmp_path), server.port))
        found = by_check(await examine(config, target, "x", TIMEOUT_S))
    assert found["storage"].verdict is Verdict.FAILED
    assert "allkeys-lru" in found["storage"].seen
    assert "CONFIG SET maxmemory-policy noeviction" in found["storage"].remedy


async def test_valkey_that_is_unwise(tmp_path: Path) -> None:
    with own_server(appendonly="no", maxmemory_policy="allkeys-lru") as server:
        config, target = dead(on_valkey(hub_config(tmp_path), server.port))
        found = by_check(await examine(config, target, "x", TIMEOUT_S))
        with client(server.port) as asked:
            facts = {str(key): str(value) for key, value in asked.info().items()}
    assert found["storage"].verdict is Verdict.OK
    assert found["eviction"].verdict is Verdict.WARNING
    assert found["persistence"].verdict is Verdict.WARNING
    full = {**facts, "maxmemory": "1000", "used_memory": "990", "aof_last_write_status": "err"}
    worse = by_check(server_findings("v", full))
    assert worse["memory"].verdict is Verdict.FAILED
    assert worse["persistence"].verdict is Verdict.FAILED
    lagging = {**facts, "master_repl_offset": "9000000", "slave0": "ip=h,port=1,state=online,offset=1,lag=9"}
    assert "8999999 bytes behind" in by_check(server_findings("v", lagging))["replication"].seen


async def test_a_sqlite_folder_that_is_not_there(tmp_path: Path) -> None:
    storage = StorageConfig(url=f"sqlite:{tmp_path / 'no' / 'hub.sqlite3'}")
    config, target = dead(msgspec.structs.replace(hub_config(tmp_path), storage=storage))
    found = by_check(await examine(config, target, "x", TIMEOUT_S))["storage"]
    assert found.verdict is Verdict.FAILED


def only_backend(config: Config, backend: BackendConfig) -> Config:
    return msgspec.structs.replace(config, backends={"reference": backend})


async def test_a_remote_adapter_alive_and_dead(tmp_path: Path) -> None:
    options = {"path": str(tmp_path / "remote.sqlite3")}
    with running_adapter("legato_adapters.reference:create", options) as adapter:
        remote = only_backend(hub_config(tmp_path), BackendConfig(adapter=f"grpc://{adapter.address}"))
        config, target = dead(remote)
        alive = by_check(await examine(config, target, "x", TIMEOUT_S))["backend reference"]
        adapter.kill()
        gone = by_check(await examine(config, target, "x", TIMEOUT_S))["backend reference"]
    assert alive.verdict is Verdict.OK
    assert gone.verdict is Verdict.FAILED
    assert "does not answer" in gone.seen


async def test_adapters_of_another_contract(tmp_path: Path) -> None:
    for sample in (create(name="far", contract_version="2"), create(name="far", spoken=("2",))):
        async with served(sample) as port:
            config, target = dead(only_backend(hub_config(tmp_path), BackendConfig(adapter=f"grpc://127.0.0.1:{port}")))
            found = by_check(await examine(config, target, "x", TIMEOUT_S))["backend reference"]
        assert found.verdict is Verdict.FAILED
        assert "'2'" in found.seen
        assert "so that both speak one contract" in found.remedy


async def test_an_effect_class_a_capability_is_told(tmp_path: Path) -> None:
    commands = {"PAYMENT": "KEYED"}
    sample = create(name="far", capabilities=("CART", "PAYMENT"), effect_class="ABSOLUTE", commands=commands)
    sample.info.capabilities.append(4_711)  # type: ignore[arg-type]
    async with served(sample) as port:
        config, target = dead(only_backend(hub_config(tmp_path), BackendConfig(adapter=f"grpc://127.0.0.1:{port}")))
        found = by_check(await examine(config, target, "x", TIMEOUT_S))["backend reference"]
    assert found.verdict is Verdict.OK
    assert "cart, payment, 4711, effects cart absolute, payment keyed" in found.seen


async def test_an_adapter_whose_system_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: Any, request: Any, context: Any) -> None:
        import grpc

        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the password is wrong")

    monkeypatch.setattr(wayward.Wayward, "Probe", refuse)
    backend = wayward.backend(str(tmp_path / "ledger"), "KEYED")
    config, target = dead(only_backend(hub_config(tmp_path), backend))
    found = by_check(await examine(config, target, "x", TIMEOUT_S))["backend reference"]
    assert (found.verdict, found.remedy) == (Verdict.FAILED, "correct its credentials")


async def test_an_adapter_that_cannot_be_loaded(tmp_path: Path) -> None:
    config, target = dead(only_backend(hub_config(tmp_path), BackendConfig(adapter="no_such:thing")))
    found = by_check(await examine(config, target, "x", TIMEOUT_S))["backend reference"]
    assert found.verdict is Verdict.FAILED
    assert "does not start" in found.remedy


async def test_metrics_that_are_not_there(tmp_path: Path) -> None:
    shown = MetricsConfig(listen=f"127.0.0.1:{free_port()}")
    config, target = dead(msgspec.structs.replace(hub_config(tmp_path), metrics=shown))
    found = by_check(await examine(config, target, "x", TIMEOUT_S))["metrics"]
    assert found.verdict is Verdict.FAILED


def test_metrics_beyond_their_thresholds() -> None:
    def scrape(late: float, quick: float, **values: float) -> metrics_checks.Samples:
        name = "legato_event_loop_lag_seconds_bucket"
        buckets = {("0.01", quick), ("2.5", quick + late), ("+Inf", quick + late)}
        samples: metrics_checks.Samples = {(name, (("le", bound),)): count for bound, count in buckets}
        return {**samples, **{(key, ()): value for key, value in values.items()}}

    before = scrape(5, 10)
    more = {"legato_outbox_backlog_max": 200.0, "legato_storage_epochs_total": 2.0}
    found = by_check(metrics_checks.findings(before, scrape(6, 20, **more)))
    assert found["event loop"].verdict is Verdict.FAILED
    assert "2.5 s late" in found["event loop"].seen
    assert found["outboxes"].verdict is Verdict.WARNING
    assert found["epochs"].verdict is Verdict.WARNING
    assert found["version"].verdict is Verdict.FAILED
    assert by_check(metrics_checks.findings(before, before))["event loop"].seen == "stuck"
    # What was late before the first look is history.
    assert by_check(metrics_checks.findings(before, scrape(5, 20)))["event loop"].verdict is Verdict.OK


async def test_a_check_that_is_late_or_faulty_is_a_finding() -> None:
    async def late() -> Any:
        yield Finding("a", Verdict.OK, "this much")
        await asyncio.Event().wait()

    async def faulty() -> Any:
        yield Finding("a", Verdict.OK, "this much")
        raise LookupError("x")

    assert [f.verdict for f in await run("b", late, 0.05)] == [Verdict.OK, Verdict.FAILED]
    assert [f.verdict for f in await run("b", faulty, 5)] == [Verdict.OK, Verdict.FAILED]


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_tells_in_text_or_json_and_by_its_status(tmp_path: Path, as_json: bool) -> None:
    config = tmp_path / "hub.toml"
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:{free_port()}"\n[storage]\nurl = "sqlite:{tmp_path}/hub.sqlite3"\n'
        f'[backends.reference]\nadapter = "legato_adapters.reference:create"\n'
        f'options.path = "{tmp_path}/shop.sqlite3"\n'
    )
    result = CliRunner().invoke(cli.app, ["doctor", "--config", str(config), *(["--json"] if as_json else [])])
    assert result.exit_code == 1
    if as_json:
        findings = json.loads(result.stdout)
        assert {finding["check"] for finding in findings} >= {"connect", "storage", "backend reference", "metrics"}
        assert set(findings[0]) == {"check", "verdict", "seen", "remedy"}
    else:
        assert result.stdout.startswith("failed   connect")
        assert "-> start the hub" in result.stdout


async def test_the_status_of_a_sound_hub_is_zero(tmp_path: Path) -> None:
    async with hub_process(tmp_path) as (process, _):
        (config,) = (name for name in os.listdir(tmp_path) if name.endswith(".toml"))
        command = ("doctor", "--config", str(tmp_path / config), "--target", f"127.0.0.1:{process.port}")
        result = await asyncio.to_thread(CliRunner().invoke, cli.app, command)
    assert result.exit_code == 0, result.output
    assert "ok       stream" in result.stdout
