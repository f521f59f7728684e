"""The comparison of whole proxies: one command line, one run, one report.

Run from the top of the repository as `python -m bench.macro`; `scripts/bench` installs what it needs first. What is measured and
how: README.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from bench import check, report
from bench.growth import Connections, Hops, Sites
from bench.h2 import H2
from bench.load import GROUP, SUITE, Load
from bench.peer import BenchError, Contender, Pins, known_contenders, raise_file_limit, version_of
from bench.suites import SIZES, Bench, Bulk, Idle, LatencySuite, Logs, Requests, Scaling, Soak, Suite, Tls

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent
#: Every suite in the order it runs.
_ALL = (Requests, Logs, Bulk, Tls, Idle, LatencySuite, H2, Scaling, Sites, Connections, Hops, Soak)
SUITES: dict[str, type[Suite]] = {suite.name: suite for suite in _ALL}


def spoken(arguments: list[str]) -> list[str]:
    """Return the options that a person gave, without folders of one machine: `--source` is put in by scripts/bench, and of interpreters
    the name alone is told."""
    kept = list(arguments)
    while "--source" in kept:
        at = kept.index("--source")
        del kept[at : at + 2]
    for at in range(1, len(kept)):
        if kept[at - 1] in ("--python", "--compiled-python"):
            kept[at] = Path(kept[at]).name
    return kept


def main() -> int:
    """Parse the command line, run the suites, print and perhaps write the report; return the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    raise_file_limit()
    try:
        contenders = _chosen_contenders(options)
        suites = _chosen(options.only, list(SUITES), "--only")
        versions = {one.name: version_of(one) for one in contenders}
        pins, pinned = _pins(options.cpu)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vestibule-bench-", dir=_memory_directory()) as name:
        directory = Path(name)
        directory.chmod(0o755)
        try:
            bench = _bench(options, directory, contenders, pins)
            _make_certificate(directory / "tls")
            bench.load.prepare()
            check.check_all(bench)
            if H2.name in suites:
                check.check_http2(bench)
            for suite in suites:
                SUITES[suite](bench).run()
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    facts = report.Facts(
        command=" ".join(["scripts/bench", *spoken(sys.argv[1:])]),
        commit=_commit(),
        versions=versions,
        pinned=pinned,
        settings=_settings(bench),
        minutes=(time.monotonic() - started) / 60,
    )
    text = report.document(bench.cells, bench.missing, facts)
    print(text)
    if options.write:
        results = _HERE / "RESULTS.md"
        results.write_text(report.with_rest(text, results.read_text() if results.is_file() else ""))
        with (_HERE / "history.jsonl").open("a") as out:
            out.write(report.history_line(bench.cells, facts))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Compare vestibule with its peers.")
    parser.add_argument("--only", default="", help=f"suites, comma-separated, of: {', '.join(SUITES)}")
    parser.add_argument("--contenders", default="", help="names, comma-separated; all by default")
    parser.add_argument("--rounds", type=_positive, default=5)
    parser.add_argument("--seconds", type=_positive, default=2, help="length of one request load")
    parser.add_argument("--bulk-mb", type=_positive, default=1000, help="length of one body")
    parser.add_argument("--handshakes", type=_positive, default=1000, help="TLS connections per round")
    parser.add_argument("--idle", type=_positive, default=5000, help="idle connections")
    parser.add_argument("--rate", type=_positive, default=3000, help="requests per second of the latency suite")
    parser.add_argument("--soak-gb", type=float, default=20.0, help="length of the soak's upload")
    parser.add_argument("--quick", action="store_true", help="one short round of everything: shows that it works, no more")
    parser.add_argument("--cpu", default="auto", help="processors CONTENDER:LOAD[:ORIGIN], 'none', or 'auto' (0:1 if there are two)")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the interpreted row")
    parser.add_argument("--compiled-python", default=sys.executable, help="interpreter with the compiled package")
    parser.add_argument("--source", type=Path, default=_ROOT / "src", help="source directory of the interpreted row")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md and append to bench/history.jsonl")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
        options.seconds, options.bulk_mb, options.handshakes = 1, 200, 100
        options.idle, options.soak_gb = min(options.idle, 200), min(options.soak_gb, 1.0)
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _bench(options: argparse.Namespace, directory: Path, contenders: list[Contender], pins: Pins) -> Bench:
    return Bench(
        directory=directory,
        contenders=contenders,
        pins=pins,
        load=Load(directory, pins),
        rounds=options.rounds,
        seconds=options.seconds,
        bulk_bytes=options.bulk_mb * 1_000_000,
        handshake_count=options.handshakes,
        idle_count=options.idle,
        settle_seconds=0.5 if options.quick else 6.0,
        rate=options.rate,
        soak_bytes=int(options.soak_gb * 1e9),
        warms=not options.quick,
        sizes=SIZES[1:2] if options.quick else SIZES,
        say=lambda text: print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True),
    )


def _chosen(text: str, known: list[str], option: str) -> list[str]:
    """Return the names of a comma-separated option, all when it is empty; an unknown name is an error."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise BenchError(f"{option} knows no “{name}”; it knows {', '.join(known)}")
    return names or known


def _chosen_contenders(options: argparse.Namespace) -> list[Contender]:
    known = known_contenders(options.source.resolve(), _located(options.python), _located(options.compiled_python))
    return [known[name] for name in _chosen(options.contenders, list(known), "--contenders")]


def _located(program: str) -> str:
    """Return a program given by path with its whole path, since contenders run elsewhere; links stay, they make the venv."""
    return str(Path(program).absolute()) if "/" in program else program


def _pins(text: str) -> tuple[Pins, str]:
    """Read --cpu; return the pins and a sentence about them for the report."""
    allowed = sorted(os.sched_getaffinity(0))
    if text == "auto":
        if len(allowed) < 2:
            return Pins(), "not pinned, there is only one"
        text = ":".join(str(cpu) for cpu in allowed[:3])
    if text == "none":
        return Pins(), "not pinned"
    try:
        numbers = [int(part) for part in text.split(":")]
    except ValueError as error:
        raise BenchError(f"--cpu takes CONTENDER:LOAD[:ORIGIN], not “{text}”") from error
    if len(numbers) not in (2, 3) or not set(numbers) <= set(allowed):
        raise BenchError(f"--cpu {text}: two or three of {allowed} are needed")
    contender, load, origin = numbers[0], numbers[1], numbers[-1]
    sentence = f"contender on {contender}, load on {load}, origin on {origin}; the scaling suite is not pinned"
    return Pins(contender, load, origin), sentence


def _memory_directory() -> str | None:
    """Return a directory in memory, so that no disk takes part; None leaves the choice to the system."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _make_certificate(directory: Path) -> None:
    """Make the ECDSA P-256 certificate all contenders serve."""
    directory.mkdir(mode=0o755)
    key, certificate = directory / "key.pem", directory / "cert.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    openssl = shutil.which("openssl")
    if openssl is None:
        raise BenchError("openssl is missing; scripts/bench installs it")
    done = subprocess.run(
        [openssl, *command.split(), "-addext", names, "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"openssl made no certificate: {done.stderr.strip()}")
    # Contenders that start as root and read late do so as another user.
    key.chmod(0o644)
    (directory / "both.pem").write_text(certificate.read_text() + key.read_text())


def _settings(bench: Bench) -> str:
    return (
        f"{bench.rounds} rounds, {bench.seconds} s per request load, {bench.bulk_bytes // 1_000_000} MB per body, "
        f"{bench.handshake_count} handshakes, {bench.idle_count} idle connections, {bench.rate} requests/s, {SUITE} with {GROUP}"
    )


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _leave(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that every started program is stopped on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
