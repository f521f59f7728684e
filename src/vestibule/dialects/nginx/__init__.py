"""nginx's configuration language, as far as it proxies HTTP.

Facts: a file may be whole (``nginx.conf``) or a fragment as people keep it in ``conf.d`` (a bare ``server``).

Rules: what is not supported is an error or a warning, never silence; the table is ``directives``.
"""

from __future__ import annotations

from vestibule.dialects.nginx.flow import REASONS
from vestibule.dialects.nginx.lower import parse

__all__ = ["REASONS", "parse"]
