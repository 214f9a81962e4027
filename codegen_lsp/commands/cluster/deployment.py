"""`codegen-lsp cluster up`, `status`, `down` and `config`: a model on Ray Serve, here or on a cluster that exists."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codegen_lsp.commands.cluster.options import ClusterOptions
from codegen_lsp.commands.options import AsJson, LoadOptions, with_options
from codegen_lsp.commands.terminal import console, say, say_json, styled
from codegen_lsp.wire import extras
from codegen_lsp.wire.config import expanded
from codegen_lsp.wire.folders import runtime_dir

if TYPE_CHECKING:
    from codegen_lsp.cluster.dashboard import ClusterStatus, Dashboard
    from codegen_lsp.cluster.head import RayHead

START_SECONDS = 120.0
"""Seconds that Ray gets to start."""

DashboardAddress = Annotated[
    str | None,
    typer.Option(
        help="Dashboard of an existing Ray cluster, as http://head:8265 (its token in RAY_AUTH_TOKEN); "
        "by default Ray is started on this machine."
    ),
]


@with_options
def up(
    load: LoadOptions,
    options: ClusterOptions,
    address: DashboardAddress = None,
    file: Annotated[
        Path | None, typer.Option("--config", help="Configuration to deploy instead of the options.")
    ] = None,
) -> None:
    """Deploy a model on Ray Serve, and wait until it answers."""
    from codegen_lsp.cluster import serve_config

    extras.require("ray")
    if file is None and address is None:
        _check_model(load)
    document = serve_config.read(expanded(file)) if file else options.document(load)
    made = None
    if (
        file is None
        and options.token_file is None
        and address is None
        and serve_config.asks_for_tokens(document)
    ):
        made = _token_file()
        document["applications"][0]["args"]["token_file"] = str(made)
    processors = serve_config.processors(document)
    with _dashboard(address, start=processors) as dashboard:
        dashboard.deploy(document)
        state = _deployed(dashboard)
    scheme = "https" if document["http_options"].get("ssl_certfile") else "http"
    say(f"serving on {scheme}://{document['http_options']['host']}:{document['http_options']['port']}")
    say(_ready(state) + (f"; the token is in {made}" if made else ""))


def _check_model(load: LoadOptions) -> None:
    """Check the model's name before anything is started for it.

    Raises:
        CheckpointError: the name is unknown.
    """
    from codegen_lsp.engine.checkpoints import locate

    config = load.config()
    locate.resolve(config.model, config.revision)


def status(address: DashboardAddress = None, as_json: AsJson = False) -> None:
    """Say what the cluster does: its state and its replicas."""
    with _dashboard(address) as dashboard:
        state = dashboard.status()
    if as_json:
        say_json(asdict(state) if state else {"state": "NOT_DEPLOYED", "replicas": []}, indent=2)
        return
    if state is None:
        say("nothing is deployed; codegen-lsp cluster up deploys a model")
        return
    from rich.table import Table

    table = Table("replica", "deployment", "state", "node", "process", box=None, pad_edge=False)
    for replica in state.replicas:
        table.add_row(
            styled(replica.name),
            styled(replica.deployment),
            styled(replica.state),
            styled(replica.node),
            str(replica.pid),
        )
    console().print(table)
    say(f"{state.state}{': ' * bool(state.message)}{state.message}")


def down(address: DashboardAddress = None) -> None:
    """Delete the application, and end Ray if `up` has started it."""
    from codegen_lsp.cluster import head

    ray = head.running()
    if address is None and ray is None:
        say("no cluster of this user is running on this machine")
        return
    with _dashboard(address) as dashboard:
        _deleted(dashboard)
    if address is None and ray is not None:
        killed = head.stop(ray)
        _token_path().unlink(missing_ok=True)
        say("the cluster has ended" + f"; {killed} of its processes had to be killed" * bool(killed))


@with_options
def config(load: LoadOptions, options: ClusterOptions) -> None:
    """Print the configuration that `up` would deploy; `serve deploy` accepts it too."""
    from codegen_lsp.cluster import serve_config

    say(serve_config.written(options.document(load)).rstrip())


@contextmanager
def _dashboard(address: str | None, start: int = 0) -> Iterator[Dashboard]:
    """Connect to the dashboard of the cluster that is named, or to this machine's, which `start` processors start."""
    from codegen_lsp.cluster import head
    from codegen_lsp.cluster.dashboard import Dashboard

    ray: head.RayHead | None = None
    if address is None:
        ray = head.running() or (head.start(start) if start else None)
        if ray is None:
            raise head.ClusterError(
                "no cluster of this user is running on this machine; cluster up starts one"
            )
    token = ray.token if ray else os.environ.get("RAY_AUTH_TOKEN", "")
    with contextlib.closing(Dashboard(ray.dashboard if ray else str(address), token)) as dashboard:
        if start:
            _await_ray(dashboard, ray)
        yield dashboard


def _await_ray(dashboard: Dashboard, ray: RayHead | None) -> None:
    from codegen_lsp.cluster import head

    try:
        with console(errors=True).status("Ray starts"):
            dashboard.wait(START_SECONDS, lambda: ray is None or bool(ray.processes))
    except head.ClusterError as error:
        if ray is None:
            raise
        head.stop(ray)
        raise head.ClusterError(f"{error}; its messages are in {head.log_path()}") from error


def _deployed(dashboard: Dashboard) -> ClusterStatus:
    """Wait until the replicas are ready, and say in between what they do.

    Raises:
        ClusterError: they can't be started.
    """
    from codegen_lsp.cluster.head import ClusterError

    with console(errors=True).status("the replicas load the model") as spinner:
        while True:
            state = dashboard.status()
            if state is not None and state.state == "RUNNING":
                return state
            if state is not None and state.settled:
                raise ClusterError(f"the replicas can't be started: {_last_lines(state.message)}")
            if state is not None:
                spinner.update(_ready(state))
            time.sleep(0.5)


def _ready(state: ClusterStatus) -> str:
    """Return a sentence about the replicas that hold the model."""
    running = sum(replica.state == "RUNNING" for replica in state.engines)
    count = "1 replica is" if len(state.engines) == 1 else f"{len(state.engines)} replicas are"
    return f"{count} ready" if running == len(state.engines) else f"{running} of {count} ready"


def _deleted(dashboard: Dashboard) -> None:
    dashboard.delete()
    deadline = time.monotonic() + START_SECONDS
    while dashboard.status() is not None and time.monotonic() < deadline:
        time.sleep(0.2)


def _last_lines(message: str) -> str:
    """Return the end of a message, where a traceback names the error."""
    return " ".join(message.split())[-400:]


def _token_path() -> Path:
    return runtime_dir() / "cluster.token"


def _token_file() -> Path:
    """Return the file with the token of this machine's cluster, which is made if it is missing."""
    path = _token_path()
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:  # noqa: PTH123
            file.write(secrets.token_urlsafe(24) + "\n")
    return path
