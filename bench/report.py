"""The figures as text: the same Markdown for the terminal and for RESULTS.md, and one line of JSON for the history.

Not here: the arithmetic (`stats.py`).
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from bench.stats import YARDSTICK, Cell, verdicts

#: Below this share of time on a processor a contender had time to spare.
_BUSY_ENOUGH = 0.85


@dataclass(frozen=True)
class Facts:
    """What a reader must know to place the figures."""

    command: str
    commit: str
    versions: dict[str, str]
    pinned: str
    settings: str
    minutes: float


def document(cells: list[Cell], missing: list[str], facts: Facts) -> str:
    """Return the whole report."""
    parts = ["# Results\n", _facts(facts)]
    parts.append(_verdicts(cells))
    suites = dict.fromkeys(cell.suite for cell in cells)
    for suite in suites:
        parts.append(_suite(suite, [cell for cell in cells if cell.suite == suite]))
    if missing:
        parts.append("## Figures that could not be had\n\n" + "\n".join(f"* {_one_line(text)}" for text in missing) + "\n")
    return "\n".join(parts)


def with_rest(text: str, before: str) -> str:
    """Return the report `text`, and behind it what was written by hand behind the one `before`; that begins with its first `# ` heading."""
    rest = before.find("\n# ", 1)
    return text if rest < 0 else f"{text}{before[rest:]}"


def history_line(cells: list[Cell], facts: Facts) -> str:
    """Return the medians as one line of JSON, to be appended to the history."""
    medians = {
        f"{cell.suite}: {cell.name}": {name: round(value, 3) for name in cell.readings if (value := cell.median(name)) is not None}
        for cell in cells
    }
    record = {"date": _now(), "commit": facts.commit, "machine": _machine(), "settings": facts.settings, "medians": medians}
    return json.dumps(record, ensure_ascii=False) + "\n"


def table(head: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """Return an aligned Markdown table; the first `texts` columns are text, the others figures."""
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    rule = ["-" * width if index < texts else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return "\n".join(_row(row, widths, texts) for row in [head, rule, *rows]) + "\n"


def _row(cells: list[str], widths: list[int], texts: int) -> str:
    padded = [cell.ljust(widths[i]) if i < texts else cell.rjust(widths[i]) for i, cell in enumerate(cells)]
    return "| " + " | ".join(padded) + " |"


def _facts(facts: Facts) -> str:
    lines = [
        f"* date: {_now()}; commit {facts.commit}; the run took {facts.minutes:.0f} minutes",
        f"* command: `{facts.command}`",
        f"* machine: {_machine()}",
        f"* processors: {facts.pinned}",
        f"* settings: {facts.settings}",
    ]
    lines += [f"* {name}: {version}" for name, version in facts.versions.items()]
    note = (
        "\nFigures are medians over the rounds with least and most in brackets. Ratios are taken within a round, then their median;\n"
        "“better” is the better of nginx and HAProxy in that round, and above 1 is always worse. What each means: README.md.\n"
    )
    return "\n".join(lines) + "\n" + note


def _verdicts(cells: list[Cell]) -> str:
    held = verdicts(cells)
    if not held:
        return ""
    rows = [[v.cell, v.promise, v.found, "met" if v.met else "**missed**"] for v in held]
    met = sum(v.met for v in held)
    return f"## Targets: {met} of {len(held)} met\n\n" + table(["cell", "target", "measured", ""], rows, texts=4)


def _suite(suite: str, cells: list[Cell]) -> str:
    """Return a table of medians over all cells of a suite, then one detailed table per cell."""
    names = list(dict.fromkeys(name for cell in cells for name in cell.readings))
    rows = [[f"{cell.name} [{cell.unit}]", *(_median(cell, name) for name in names)] for cell in cells]
    parts = [f"## {suite}\n", table(["medians", *names], rows)]
    for cell in cells:
        better = "higher is better" if cell.higher_is_better else "lower is better"
        details = [_line(cell, name) for name in cell.readings]
        head = ["contender", cell.unit, "(least–most)", "user", "system", "÷ nginx", "÷ haproxy", "÷ better", "remarks"]
        used = [i for i in range(len(head)) if i < 2 or any(row[i] not in {"", "–"} for row in details)]
        parts.append(f"### {cell.suite}: {cell.name} ({better})\n")
        parts.append(table([head[i] for i in used], [[row[i] for i in used] for row in details]))
    return "\n".join(parts)


def _median(cell: Cell, name: str) -> str:
    middle = cell.median(name)
    return "–" if middle is None else _figure(middle)


def _line(cell: Cell, name: str) -> list[str]:
    middle = cell.median(name)
    if middle is None:
        return [name, "–", "", "", "", "–", "–", "–", ""]
    values = cell.values(name)
    split = cell.split(name)
    spread = f"({_figure(min(values))}–{_figure(max(values))})" if len(values) > 1 else ""
    ratios = [_ratio(cell.cost_ratio(name, yardstick)) for yardstick in (("nginx",), ("haproxy",), YARDSTICK)]
    user, system = (_figure(split[0]), _figure(split[1])) if split else ("", "")
    return [name, _figure(middle), spread, user, system, *ratios, "; ".join(_remarks(cell, name))]


def _remarks(cell: Cell, name: str) -> list[str]:
    """Return the notes, and whether the load left the contender idle: its work then comes in smaller, dearer batches."""
    busy = cell.busy(name)
    return cell.notes(name) + ([f"busy {busy:.0%}"] if busy is not None and busy < _BUSY_ENOUGH else [])


def _figure(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def _machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}, Python {platform.python_version()}"
