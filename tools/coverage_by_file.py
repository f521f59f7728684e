"""Measure how much of each source file its own tests cover, alone: `coverage_by_file.py [FILE…] [--check | --accept] [--changed REF]`.

A file's own tests are those that `tests/test_mirror.py` names. FILE is a path below `src/vestibule`; without one, all are measured.
Without a word more it prints what is missed; `--check` compares with `tools/coverage.toml` and fails if a file has fallen below what
is written there; `--accept` writes there what was reached. `--changed REF` takes only the files whose source or tests differ from REF.

Facts: the processes that tests start are measured, too: coverage's `.pth` file looks for `COVERAGE_PROCESS_START`, and a process that
is killed leaves nothing. What a trait leaves to others (`raise NotImplementedError`) is not counted. Whole percents, rounded down, give
tests of processes the room they need.

Rules: what was measured is kept in `build/coverage` and used again while every file that took part, and every file beside the tests,
is as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import coverage

TOP = Path(__file__).resolve().parent.parent
SOURCE = TOP / "src" / "vestibule"
TESTS = TOP / "tests"
STORE = TOP / "build" / "coverage"
TABLE = TOP / "tools" / "coverage.toml"
MIRROR = runpy.run_path(str(TESTS / "test_mirror.py"))

WITHIN_S = 900
"""No file's tests take longer than this, not even on a busy machine."""

NEW = {"lines": 90, "branches": 80}
"""What a file must reach that the table does not name yet."""

RC = """[run]
branch = true
parallel = true
sigterm = true
patch = _exit
data_file = {data}
include =
    {source}/*
    {tests}/*
[report]
exclude_also =
    raise NotImplementedError$
"""

HEAD = """# How much of each file its own tests cover alone, in whole percent, at the least (design rule B.14.1).
# Written by `tools/coverage_by_file.py --accept`, which keeps the reasons; `--check` fails if a file falls below its row.
# Why files stand below 100, and what else runs them: compile* and plan make and do what tests/plays, tests/e2e and
# tests/differential ask of them; cli*, control, originals and worker need whole programs (tests/e2e, tests/originals,
# bench/endure.py); model is checked by every golden case of tests/dialects; the languages are read again beside the
# originals (tests/differential). None is missing of contract, exchange, http, link, net and proxy.
"""


@dataclass
class Reached:
    """What the own tests of one file reach in it; `partly` if this machine lacks what some of them need."""

    lines: int
    branches: int
    missed: str
    partly: bool = False


def places() -> dict[str, list[str]]:
    """Return the source files by the tests that are their own, a file or a folder below `tests`."""
    found: dict[str, list[str]] = {}
    for name in MIRROR["sources"]():
        path = Path(name)
        place = str(path.parent / f"test_{path.name}") if MIRROR["has_own"](name) else MIRROR["elsewhere"](name)
        found.setdefault(place, []).append(name)
    return found


def measure(place: str, names: list[str]) -> dict[str, Reached]:
    """Return what the tests of a place reach in its files, from the store if nothing has changed. Raises RuntimeError if they fail."""
    kept = STORE / (place.replace("/", ".") + ".json")
    if kept.is_file():
        known = json.loads(kept.read_text())
        if set(names) <= set(known["reached"]) and known["digest"] == _digest([Path(each) for each in known["files"]]):
            return {name: Reached(**known["reached"][name]) for name in names}
    folder = STORE / place.replace("/", ".")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Workers may run as somebody else than the tests.
    folder.chmod(0o777)
    rc = folder / "rc"
    rc.write_text(RC.format(data=folder / "data", source=SOURCE, tests=TESTS))
    environment = os.environ | {
        "COVERAGE_PROCESS_START": str(rc),
        "PYTHONPATH": f"{TOP / 'src'}:{TOP / 'demo'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        sys.executable,
        "-P",
        "-bb",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--hypothesis-seed=0",
        "-n",
        "0",
        str(TESTS / place),
    ]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    if done.returncode:
        raise RuntimeError(f"the tests in {place} fail:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    measured = coverage.Coverage(config_file=str(rc))
    measured.combine()
    partly = " skipped" in done.stdout.rstrip().rpartition("\n")[2]
    reached = {name: _reached(measured, name, partly) for name in names}
    files = {Path(each) for each in measured.get_data().measured_files()} | _beside(TESTS / place)
    used = sorted(each for each in files if each.is_file())
    kept.write_text(
        json.dumps({"digest": _digest(used), "files": [str(each) for each in used], "reached": {n: vars(r) for n, r in reached.items()}})
    )
    shutil.rmtree(folder)
    return reached


def _beside(place: Path) -> set[Path]:
    """Return what tests may read without running it: everything in their folder."""
    folder = place if place.is_dir() else place.parent
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"} | {place}


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in paths:
        digest.update(str(path).encode() + b"\0" + (path.read_bytes() if path.is_file() else b"gone"))
    return digest.hexdigest()


def _reached(measured: coverage.Coverage, name: str, partly: bool) -> Reached:
    out = STORE / f"{name.replace('/', '.')}.report"
    try:
        with redirect_stdout(io.StringIO()):
            measured.json_report([str(SOURCE / name)], outfile=str(out))
    except coverage.exceptions.NoDataError:
        return Reached(0, 0, "never imported", partly)
    (report,) = json.loads(out.read_text())["files"].values()
    out.unlink()
    summary = report["summary"]
    lines = _percent(summary["covered_lines"], summary["num_statements"])
    branches = _percent(summary["covered_branches"], summary["num_branches"])
    gone = set(report["missing_lines"])
    # A branch that starts or ends in a line never reached says nothing more than the line.
    halves = [f"{a}->{'exit' if b < 0 else b}" for a, b in report["missing_branches"] if a not in gone and b not in gone]
    return Reached(lines, branches, " ".join([*_ranges(report["missing_lines"]), *halves]), partly)


def _percent(reached: int, all_of_them: int) -> int:
    return reached * 100 // all_of_them if all_of_them else 100


def _ranges(lines: list[int]) -> list[str]:
    """Return lines as ranges: 3 4 5 9 as 3-5 9."""
    ranges: list[list[int]] = []
    for line in sorted(lines):
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    return [str(first) if first == last else f"{first}-{last}" for first, last in ranges]


def wanted(names: list[str], changed: str | None) -> dict[str, list[str]]:
    """Return what is to be measured. Raises ValueError for a file that is not there."""
    everything = places()
    for name in names:
        if not any(name in files for files in everything.values()):
            raise ValueError(f"src/vestibule/{name} is no source file")
    chosen = {place: [each for each in files if not names or each in names] for place, files in everything.items()}
    if changed is not None:
        command = ["git", "diff", "--name-only", changed, "--"]
        differ = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout.split()
        chosen = {place: [each for each in files if _is_among(each, place, differ)] for place, files in chosen.items()}
    return {place: files for place, files in chosen.items() if files}


def _is_among(name: str, place: str, differ: list[str]) -> bool:
    tests = f"tests/{place}"
    return any(each in (f"src/vestibule/{name}", tests) or each.startswith(f"{tests}/") for each in differ)


def compare(reached: dict[str, Reached], table: dict[str, dict[str, int | str]]) -> tuple[list[str], list[str]]:
    """Return what has fallen, and what else is to be said: what may be written higher, what could not be compared."""
    fallen: list[str] = []
    notes: list[str] = []
    for name, now in sorted(reached.items()):
        row = table.get(name, NEW)
        for what, share in (("lines", now.lines), ("branches", now.branches)):
            least = int(row[what])
            if share < least and now.partly:
                notes.append(f"{name}: not compared, because some of its tests are skipped on this machine")
            elif share < least:
                fallen.append(f"{name}: its own tests reach {share} % of its {what}, not {least} %; missed: {now.missed}")
            elif share > least and name in table:
                notes.append(f"{name}: {what} can go up from {least} to {share}")
    return fallen, notes


def render(table: dict[str, dict[str, int | str]]) -> str:
    """Return the table as it is written."""
    rows = [HEAD]
    for name, row in sorted(table.items()):
        why = f", why = {json.dumps(row['why'], ensure_ascii=False)}" if "why" in row else ""
        rows.append(f'"{name}" = {{ lines = {row["lines"]}, branches = {row["branches"]}{why} }}\n')
    return "".join(rows)


def accept(reached: dict[str, Reached], table: dict[str, dict[str, int | str]], is_all: bool) -> None:
    """Write what was reached; a reason stays while something is missing, and files that are gone leave."""
    for name, now in reached.items():
        row: dict[str, int | str] = {"lines": now.lines, "branches": now.branches}
        if "why" in table.get(name, {}) and min(now.lines, now.branches) < 100:
            row["why"] = table[name]["why"]
        table[name] = row
    TABLE.write_text(render({name: row for name, row in table.items() if name in reached or not is_all}), encoding="utf-8")


def main(words: list[str]) -> int:
    """Measure, and say or write or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="FILE")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--changed", metavar="REF")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(words)
    STORE.mkdir(parents=True, exist_ok=True)
    chosen = wanted([name.removeprefix("src/vestibule/") for name in given.names], given.changed)
    reached: dict[str, Reached] = {}
    broken: list[str] = []
    # Longest first, as far as their size tells, so that no core waits at the end.
    order = sorted(chosen, key=lambda place: -sum(path.stat().st_size for path in _beside(TESTS / place)))
    everything = places()
    with ThreadPoolExecutor(given.jobs) as pool:
        for place, future in [(place, pool.submit(measure, place, everything[place])) for place in order]:
            try:
                reached |= {name: found for name, found in future.result().items() if name in chosen[place]}
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                broken.append(f"{place}: {error}")
    table = tomllib.loads(TABLE.read_text(encoding="utf-8")) if TABLE.is_file() else {}
    fallen: list[str] = []
    if given.check:
        fallen, notes = compare(reached, table)
        print(*notes, *fallen, sep="\n")
    else:
        for name, now in sorted(reached.items()):
            print(f"{name:40} {now.lines:3}% {now.branches:3}%  {now.missed}")
    if given.accept and not broken:
        accept(reached, table, not given.names and given.changed is None)
    print(*broken, sep="\n", end="", file=sys.stderr)
    return 1 if fallen or broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
