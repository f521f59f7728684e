"""The commands `vestibule cert …`: what certificates there are, and what to do with them.

Rules: what concerns a running program is asked of it; all else works on the state directory, whoever runs.

Not here: doing it (`control/acme/desk.py`, `control/trust.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vestibule.control.acme.desk import Desk

_CONFIG = click.option("--config", metavar="FILE", help="The configuration; without it, ./vestibule.toml.")


@click.group()
def cert() -> None:
    """Certificates that are issued automatically, and the local CA."""


def _desk(config: str | None) -> Desk:
    """Return what works on the certificates of a configuration."""
    from vestibule import cli
    from vestibule.control.acme.desk import Desk, DeskError
    from vestibule.control.source import ConfigFile

    name = config or cli._default_file()
    if name is None:
        cli._fail("name the configuration with --config FILE")
    draft = ConfigFile(name).read()
    if draft.config is None:
        cli._print_diagnostics(draft)
        cli._fail("the configuration cannot be read")
    state_dir, _ = cli._places(name)
    try:
        return Desk(state_dir, draft.config, draft.base)
    except DeskError as bad:
        cli._fail(str(bad))


def _do(work: Any) -> Any:
    """Do something; say why it cannot be done."""
    from vestibule import cli
    from vestibule.control.acme.desk import DeskError

    try:
        return work()
    except DeskError as bad:
        cli._fail(str(bad))


@cert.command("list")
@_CONFIG
def list_(config: str | None) -> None:
    """List the certificates that are kept."""
    desk = _desk(config)
    for line in _do(lambda: list(desk.lines())):
        click.echo(line)


@cert.command()
@click.argument("name")
@_CONFIG
def show(name: str, config: str | None) -> None:
    """Show all that is known of the certificate for NAME, and the certificate itself."""
    desk = _desk(config)
    for line in _do(lambda: list(desk.details(name))):
        click.echo(line)


@cert.command()
@click.argument("name", required=False, default="")
@click.option("--socket", "socket_file", metavar="PATH", help="The admin socket of the running program.")
@click.option("--pid", type=int, help="Its process id, where several run.")
@_CONFIG
def renew(name: str, socket_file: str | None, pid: int | None, config: str | None) -> None:
    """Have the running vestibule renew the certificate for NAME now, or all. `vestibule status` tells what becomes of it."""
    from vestibule import cli

    answer = cli._ask(f"renew {name}", socket_file, config, pid)
    cli._stop_if_refused(answer, "nothing is renewed")
    for each in cli._lines(answer, "names"):
        click.echo(f"{each}: will be renewed now; `vestibule status` tells what becomes of it")


@cert.command()
@click.argument("name")
@click.option("--reason", type=click.Choice(["unspecified", "key-compromise", "superseded", "cessation"]), default="unspecified")
@_CONFIG
def revoke(name: str, reason: str, config: str | None) -> None:
    """Revoke the certificate for NAME. A running vestibule then has a new one issued, with a new key."""
    desk = _desk(config)
    click.echo(_do(lambda: desk.revoke(name, reason)))


@cert.command("import")
@click.argument("cert_file", metavar="CERT")
@click.argument("key_file", metavar="[KEY]", required=False, default="")
@_CONFIG
def import_(cert_file: str, key_file: str, config: str | None) -> None:
    """Take over a certificate of another program: CERT with its chain, and KEY unless it is in the same file.

    It serves until it is due, and is then renewed automatically.
    """
    desk = _desk(config)
    for line in _do(lambda: desk.take(cert_file, key_file)):
        click.echo(line)


@cert.command()
@click.argument("what", type=click.Choice(["show", "change-key", "deactivate"]), default="show")
@click.option("--issuer", metavar="NAME", default="", help="Which issuer's, where several are configured.")
@_CONFIG
def account(what: str, issuer: str, config: str | None) -> None:
    """Show the account at an issuer, give it a new key, or close it for good."""
    desk = _desk(config)
    click.echo(_do(lambda: desk.account(what, issuer)))


@cert.command()
@click.option("--serve", metavar="ADDRESS", help="Offer the certificate for download, such as at :8000, until Ctrl-C.")
@click.option("--config", metavar="FILE", help="The configuration, where that names a state directory.")
def trust(serve: str | None, config: str | None) -> None:
    """Have this machine trust the local CA, as far as that is possible, and say how phones and others do."""
    from vestibule import cli
    from vestibule.control.authority import AuthorityError, LocalAuthority, how_to_trust
    from vestibule.control.trust import TrustError, install, offer

    state_dir, _ = cli._places(config)
    authority = LocalAuthority(state_dir)
    try:
        authority.ensure()
        if serve is not None:
            offer(authority.certificate_file, serve, click.echo)
            return
    except (AuthorityError, TrustError) as bad:
        cli._fail(str(bad))
    for line in install(authority.certificate_file):
        click.echo(line)
    click.echo(how_to_trust(authority.certificate_file))
