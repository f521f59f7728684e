"""The live channel: Engine.IO 4 and Socket.IO over a WebSocket, as much of them as Immich uses.

Facts: every message is text. The first digit is the Engine.IO type (0 open, 2 ping, 3 pong,
4 message); in a message the second is the Socket.IO type (0 connect, 2 event). The server pings.
Rules: whoever does not answer a ping in time is closed, which is how a proxy that swallows frames
shows.
Not here: polling. Immich serves WebSocket alone.
"""

import asyncio
import json
import uuid

from starlette.websockets import WebSocket, WebSocketDisconnect

PING_EVERY_S = 25.0
PONG_WITHIN_S = 20.0
VERSION = {"major": 2, "minor": 0, "patch": 0}


class Live:
    """Everyone who listens. `ping_every_s` is shorter in tests."""

    def __init__(self, ping_every_s: float = PING_EVERY_S) -> None:
        self._ping_every_s = ping_every_s
        self._listeners: set[WebSocket] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Speak with one client until either side closes."""
        await socket.accept()
        hello = {
            "sid": uuid.uuid4().hex,
            "upgrades": [],
            "pingInterval": int(self._ping_every_s * 1000),
            "pingTimeout": int(PONG_WITHIN_S * 1000),
            "maxPayload": 1_000_000,
        }
        await socket.send_text("0" + json.dumps(hello))
        ponged = asyncio.Event()
        pinging = asyncio.create_task(self._ping(socket, ponged))
        try:
            while True:
                await self._on_message(socket, await socket.receive_text(), ponged)
        except (WebSocketDisconnect, KeyError):
            # KeyError: a binary message, which this side of Socket.IO does not speak.
            pass
        finally:
            pinging.cancel()
            self._listeners.discard(socket)

    async def tell(self, event: str, *values: object) -> None:
        """Send an event to everyone who has connected."""
        message = "42" + json.dumps([event, *values])
        for socket in tuple(self._listeners):
            try:
                await socket.send_text(message)
            except (WebSocketDisconnect, RuntimeError):
                # Gone between two awaits; its own task cleans up.
                self._listeners.discard(socket)

    async def _on_message(self, socket: WebSocket, text: str, ponged: asyncio.Event) -> None:
        if text == "3":
            ponged.set()
        elif text == "2probe":
            await socket.send_text("3probe")
        elif text.startswith("40"):
            self._listeners.add(socket)
            await socket.send_text("40" + json.dumps({"sid": uuid.uuid4().hex}))
            await socket.send_text("42" + json.dumps(["on_server_version", VERSION]))
        elif text.startswith("42"):
            # Immich listens to no event; sending it back shows that both directions work.
            await socket.send_text(text)
        elif text in ("1", "41"):
            await socket.close()

    async def _ping(self, socket: WebSocket, ponged: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(self._ping_every_s)
            ponged.clear()
            await socket.send_text("2")
            try:
                await asyncio.wait_for(ponged.wait(), PONG_WITHIN_S)
            except TimeoutError:
                await socket.close(1001, "ping timeout")
                return
