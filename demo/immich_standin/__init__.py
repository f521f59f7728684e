"""A small gallery that behaves like Immich on the wire, for demonstration and tests.

Facts: Immich is a Node server. It streams uploads to disk, answers files with ranges and weak
validators, speaks Engine.IO over a WebSocket, and closes idle connections after five seconds.
Rules: nothing here is imported by the proxy, and nothing here imports the proxy.
Not here: accounts, albums, search. Whoever knows the demo password may sign in, and need not.
"""

from immich_standin.routes import app, make_app

__all__ = ["app", "make_app"]
