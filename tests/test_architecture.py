"""Who may import whom, and what stays out of the data plane (the table that the design is drawn from)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vestibule"

COMPILE = {
    "compile_expr",
    "compile_layer4",
    "compile_log",
    "compile_once",
    "compile_state",
    "compile_steps",
    "compile_tls",
    "compile_upstream",
}

# Package (or module at the top) -> what it may import of vestibule besides itself.
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "cli": {"cli_cert", "control", "dialects", "model", "fault", "originals"},
    "cli_cert": {"cli", "control"},
    "fault": set(),
    "http": {"fault"},
    "net": {"fault"},
    "counts": set(),
    "contract": {"counts", "exchange", "fault", "http", "net"},  # the exchange by its type only
    "exchange": {"contract", "fault", "http", "net"},
    "plan": {"contract", "counts", "exchange", "fault", "http"},
    "proxy": {"contract", "counts", "exchange", "fault", "http", "net"},
    "compile": {"contract", "counts", "fault", "http", "link", "model", "net", "plan", "proxy"} | COMPILE,
    "compile_expr": {"http", "model", "plan"},
    "compile_layer4": {"contract", "fault", "model", "plan", "proxy", "compile_expr", "compile_steps", "compile_upstream"},
    "compile_log": {"contract", "counts", "model", "net", "plan", "compile_expr", "compile_state"},
    "compile_once": {"contract", "http", "model", "plan", "compile_expr"},
    "compile_state": {"counts", "net", "plan", "proxy"},
    "compile_steps": {"contract", "model", "net", "plan", "compile_expr", "compile_state"},
    "compile_tls": {"link", "model", "net", "compile_expr", "compile_state"},
    "compile_upstream": {"contract", "counts", "exchange", "fault", "http", "link", "model", "net", "plan", "proxy"}
    | {"compile_expr", "compile_state", "compile_tls"},
    "worker": {"compile", "compile_state", "link", "model", "net", "proxy"},
    "start_worker": {"worker"},
    "link": set(),
    "model": set(),
    "dialects": {"model"},
    "originals": {"control", "dialects", "model"},
    "control": {"compile", "counts", "dialects", "fault", "link", "model"},
}

DATA_PLANE = {"fault", "http", "net", "counts", "contract", "exchange", "plan", "proxy", "compile", "worker", "start_worker"} | COMPILE

# Modules of the standard library that touch the world.
WORLD = {"asyncio", "logging", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading"}

# Package -> modules it may not import; asyncio is added below for all but `control`.
BANNED: dict[str, set[str]] = {
    "http": WORLD | {"os", "io", "pathlib", "ipaddress"},
    "model": WORLD | {"os", "io", "pathlib", "time"},
    "dialects": WORLD | {"os", "io", "pathlib", "time"},
    "link": WORLD | {"io", "pathlib", "time"},
    "plan": (WORLD - {"select"}) | {"io", "pathlib", "ipaddress"},
    "proxy": WORLD - {"socket", "ssl"},
    "contract": WORLD | {"os", "time"},
    "exchange": WORLD | {"os", "time"},
}

# Expressions that are the configuration's, and syntax; nowhere else in the data plane.
MAY_USE_RE = {"plan/expr.py", "plan/functions.py", "plan/items.py", "plan/sources/files.py", "plan/switch.py"}

# Files are sent piece by piece, one in each turn; some requests wait, and go on in a turn of their own.
# Logs are sent. Passwords are judged by a thread, the only one of a worker, and the reactor is told.
MAY_USE_NET_IN_PLAN = {
    "plan/judge.py",
    "plan/sources/files.py",
    "plan/steps/ask.py",
    "plan/steps/auth_basic.py",
    "plan/steps/claim.py",
    "plan/steps/judge_first.py",
    "plan/steps/bandwidth.py",
    "plan/steps/body.py",
    "plan/steps/limit.py",
    "plan/steps/waiting.py",
    "plan/syslog_sink.py",
}

# The error log may go to a syslog server, as access logs do.
MAY_USE_NET_IN_CONTROL = {"control/logs.py"}

MAY_USE_THREADS_IN_PLAN = {"plan/judge.py"}

# `log_sink` asks pipes whether they take more.
MAY_USE_SELECT_IN_PLAN = {"plan/log_sink.py"}

LONGEST_FILE = 700


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for every import, those inside functions included; the name is empty for `import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            assert node.module is not None
            for alias in node.names:
                yield node.module, alias.name


def inner(module: str, name: str) -> str | None:
    """Return the package of vestibule that an import reaches, if it does."""
    parts = module.split(".")
    if parts[0] != "vestibule":
        return None
    if len(parts) > 1:
        return parts[1]
    return "__init__" if name.startswith("__") or not name else name


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_table(path: Path) -> None:
    package = package_of(path)
    assert package in ALLOWED, f"{package} has no row in ALLOWED"
    allowed = ALLOWED[package] | {package, "__init__"}
    if path.relative_to(SOURCE).as_posix() in MAY_USE_NET_IN_PLAN:
        allowed.add("net")
    if path.relative_to(SOURCE).as_posix() in MAY_USE_NET_IN_CONTROL:
        allowed.add("net")
    for module, name in imports(path):
        reached = inner(module, name)
        assert reached is None or reached in allowed, f"{package} may not import {module}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_banned_modules_stay_out(path: Path) -> None:
    package = package_of(path)
    where = path.relative_to(SOURCE).as_posix()
    banned = set(BANNED.get(package, set()))
    if package != "control":
        banned.add("asyncio")
    if package in DATA_PLANE:
        banned.add("logging")
        if package not in ("http", "compile", "compile_expr") and where not in MAY_USE_RE:
            banned.add("re")
        if package == "plan" and where not in MAY_USE_SELECT_IN_PLAN:
            banned.add("select")
    if where in MAY_USE_THREADS_IN_PLAN:
        banned.discard("threading")
    for module, name in imports(path):
        assert module.split(".")[0] not in banned, f"{where} may not import {module}"
        assert not (package in DATA_PLANE and module == "typing" and name == "cast"), f"{where}: a cast is a wrong type kept"


def test_no_attribute_becomes_a_word_of_c() -> None:
    """The compiler puts `_` before the names of attributes; a C file that does not compile leaves the whole package interpreted."""
    words = {f"_{word}" for word in ("thread", "inline", "asm", "volatile", "signed", "const", "restrict", "typeof", "real", "imag")}
    named = {
        f"{path.relative_to(SOURCE)}:{node.lineno}: {node.attr}"
        for path in files()
        if package_of(path) in DATA_PLANE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in words
    }
    assert named == set()


def test_a_worker_cannot_parse_a_configuration_file() -> None:
    """No way leads from the worker to the dialects."""
    reached: set[str] = set()
    waiting = ["worker"]
    while waiting:
        package = waiting.pop()
        if package not in reached:
            reached.add(package)
            waiting.extend(ALLOWED[package])
    assert not reached & {"dialects", "control", "cli"}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_is_not_too_long_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "a file begins with what it is for"


def compiled() -> list[Path]:
    return [path for path in files() if package_of(path) in DATA_PLANE or package_of(path).startswith("compile")]


@pytest.mark.parametrize("path", compiled(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_name_of_a_caught_error_has_one_type(path: Path) -> None:
    """mypyc gives all errors of one name in a function the type of the first, and raises TypeError for another."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            types: dict[str, set[str]] = {}
            for caught in ast.walk(function):
                if isinstance(caught, ast.ExceptHandler) and caught.name and caught.type:
                    types.setdefault(caught.name, set()).add(ast.unparse(caught.type))
            assert all(len(each) == 1 for each in types.values()), f"{function.name}: {types}"


def test_table_has_no_dead_rows() -> None:
    assert set(ALLOWED) == {package_of(path) for path in files()}
