"""Render the table of who does what with hostile input: `python -m tests.attack [--write]`.

It starts Debian's nginx, HAProxy, Caddy and httpd beside vestibule, which takes two minutes, and prints the page; with
`--write` it goes to `docs/attacks.md`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.attack import answers, requests
from tests.attack.programs import PROGRAMS, running
from tests.attack.recorder import Recorder
from tests.e2e import cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
GROUPS = {
    "Content-Length": cases.LENGTH,
    "Transfer-Encoding": cases.CODINGS,
    "Chunks": cases.CHUNKS,
    "Lines and fields": cases.SYNTAX,
    "Host": cases.HOSTS,
    "The request line": cases.LINES,
    "Targets": cases.TARGETS,
    "Sizes": cases.LIMITS,
    "Expect": cases.EXPECTATIONS,
}
VERSIONS = {
    "nginx": ["nginx", "-v"],
    "haproxy": ["haproxy", "-v"],
    "caddy": ["caddy", "version"],
    "apache": ["apache2", "-v"],
}
HEAD = """\
# Hostile input: who does what

The same bytes to vestibule and to four other proxies, each in front of one upstream and configured as plainly as its documentation
shows it. `PYTHONPATH=src:. python -m tests.attack --write` makes this page; that vestibule refuses every case is a test
(`tests/e2e/test_strict.py`, `tests/e2e/test_upstream_faults.py`), and so is that every case stands here.

Programs: {versions}.
"""
REQUESTS = """\
## Requests

A status or `closed`: refused, and nothing reached the upstream. `cut`: the head had been forwarded when the fault appeared in the
body, and the request was given up. `mended`: forwarded as something that can be read in one way only. **`PASSED`**: forwarded with
the bytes that make it ambiguous, or over what vestibule allows; another reader behind may understand them differently.
`hangs`: no answer within the wait.
"""
ANSWERS = """\
## Answers of a broken or malicious upstream

A status or `closed`: the client got an error. `cut`: it could see that the answer was not whole. `mended`: it got something that can
be read in one way only. **`PASSED`**: it got the bytes that make it ambiguous. **`WHOLE`**: it got a part, and was told that this is
the whole. **`POISONED`**: the next request got bytes that belonged to this answer.
"""
BAD = (requests.PASSED, answers.WHOLE, answers.POISONED)

Rows = dict[str, dict[str, str]]


def ask_all(folder: Path, judge: Callable[[str, int, Recorder], str], names: list[str]) -> Rows:
    """Put every case to every program."""
    rows: Rows = {name: {} for name in names}
    for program in PROGRAMS:
        recorder = Recorder()
        with running(program, folder / program, recorder.port) as port:
            for name in names:
                rows[name][program] = judge(name, port, recorder)
        recorder.close()
    return rows


def table(title: str, rows: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Write a table: one row a case, one column a program, and how many each let through."""
    lines = [f"### {title}", ""] if title else []
    lines += ["| case | " + " | ".join(PROGRAMS) + " |", "| --- |" + " --- |" * len(PROGRAMS)]
    for name, row in rows.items():
        shown = [f"**{row[each]}**" if row[each] in BAD else row[each] for each in PROGRAMS]
        lines.append(f"| {label(name)} | " + " | ".join(shown) + " |")
    counts = [str(len([row for row in rows.values() if row[each] in BAD])) for each in PROGRAMS]
    return [*lines, "| *let through* | " + " | ".join(counts) + " |", ""]


def label(name: str) -> str:
    """Write the name of a case so that it fits a cell."""
    short = name if len(name) <= 60 else name[:57] + "…"
    return short.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def versions() -> str:
    """Say what was run."""
    said = []
    for program, command in VERSIONS.items():
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        words = (done.stdout + done.stderr).replace("/", " ").replace("v", " ", 1).split()
        said.append(f"{program} {next(word for word in words if word[0].isdigit())}")
    return ", ".join(said)


def page(folder: Path) -> str:
    """Make the page."""
    by_name = {case.name: case for case in cases.CASES}
    asked = ask_all(folder / "requests", lambda name, port, recorder: requests.outcome(by_name[name], port, recorder), list(by_name))
    answered = ask_all(
        folder / "answers", lambda name, port, recorder: answers.outcome(answers.CASES[name], port, recorder), list(answers.CASES)
    )
    lines = [HEAD.format(versions=versions()), REQUESTS]
    for title, group in GROUPS.items():
        lines += table(title, {case.name: asked[case.name] for case in group})
    lines += [ANSWERS, *table("", answered)]
    return "\n".join(lines).rstrip("\n") + "\n"


def main(words: list[str]) -> int:
    """Print or write the page."""
    if words not in ([], ["--write"]):
        sys.stderr.write("usage: python -m tests.attack [--write]\n")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "requests").mkdir()
        (folder / "answers").mkdir()
        text = page(folder)
    if words:
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
