"""The command line: `vestibule run`, `check`, `adapt`, `reload`, `reopen`, `status`, `upstream`, `stop`, `ca`, `cert`, `version`,
and `nginx`, `haproxy`, `caddy`, `httpd` for who swaps one of those for it.

Rules: what a command found goes to standard output, what is wrong to standard error; exit status 0 is well, 1 is not, 2 is a
command that was not understood. What is slow to import is imported by the command that needs it.

Not here: what the running program does (`control/main.py`).
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import vestibule

if TYPE_CHECKING:
    from vestibule.control.main import Serving
    from vestibule.control.source import ConfigSource, Draft

_FILE_NAMES = ("vestibule.toml",)


class _Group(click.Group):
    """Keeps the commands in the order people meet them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(vestibule.__version__, "-V", "--version", message="vestibule %(version)s")
def main() -> None:
    """A reverse proxy: the front door for a self-hosted Immich, and for any HTTP service."""


# ---------------------------------------------------------------- run


@main.command()
@click.argument("file", required=False)
@click.option("--to", metavar="URL", help="Where requests go, such as http://immich:2283. Instead of a FILE.")
@click.option("--host", metavar="NAME", help="The host name that is served; without it, any.")
@click.option("--cert", metavar="FILE", help="A PEM file with the certificate and its chain.")
@click.option("--key", metavar="FILE", help="A PEM file with the key, unless it is in the same file.")
@click.option("--listen", metavar="ADDRESS", multiple=True, help="Where to listen, such as 8080 or 127.0.0.1:8443. May be given again.")
@click.option("--workers", type=click.IntRange(min=0), default=None, help="Worker processes; 0 is one for each core.")
@click.option("--dialect", metavar="NAME", default="", help="The language of FILE, where its name and text do not tell.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the logs.")
def run(
    *,
    file: str | None,
    to: str | None,
    host: str | None,
    cert: str | None,
    key: str | None,
    listen: tuple[str, ...],
    workers: int | None,
    dialect: str,
    quiet: bool,
) -> None:
    """Serve a configuration FILE, or one target named by --to, until stopped.

    Without either, ./vestibule.toml is served.
    """
    from vestibule.control.main import StartError
    from vestibule.control.main import run as serve
    from vestibule.control.source import command_line

    for_target = {"--host": host, "--cert": cert, "--key": key, "--listen": listen}
    source: ConfigSource
    if to is None:
        stray = [name for name, value in for_target.items() if value]
        if stray:
            raise click.UsageError(f"{stray[0]} goes with --to; in a FILE it is written in the file")
        source = _file_source(file, dialect, workers)
    else:
        if file is not None:
            raise click.UsageError("give a FILE or --to, not both")
        source = command_line(to, host=host or "", cert=cert or "", key=key or "", listen=listen, workers=workers)
    try:
        serve(source, _print_nothing if quiet else _print_serving)
    except StartError as bad:
        for reason in bad.reasons:
            click.echo(f"vestibule: {reason}", err=True)
        sys.exit(1)


def _file_source(file: str | None, dialect: str, workers: int | None) -> ConfigSource:
    from vestibule.control.source import ConfigFile

    file = file or _default_file()
    if file is None:
        raise click.UsageError("name a configuration FILE, or where requests go with --to URL; `vestibule run --help` tells more")
    return ConfigFile(file, dialect, workers)


def _default_file() -> str | None:
    return next((name for name in _FILE_NAMES if Path(name).exists()), None)


def _print_nothing(serving: Serving) -> None:
    del serving


def _print_serving(serving: Serving) -> None:
    """Say what is served and where; to standard error, because access logs may go to standard output."""
    from vestibule.control.summary import summarise

    for line in summarise(serving):
        click.echo(line, err=True)


# ---------------------------------------------------------------- check, adapt


@main.command()
@click.argument("file", default=_FILE_NAMES[0])
@click.option("--dialect", metavar="NAME", default="", help="The language of FILE, where its name and text do not tell.")
def check(file: str, dialect: str) -> None:
    """Say `ok`, or every mistake in a configuration FILE (./vestibule.toml) and how to mend it."""
    from vestibule.control.inspect import inspect
    from vestibule.control.source import ConfigFile

    draft = ConfigFile(file, dialect).read()
    found = inspect(draft)
    for line in found.lines:
        click.echo(line)
    if not found.ok:
        sys.exit(1)
    click.echo("ok")


@main.command()
@click.argument("file", default=_FILE_NAMES[0])
@click.option("--dialect", metavar="NAME", default="", help="The language of FILE, where its name and text do not tell.")
@click.option("--to", "form", type=click.Choice(["json", "toml"]), default="json", help="What to print: the canonical JSON, or TOML.")
def adapt(file: str, dialect: str, form: str) -> None:
    """Print what a configuration FILE (./vestibule.toml) means: the typed model that every dialect becomes."""
    from vestibule.control.source import ConfigFile
    from vestibule.model.wire import to_json

    draft = ConfigFile(file, dialect).read()
    _print_diagnostics(draft)
    if draft.config is None or not draft.ok:
        sys.exit(1)
    if form == "toml":
        from vestibule.dialects.toml import write

        click.echo(write(draft.config, draft.place), nl=False)
    else:
        click.echo(to_json(draft.config, indent=2))


def _print_diagnostics(draft: Draft) -> None:
    for each in draft.diagnostics:
        click.echo(each.render(), err=True)


# ---------------------------------------------------------------- commands to the running program


def _socket_options(command: Any) -> Any:
    """Add the options that say which running program is meant."""
    command = click.option("--socket", "socket_file", metavar="PATH", help="Its admin socket.")(command)
    command = click.option("--config", metavar="FILE", help="Its configuration, where that names a state directory or a socket.")(command)
    return click.option("--pid", type=int, help="Its process id, where several run.")(command)


@main.command()
@_socket_options
def reload(socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Have the running vestibule read its configuration anew. Nothing changes if it is refused."""
    answer = _ask("reload", socket_file, config, pid)
    for warning in _lines(answer, "warnings"):
        click.echo(warning, err=True)
    _stop_if_refused(answer, "refused; the old configuration goes on")
    click.echo(f"ok: generation {answer.get('generation')} is served")


@main.command()
@_socket_options
def reopen(socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Have the running vestibule open its log files anew, after they were renamed."""
    _stop_if_refused(_ask("reopen", socket_file, config, pid), "logs stay as they were")
    click.echo("ok")


@main.command()
@_socket_options
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def status(socket_file: str | None, config: str | None, pid: int | None, as_json: bool) -> None:
    """Say what the running vestibule does."""
    answer = _ask("status", socket_file, config, pid)
    _stop_if_refused(answer, "no status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from vestibule.control.summary import tell_status

    for line in tell_status(answer):
        click.echo(line)


@main.group(cls=_Group)
def upstream() -> None:
    """See and change how servers of upstreams stand, until the program ends."""


@upstream.command("list")
@_socket_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def upstream_list(socket_file: str | None, config: str | None, pid: int | None, as_json: bool) -> None:
    """Say how each server stands."""
    answer = _ask("status", socket_file, config, pid)
    _stop_if_refused(answer, "no status")
    servers = answer["servers"]
    assert isinstance(servers, list)
    if as_json:
        click.echo(json.dumps(servers, indent=2))
        return
    from vestibule.control.summary import tell_server

    for row in servers:
        click.echo(tell_server(row))


def _change(verb: str, words: list[str], socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Send a command about a server."""
    answer = _ask(shlex.join(["upstream", verb, *words]), socket_file, config, pid)
    _stop_if_refused(answer, "nothing is changed")
    click.echo("ok")


@upstream.command()
@click.argument("name")
@click.argument("server")
@_socket_options
def drain(name: str, server: str, socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Give SERVER of upstream NAME no new clients; those that belong to it (`sticky`) stay. `all` is every server."""
    _change("drain", [name, server], socket_file, config, pid)


@upstream.command()
@click.argument("name")
@click.argument("server")
@_socket_options
def enable(name: str, server: str, socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Let SERVER of upstream NAME serve again, or at last where it is `disabled`. `all` is every server."""
    _change("enable", [name, server], socket_file, config, pid)


@upstream.command()
@click.argument("name")
@click.argument("server")
@_socket_options
def disable(name: str, server: str, socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Give SERVER of upstream NAME no requests: maintenance. Those in flight end as they would. `all` is every server."""
    _change("disable", [name, server], socket_file, config, pid)


@upstream.command()
@click.argument("name")
@click.argument("server")
@click.argument("weight", type=click.IntRange(0, 65_535))
@_socket_options
def weight(name: str, server: str, weight: int, socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Give SERVER of upstream NAME another share of the requests; 0 is no new clients."""
    _change("weight", [name, server, str(weight)], socket_file, config, pid)


@main.command()
@_socket_options
def stop(socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Have the running vestibule finish what is in flight and end; a second time, end at once."""
    _stop_if_refused(_ask("stop", socket_file, config, pid), "it goes on")
    click.echo("stopping")


@main.command()
@_socket_options
def upgrade(socket_file: str | None, config: str | None, pid: int | None) -> None:
    """Have the program that is installed now take over from the running one, which finishes what its clients began."""
    answer = _ask("upgrade", socket_file, config, pid)
    _stop_if_refused(answer, "no upgrade; the running program goes on")
    click.echo(f"ok: process {answer.get('pid')} serves now")


def _ask(command: str, socket_file: str | None, config: str | None, pid: int | None) -> dict[str, object]:
    from vestibule.control.admin import AdminError, ask

    try:
        return ask(_socket_of(socket_file, config, pid), command)
    except AdminError as bad:
        _fail(str(bad))


def _socket_of(socket_file: str | None, config: str | None, pid: int | None) -> Path:
    """Find the admin socket of the program that is meant, or say why there is none."""
    from vestibule.control.admin import find_sockets, socket_path

    if socket_file is not None:
        return Path(socket_file)
    state_dir, configured = _places(config)
    if configured is not None:
        return configured
    if pid is not None:
        return socket_path(state_dir, pid)
    live = find_sockets(state_dir)
    if not live:
        _fail(
            f"no running vestibule has a socket in {state_dir}; is it running, as this user? "
            "Name its --socket, or its --config where that sets process.state_dir"
        )
    if len(live) > 1:
        pids = ", ".join(path.stem.removeprefix("admin-") for path in live)
        _fail(f"several are running: say which with --pid ({pids})")
    return live[0]


def _places(config: str | None) -> tuple[Path, Path | None]:
    """Return the state directory, and the admin socket if a configuration names one."""
    from vestibule.control.accounts import state_dir_of
    from vestibule.control.source import ConfigFile
    from vestibule.model.config import Process

    if config is None:
        # As `run` does: who works in the directory of a configuration means that one.
        config = _default_file()
    if config is None:
        return state_dir_of(Process(), Path.cwd(), os.environ), None
    draft = ConfigFile(config).read()
    if draft.config is None:
        _print_diagnostics(draft)
        sys.exit(1)
    process = draft.config.process
    configured = draft.base / process.admin_socket if process.admin_socket else None
    return state_dir_of(process, draft.base, os.environ), configured


def _stop_if_refused(answer: dict[str, object], what: str) -> None:
    if answer.get("ok") is True:
        return
    for reason in _lines(answer, "reasons"):
        click.echo(reason, err=True)
    _fail(what)


def _lines(answer: dict[str, object], key: str) -> list[str]:
    value = answer.get(key)
    return [str(each) for each in value] if isinstance(value, list) else []


def _fail(text: str) -> NoReturn:
    click.echo(f"vestibule: {text}", err=True)
    sys.exit(1)


# ---------------------------------------------------------------- ca, version


@main.command()
@click.option("--config", metavar="FILE", help="The configuration, where that names a state directory.")
def ca(config: str | None) -> None:
    """Print where the local CA's certificate is and how to trust it. It is made if there is none."""
    from vestibule.control.authority import AuthorityError, LocalAuthority, how_to_trust

    state_dir, _ = _places(config)
    authority = LocalAuthority(state_dir)
    try:
        authority.ensure()
    except AuthorityError as bad:
        _fail(str(bad))
    click.echo(authority.certificate_file)
    click.echo(how_to_trust(authority.certificate_file))


@main.command()
def version() -> None:
    """Say the version, and whether the data plane runs compiled or interpreted."""
    from vestibule import fault

    how = "interpreted" if str(fault.__file__).endswith(".py") else "compiled"
    python = ".".join(str(each) for each in sys.version_info[:3])
    click.echo(f"vestibule {vestibule.__version__} ({how}, Python {python})")


# ---------------------------------------------------------------- as another program


def _stand_in(name: str, summary: str) -> None:
    """Add a command that takes the flags of another program."""

    @main.command(
        name,
        help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    )
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        import importlib

        sys.exit(importlib.import_module(f"vestibule.originals.{name}").main(list(words)))


_stand_in("nginx", "Start, check or signal as nginx does: -p -c -g -e -t -T -q -s -v -V.")
_stand_in("haproxy", "Start or check as haproxy does: -f -c -D -W -Ws -db -p -C -sf -st -q -v -vv -cc.")
_stand_in("caddy", "Run, start, stop, reload, validate or adapt as caddy does.")
_stand_in("httpd", "Start, check or signal as httpd does: -f -d -t -S -D -C -c -k -X -v -V -M.")


# Last, because it uses what stands above.
from vestibule.cli_cert import cert  # noqa: E402

main.add_command(cert)
