"""Vestibule's own configuration language: TOML, short for the common case and complete for the rest.

Facts: the syntax is TOML 1.0, read by the standard library; the keys are those of ``schema``.

Rules: ``parse(write(config)) == config`` for every configuration that TOML text can carry.
"""

from __future__ import annotations

from vestibule.dialects.toml.parse import for_command_line, parse
from vestibule.dialects.toml.write import write

__all__ = ["for_command_line", "parse", "write"]
