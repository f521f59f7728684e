"""Strict-Transport-Security (RFC 6797).

Rules: said over TLS only (7.2), by the plans of listeners that have it; an upstream that says it itself
is replaced, since the operator of the front door decides.
"""

from vestibule.plan.expr import Const
from vestibule.plan.steps.edit import Edit, SetField


def hsts_edit(max_age_s: int, include_subdomains: bool) -> Edit:
    """Return the edit of a response that says for how long to come by TLS only."""
    value = b"max-age=%d" % max_age_s
    if include_subdomains:
        value += b"; includeSubDomains"
    return SetField(b"Strict-Transport-Security", Const(value))
