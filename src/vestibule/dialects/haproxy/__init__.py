"""HAProxy's configuration language, as of versions 2.6 to 2.8.

Facts: the language is described in HAProxy's configuration manual; what of it is carried out stands in ``directives``.
"""

from __future__ import annotations

from vestibule.dialects.haproxy.lower import parse, parse_files

__all__ = ["parse", "parse_files"]
