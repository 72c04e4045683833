"""The command ``chronoserve``. Verbs import what they need when they run, so that help is quick."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import click

from chronoserve import __version__
from chronoserve.model.errors import KVError

LATER = {
    "bench": "Load a running server and show its rate and latency.",
    "compile": "Confs from the Python that authors write, with chronon-ai's compile.py.",
    "demo": "A server, Chronon's own recorded bytes; the same bytes and a join's features back.",
    "doctor": "Check configuration, stores, versions and clocks; say what to do.",
    "config": "Where each setting of a job comes from.",
    "explain": "Where each feature of one fetch came from, how fresh it is, how long each phase took.",
    "fetch": "Features of a join or a group by, as a table with types, ages and statuses.",
    "kv": "The KV store from a shell: on a server, or on a store's URL.",
    "list": "Joins and group bys that are online.",
    "load": "Upload tables of a day into the online store, whole or not at all.",
    "metadata-upload": "Compiled confs into a store, so that joins can be fetched by name.",
    "partition": "Has a partition landed? A sensor for schedulers.",
    "quickstart": "From raw tables to a row of features, the whole way, on any store.",
    "run": "One job of Chronon, as its run.py takes it: --mode, --conf, --ds.",
    "schema": "Keys and features of a join or a group by, with their types.",
    "stats": "Statistics of a join over time, of its log, its consistency, its drift.",
    "upload": "A group by's upload table for one day, made without the JVM.",
    "verify": "Recordings of Chronon's JVM, or its live service, compared with our answers.",
}
"""Verbs in modules of their name (``-`` becomes ``_``), with their line in the help: nothing is imported before it is asked for."""
PLACES = {"list": ("listing", "list_names"), "compile": ("compiling.verb", "compile_confs")}
"""Module and name of the verbs that would hide something of Python's."""


PARTITIONS = {"partition_column": "PARTITION_COLUMN", "partition_format": "PARTITION_FORMAT"}
"""Settings of a warehouse and the environment variables that Chronon has for them."""


class Commands(click.Group):
    """A group that turns our errors, and the system's, into one line on standard error and exit code 1."""

    def main(self, *args: Any, **extra: Any) -> Any:
        _prepare_output()
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            extra["color"] = False
        try:
            return super().main(*args, **extra)
        except OSError as failed:  # a full disk, a missing permission: click has taken the closed pipe itself
            place = f": {failed.filename}" if failed.filename else ""
            click.secho(f"error: {failed.strerror or failed}{place}", fg="red", err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LATER:
            module, command = PLACES.get(cmd_name, (cmd_name.replace("-", "_"),) * 2)
            return cast("click.Command", getattr(import_module(f"chronoserve.app.{module}"), command))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        room = formatter.width - 6 - max(map(len, self.list_commands(ctx)))
        eager = {name: command.get_short_help_str(room) for name, command in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted({**LATER, **eager}.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KVError as error:
            click.secho(f"error: {error.message}", fg="red", err=True)
            ctx.exit(1)


def _prepare_output() -> None:
    """What an encoding lacks is shown as its escape, and a closed standard output takes everything in silence."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 it lives as long as the process
    elif isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chronoserve")
def main() -> None:
    """Chronon's online half for everybody: features, and the key-value stores that they come from, over gRPC and HTTP."""


@main.command()
@click.option("--listen", multiple=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH; repeatable.  [default: 127.0.0.1:50051]")
@click.option("--http", metavar="ADDRESS", help="Features as JSON, health, metrics; 'off' for none.  [default: 127.0.0.1:9000]")
@click.option("--admin", metavar="ADDRESS", help="gRPC admin services (channelz).  [default: none]")
@click.option("--store", metavar="URL", help="lmdb:///dir, memory://, redis://, cassandra://, …  [default: lmdb in ./chronoserve-data]")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file; flags win over it.")
@click.option("--api", metavar="MODULE:CLASS", help="A chronoserve.api.Api of your own: store, sources, models, log.")
@click.option("-Z", "api_conf", multiple=True, metavar="KEY=VALUE", help="A setting for that class; repeatable.")
@click.option("--teams", type=click.Path(path_type=Path, dir_okay=False), help="teams.json: its common_env, and -Z of CHRONON_ONLINE_ARGS.")
@click.option("--warehouse", envvar="CHRONOSERVE_WAREHOUSE", metavar="URL", help="BulkPut takes its tables: /dir, s3://…, hive://host, …")
@click.option("--workers", type=int, help="Processes that share the addresses.  [default: 1]")
@click.option("--transport", metavar="NAME", help="auto, native or grpcio.  [default: auto, which is native where it is built]")
@click.option("--tls-cert", metavar="FILE", help="PEM certificate chain; read again when it changes.")
@click.option("--tls-key", metavar="FILE", help="PEM private key.")
@click.option("--tls-client-ca", metavar="FILE", help="PEM CA of client certificates: turns mTLS on.")
@click.option("--create-on-put", is_flag=True, default=None, help="A put to an unknown dataset creates it.")
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
@click.option("--without-layers", is_flag=True, hidden=True, help="Only to measure what the layers cost.")
@click.option("--worker-socket", hidden=True, help="Used by the supervisor for its workers.")
def serve(**given: Any) -> None:
    """Serve the services KVStore and Fetcher (loopback only, embedded store, unless told otherwise)."""
    from chronoserve.app import logs
    from chronoserve.app import serve as serving
    from chronoserve.app.settings import load

    if given["worker_socket"]:
        settings = serving.settings_from_supervisor()
        logs.configure(settings.log_level)
        sys.exit(serving.run(serving.serve_under_supervisor(settings, given["worker_socket"])))
    settings = load(given["config"], _overrides(given))
    logs.configure(settings.log_level)
    logs.show_settings(settings.redacted())
    sys.exit(serving.run(serving.serve_alone(settings) if settings.workers == 1 else serving.serve_with_workers(settings)))


def _overrides(given: dict[str, Any]) -> dict[str, Any]:
    """What the flags say, in the shape of the configuration file."""
    from chronoserve.app.deployment_flags import deployment_overrides
    from chronoserve.app.settings import default_stores

    found: dict[str, Any] = {
        name: given[name] for name in ("admin", "workers", "transport", "create_on_put", "log_level") if given[name] is not None
    }
    if given["listen"]:
        found["listen"] = list(given["listen"])
    if given["http"]:
        found["http"] = None if given["http"] == "off" else given["http"]
    if given["store"]:
        found["stores"] = {"default": {"url": given["store"]}}
        found["routes"] = []
    elif not given["config"]:
        found["stores"] = default_stores()
    if given["tls_cert"]:
        found["tls"] = {"certificate": given["tls_cert"], "key": given["tls_key"], "client_ca": given["tls_client_ca"]}
    if given["warehouse"]:
        found["warehouse"] = {"url": given["warehouse"]}
        found["warehouse"] |= {key: os.environ[name] for key, name in PARTITIONS.items() if name in os.environ}
    if given["without_layers"]:
        found["layers"] = False
    return found | deployment_overrides(given["api"], given["api_conf"], given["teams"])
