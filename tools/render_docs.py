"""Render the reference pages from the tables they document, or check that they are as rendered.

Usage: ``python tools/render_docs.py [--check]``

Facts: the pages are ``docs/reference/configuration.md`` (keys of the TOML language and their model), ``variables.md``
(variables and functions), ``faults.md`` (what can go wrong with a request), ``nginx.md`` and ``apache.md`` (what becomes of each
directive of those). The text of a key is the string under the
field it sets, so a field without such a string is an error here.

Rules: never edit the pages; edit the tables and run this. ``--check`` writes nothing and exits 1 where a page differs.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from vestibule.dialects.apache import directives as apache  # noqa: E402 - found only now
from vestibule.dialects.nginx import directives as nginx  # noqa: E402
from vestibule.dialects.toml import schema  # noqa: E402
from vestibule.dialects.toml.form import Shape  # noqa: E402
from vestibule.dialects.toml.table import Key, Table  # noqa: E402
from vestibule.fault import KINDS, SIDE_NAMES  # noqa: E402
from vestibule.model import config as model  # noqa: E402
from vestibule.model.vocabulary import FUNCTIONS, VARIABLES  # noqa: E402

FOLDER = ROOT / "docs" / "reference"

NOTICE = "<!-- Rendered by tools/render_docs.py; edit the tables, not this page. -->\n"

ORDER = (
    schema.ROOT,
    schema.SITE,
    schema.ROUTE,
    schema.RESPOND,
    schema.REDIRECT,
    schema.FILES,
    schema.OTHERWISE,
    schema.METRICS,
    schema.ERROR,
    schema.ACTION,
    schema.AUTH_REQUEST,
    schema.SET_TIMEOUTS,
    schema.KEEP_ALIVE,
    schema.READ_BODY,
    schema.SUBSTITUTE,
    schema.RATE_LIMIT,
    schema.CONCURRENCY_LIMIT,
    schema.BANDWIDTH_LIMIT,
    schema.COUNT_TABLE,
    schema.ANSWER,
    schema.HSTS,
    schema.UPSTREAM,
    schema.SERVER,
    schema.UPSTREAM_TLS,
    schema.POOL,
    schema.RETRY,
    schema.BALANCE,
    schema.STICKY,
    schema.PASSIVE,
    schema.OUTLIERS,
    schema.HEALTH,
    schema.AGENT,
    schema.EVENT_LOG,
    schema.LISTENER,
    schema.TCP_ROUTE,
    schema.SESSIONS,
    schema.CERTIFICATE,
    schema.ACME,
    schema.ON_DEMAND,
    schema.ISSUER,
    schema.DNS_PROVIDER,
    schema.TLS_PROFILE,
    schema.TIMEOUTS,
    schema.LIMITS,
    schema.FORWARDING,
    schema.ACCESS_LOG,
    schema.COMPRESSION,
    schema.ERROR_LOG,
    schema.SYSLOG,
    schema.PROCESS,
    schema.COMMAND_SOCKET,
)
"""Every table, as the page has them: first what most people need."""

INLINE = {
    *("files", "otherwise", "errors", "auth_request", "set_timeouts", "keep_alive", "rate_limit", "concurrency_limit", "bandwidth_limit"),
    *("compress", "listeners.NAME.routes", "upstreams.NAME.events", "servers", "actions", "respond", "redirect", "hsts", "routes"),
}
"""Tables that are written inside others and have no header of their own."""


def field_docs(module: object = model) -> dict[str, dict[str, str]]:
    """Return the string under each field of each class that a module holds. Raises ``ValueError`` for a field without one."""
    docs: dict[str, dict[str, str]] = {}
    homes = sorted({held.__module__ for held in vars(module).values() if isinstance(held, type) and dataclasses.is_dataclass(held)})
    for home in homes:
        for node in ast.parse(inspect.getsource(sys.modules[home])).body:
            if isinstance(node, ast.ClassDef):
                docs[node.name] = _class_docs(node)
    return docs


def _class_docs(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, item in enumerate(node.body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        after = node.body[at + 1] if at + 1 < len(node.body) else None
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)):
            raise ValueError(f"{node.name}.{item.target.id} has no string under it")
        found[item.target.id] = " ".join(after.value.value.split()).replace("``", "`")
    return found


def key_doc(table: Table, key: Key, docs: dict[str, dict[str, str]]) -> str:
    """Return what a key is for: its own text, or that of its field."""
    return key.doc or docs[table.cls.__name__][key.field]


def default_of(table: Table, key: Key) -> str:
    """Return the default of a key as it would be written; empty where there is none to write."""
    if not key.field or isinstance(key.form, Shape):
        return ""
    for field in dataclasses.fields(table.cls):
        if field.name == key.field:
            if field.default is dataclasses.MISSING or field.default in (None, "", ()):
                return '"unlimited"' if field.default is None and "unlimited" in key.form.type_name else ""
            return key.form.write(field.default)
    raise ValueError(f"{table.title}.{key.name} sets no field of {table.cls.__name__}")


def cell(text: str) -> str:
    """Return text for one cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def configuration() -> str:
    """Return the page of the TOML language."""
    docs = field_docs()
    lines = [NOTICE, "# Configuration reference", ""]
    lines += ["Every key of the TOML language. [The guide](../configuration.md) shows how they go together.", ""]
    for table in ORDER:
        lines += _table(table, docs)
    return "\n".join(lines).rstrip("\n") + "\n"


def heading(table: Table) -> str:
    """Return how a table is written: its header, or its key."""
    if not table.title:
        return "Top of the file"
    return f"`{table.title}`" if table.title in INLINE else f"`[{table.title}]`"


def _table(table: Table, docs: dict[str, dict[str, str]]) -> list[str]:
    lines = [f"## {heading(table)}", "", table.doc, "", "| key | value | default | |", "| --- | --- | --- | --- |"]
    for key in table.keys:
        default = default_of(table, key)
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{key.name}` | {cell(key.form.type_name)} | {cell(shown)} | {cell(key_doc(table, key, docs))} |")
    lines += ["", "```toml"]
    lines += [f"{key.name} = {key.example}" for key in table.keys]
    return [*lines, "```", ""]


def variables() -> str:
    """Return the page of variables and functions."""
    lines = [NOTICE, "# Variables and functions", ""]
    lines += [
        "A template is text with expressions in braces: `https://{host}{target}`. A test is an expression that is true or"
        ' false: `method == "POST" and not tls`. `{{` and `}}` are braces.',
        "",
        "| expression | |",
        "| --- | --- |",
        '| `name`, `name:argument` | a variable; an argument with odd characters is quoted: `header:"X Y"` |',
        '| `"text"`, `42`, `true`, `false` | a constant; texts are written as in JSON |',
        "| `a ?? b` | b where a is absent or empty |",
        "| `==` `!=` | equal or not, as texts or as numbers |",
        "| `<` `<=` `>` `>=` | comparison of numbers |",
        '| `a ~ "regex"`, `a ~* "regex"` | a regular expression is found in a; with a star in any case |',
        '| `a in ["x", "y"]`, `a in* […]` | a is one of the texts; with a star in any case |',
        '| `a within ["10.0.0.0/8"]` | a is an address in one of the networks |',
        "| `not a`, `a and b`, `a or b`, `( … )` | tests combined; `not` binds tightest, `or` loosest |",
        "| `if(test, a, b)`, `concat(a, b)` | one of two values; texts joined |",
        "",
        "## Variables",
        "",
        "A value that is absent is empty. *From* says when a value is known first: a header of a request can hold what is known"
        " by `request`, a header of a response what is known by `response`, a log line everything.",
        "",
        "| variable | kind | from | | nginx | Caddy | Apache | HAProxy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in VARIABLES.values():
        name = f"{row.name}:{row.argument.upper()}" if row.argument else row.name
        spellings = [f"`{each}`" if each else "" for each in (row.nginx, row.caddy, row.apache, row.haproxy)]
        cells = [f"`{name}`", row.kind.value, row.phase.name.lower(), row.doc, *spellings]
        lines.append("| " + " | ".join([cell(each) for each in cells]) + " |")
    lines += ["", "## Functions", "", "| function | yields | |", "| --- | --- | --- |"]
    for function in FUNCTIONS.values():
        arguments = ", ".join([kind.value for kind in function.arguments])
        lines.append(f"| `{function.name}({arguments})` | {function.result.value} | {cell(function.doc)} |")
    return "\n".join(lines) + "\n"


def faults() -> str:
    """Return the page of what can go wrong with a request."""
    lines = [NOTICE, "# Faults", ""]
    lines += [
        "What can go wrong with a request. The name is in the access log (`fault`), in the error log, and on the page or in the"
        " JSON the client gets. A status of 0 means that no answer can be given any more.",
        "",
        "| fault | whose | status | | what to do |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS.values():
        cells = [f"`{kind.name}`", SIDE_NAMES[kind.side], str(kind.status), kind.text, kind.mend]
        lines.append("| " + " | ".join([cell(each) for each in cells]) + " |")
    return "\n".join(lines) + "\n"


def directives(program: str, rows: Iterable[nginx.Row | apache.Row]) -> str:
    """The page of what becomes of each directive of a program."""
    table = list(rows)
    lines = [NOTICE, f"# Directives of {program}", ""]
    counts = {how: sum(row.how.value == how for row in table) for how in ("supported", "left out", "error")}
    lines += [
        f"{counts['supported']} are supported. {counts['left out']} are left out with a warning, since they change nothing that vestibule"
        f" does. {counts['error']} are refused with an error that says what to do. A directive that is not here is an error too.",
        "",
        "| directive | stands in | | what becomes of it |",
        "| --- | --- | --- | --- |",
    ]
    lines += _rows_of(table)
    return "\n".join(lines) + "\n"


def stream() -> str:
    """The part of nginx's page about what stands inside ``stream``."""
    lines = ["", "## Inside `stream`", "", "| directive | stands in | | what becomes of it |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + _rows_of(nginx.STREAM.values())) + "\n"


def _rows_of(table: Iterable[nginx.Row | apache.Row]) -> list[str]:
    ordered = sorted(table, key=lambda row: row.name.lower())
    return [f"| `{row.name}` | {', '.join(row.contexts)} | {row.how.value} | {_cell(row.doc)} |" for row in ordered]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "variables.md": variables,
    "faults.md": faults,
    "nginx.md": lambda: directives("nginx", nginx.DIRECTIVES.values()) + stream(),
    "apache.md": lambda: directives("Apache httpd", apache.DIRECTIVES.values()),
}


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write the pages, or with ``--check`` compare them; return the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: render_docs.py [--check]", file=sys.stderr)
        return 2
    stale: list[str] = []
    for name, render in PAGES.items():
        path, text = folder / name, render()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'differs; run tools/render_docs.py' if arguments else 'written'}")
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
