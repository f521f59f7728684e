"""Caddy's configuration language, as of versions 2.6 to 2.10.

Facts: the language is described in Caddy's documentation; what of it is carried out stands in ``directives``.
"""

from __future__ import annotations

from vestibule.dialects.caddy.lower import parse

__all__ = ["parse"]
