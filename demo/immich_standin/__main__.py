"""Serve the stand-in: `python -m immich_standin --port 2283`.

Rules: port 0 takes a free port, and the chosen address is always the first line printed, so that
a script can wait for it.
"""

import argparse
import asyncio
import socket
from pathlib import Path

import uvicorn

from immich_standin.routes import make_app

# Node's default, which Immich does not change: an idle connection is closed after five seconds.
KEEP_ALIVE_S = 5


def open_port(host: str, port: int) -> socket.socket:
    """Bind and listen on `host:port`; the caller owns the socket. Raises OSError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named in full: asyncio turns off Nagle's algorithm, as Node does, only where it sees this protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def settings(data: Path | None, verbose: bool) -> uvicorn.Config:
    """Return the server settings which make uvicorn look like Node from outside."""
    return uvicorn.Config(
        make_app(data),
        http="h11",
        ws="websockets-sansio",
        # The gallery sends Engine.IO pings, as Immich does; WebSocket pings would hide a proxy
        # which closes idle tunnels.
        ws_ping_interval=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        # Show the page what really arrived. Immich reads the X-Forwarded fields itself.
        proxy_headers=False,
        server_header=False,
        headers=[("Keep-Alive", f"timeout={KEEP_ALIVE_S}"), ("X-Powered-By", "Express")],
        log_level="info" if verbose else "warning",
    )


def main() -> None:
    """Read the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="immich_standin", description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=2283, help="port; 0 takes a free one")
    parser.add_argument("--data", type=Path, help="folder for pictures (default: a temporary one)")
    parser.add_argument("--verbose", action="store_true", help="print every request")
    options = parser.parse_args()
    try:
        listener = open_port(options.host, options.port)
    except OSError as error:
        parser.exit(1, f"immich_standin: cannot listen on port {options.port}: {error.strerror}\n")
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"immich stand-in on http://{host}:{listener.getsockname()[1]}", flush=True)
    server = uvicorn.Server(settings(options.data, options.verbose))
    try:
        asyncio.run(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        # uvicorn has already stopped cleanly and raises the signal again afterwards.
        pass


if __name__ == "__main__":
    main()
