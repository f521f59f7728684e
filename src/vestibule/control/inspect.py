"""Everything that can be known of a configuration without serving it: for `vestibule check`.

Rules: leaves nothing behind, binds nothing, asks no DNS. Where the local CA would serve, one is made that lives as long as the check.

Not here: mistakes within the text (`dialects`, `model/check.py`).
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from vestibule.control.accounts import AccountError, account_of
from vestibule.control.acme.store import DirectoryStore
from vestibule.control.authority import LocalAuthority
from vestibule.control.reload import compile_dry, gather, problems_of
from vestibule.control.source import Draft
from vestibule.model.diagnostic import Diagnostic, Severity


class Findings:
    """What was found, one line each, and whether the configuration may be used."""

    def __init__(self, lines: list[str], ok: bool) -> None:
        self.lines = lines
        self.ok = ok


def inspect(draft: Draft) -> Findings:
    """Check a configuration that was read, and the files it names."""
    lines = [each.render() for each in draft.diagnostics]
    if draft.config is None:
        return Findings(lines, False)
    with TemporaryDirectory(prefix="vestibule-check-") as passing:
        loaded = gather(draft.config, draft.base, LocalAuthority(Path(passing)), DirectoryStore(Path(passing)))
    problems = loaded.problems
    if draft.ok and not loaded.errors:
        problems = problems + compile_dry(draft.config, loaded.assets)
    lines += problems_of(draft, problems)
    ok = draft.ok and not any(each.is_error or each.fails_check for each in problems)
    try:
        account_of(draft.config.process)
    except AccountError as bad:
        # Whoever checks need not be who will run it.
        lines.append(Diagnostic(draft.place("process"), Severity.WARNING, "account", str(bad)).render())
    return Findings(lines, ok)
