"""Vestibule: a reverse proxy for Immich and any other HTTP service.

Start with `exchange.py`, then `docs/internals/life-of-a-request.md`.
"""

__version__ = "0.1.0"
