"""Caddy's configuration language, as of versions 2.6 to 2.10.

Facts: the language is described in Caddy's documentation; what of it is carried out stands in ``directives``.
"""

from __future__ import annotations

from vestibule.dialects.caddy.directives import DIRECTIVES
from vestibule.dialects.caddy.lower import parse

__all__ = ["parse", "supported"]


def supported() -> list[str]:
    """Return the names of the directives that are carried out."""
    return [name for name, row in DIRECTIVES.items() if row.state == "supported"]
