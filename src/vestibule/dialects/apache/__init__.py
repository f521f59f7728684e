"""Apache httpd's configuration language, as far as it proxies HTTP.

Facts: a file may be whole (``httpd.conf``, ``apache2.conf``) or a site file as people keep it in ``sites-enabled``.

Rules: what is not supported is an error or a warning, never silence; the table is ``directives``.
"""

from __future__ import annotations

from vestibule.dialects.apache.directives import DIRECTIVES
from vestibule.dialects.apache.lower import parse
from vestibule.dialects.apache.tree import MODULES

__all__ = ["DIRECTIVES", "MODULES", "parse"]
