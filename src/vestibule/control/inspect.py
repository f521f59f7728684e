"""Everything that can be known of a configuration without serving it: for `vestibule check`.

Rules: opens files to read only; makes nothing, binds nothing, asks no DNS. The local CA is not made for a check.

Not here: mistakes within the text (`dialects`, `model/check.py`).
"""

from __future__ import annotations

from vestibule.control.accounts import AccountError, account_of
from vestibule.control.certs import load
from vestibule.control.reload import problems_of
from vestibule.control.source import Draft
from vestibule.model.diagnostic import Diagnostic, Severity, Span


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
    loaded = load(draft.config, draft.base)
    lines += problems_of(draft, loaded.problems)
    ok = draft.ok and not loaded.errors
    try:
        account_of(draft.config.process)
    except AccountError as bad:
        # Whoever checks need not be who will run it.
        lines.append(Diagnostic(Span(draft.name, key="process"), Severity.WARNING, "account", str(bad)).render())
    return Findings(lines, ok)
