"""Every source file has its tests where one looks for them: `src/vestibule/a/b.py` in `tests/a/test_b.py`, or where `ELSEWHERE` says.

A file is tested elsewhere when it is a part of something that only makes sense whole; the table says of what.
"""

from fnmatch import fnmatchcase
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src" / "vestibule"

ELSEWHERE = {
    # A language is tested by files in it and what they mean, and beside the program whose language it is.
    "dialects/nginx/*": "dialects/nginx",
    "dialects/apache/*": "dialects/apache",
    "dialects/haproxy/*": "dialects/haproxy",
    "dialects/caddy/*": "dialects/caddy",
    "dialects/toml/*": "dialects/toml",
    "dialects/*.py": "dialects/same",
    # The parts of one codec, through its door.
    "http/h2_response.py": "http/test_h2_client.py",
    "http/h2_*.py": "http/test_h2.py",
    "http/huffman.py": "http/test_hpack.py",
    # Connections are tested by whole exchanges and by the contract they keep.
    "proxy/pool.py": "proxy/pool",
    "proxy/down_h1.py": "plays",
    "proxy/up_h1.py": "plays",
    "proxy/down_h2.py": "h2",
    "proxy/frames.py": "h2",
    "proxy/up_h2.py": "h2",
    "net/*transport.py": "conformance/test_transport.py",
    # Steps and sources, by what a plan does with them.
    "plan/steps/forward.py": "plan/test_forward.py",
    "plan/steps/bandwidth.py": "plays/test_bandwidth.py",
    "plan/steps/body.py": "dialects/haproxy/test_bodies.py",
    "plan/steps/*.py": "plan",
    "plan/sources/files.py": "e2e/test_files.py",
    "plan/sources/*.py": "plan/test_sources.py",
    "plan/sent.py": "plan/test_forward.py",
    "plan/request_id.py": "plan/test_variables.py",
    "plan/fault_log.py": "plan",
    "compile_*.py": "test_compile.py",
    "model/check_*.py": "model/test_check.py",
    "model/findings.py": "model/test_check.py",
    # Parts of the configuration, through its door.
    "model/*.py": "model/test_config.py",
    # Orders, by giving them to an issuer.
    "control/acme/records.py": "control/acme/test_store.py",
    "control/acme/client.py": "control/acme/test_work.py",
    "control/acme/order.py": "control/acme/test_work.py",
    "control/acme/proof.py": "control/acme/test_work.py",
    "control/acme/keeper.py": "e2e/test_acme.py",
    "cli_cert.py": "e2e/test_acme.py",
    # Processes, by running them.
    "control/admin.py": "control/test_main.py",
    "control/lists.py": "dialects/haproxy/test_commands.py",
    "control/tables.py": "dialects/haproxy/test_commands.py",
    "control/pairs.py": "dialects/haproxy/test_commands.py",
    "control/supervisor.py": "control/test_reload.py",
    "worker.py": "control/test_process.py",
    "start_worker.py": "control/test_process.py",
    "originals/launch.py": "originals",
    "originals/caddy_tools.py": "originals/test_caddy.py",
    "__main__.py": "test_cli.py",
}


def sources() -> list[str]:
    return sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path.name != "__init__.py")


def has_own(name: str) -> bool:
    path = Path(name)
    return (TESTS / path.parent / f"test_{path.name}").is_file()


def elsewhere(name: str) -> str | None:
    return next((place for pattern, place in ELSEWHERE.items() if fnmatchcase(name, pattern)), None)


def test_every_source_has_its_tests() -> None:
    assert [name for name in sources() if not has_own(name) and elsewhere(name) is None] == []


def test_the_table_points_at_tests_and_names_nothing_in_vain() -> None:
    assert [place for place in ELSEWHERE.values() if not (TESTS / place).exists()] == []
    orphans = [name for name in sources() if not has_own(name)]
    assert [pattern for pattern in ELSEWHERE if not any(fnmatchcase(name, pattern) for name in orphans)] == []
