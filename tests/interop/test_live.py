"""The gallery's live channel: a WebSocket in a stream of HTTP/2 (RFC 8441), beside other requests on its connection."""

import os

from websockets.frames import Frame, Opcode

from tests.e2e.client import Tunnel

from .conftest import Gallery


def say(tunnel: Tunnel, text: str) -> None:
    """Send a text message as a client does, masked (RFC 6455 5.3)."""
    tunnel.send(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))


def hear(tunnel: Tunnel) -> str:
    """Return the next text message of the server; it is in one frame and not masked."""
    first, length = tunnel.read(2)
    assert first == 0x80 | Opcode.TEXT
    if length == 126:
        length = int.from_bytes(tunnel.read(2), "big")
    assert length < 65536
    return tunnel.read(length).decode()


def test_live_channel_over_http_2(gallery: Gallery) -> None:
    tunnel = gallery.client.open_tunnel("/api/socket.io/?EIO=4&transport=websocket")
    assert hear(tunnel).startswith("0{")
    say(tunnel, "40")
    assert hear(tunnel).startswith("40")
    assert "on_server_version" in hear(tunnel)
    head = b'--frontier\r\nContent-Disposition: form-data; name="assetData"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = head + os.urandom(2000) + b"\r\n--frontier--\r\n"
    kind = ("Content-Type", "multipart/form-data; boundary=frontier")
    assert gallery.client.request("POST", "/api/assets", [kind], body).status == 201
    assert "on_upload_success" in hear(tunnel)
    tunnel.send(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
    assert tunnel.read(1)[0] == 0x80 | Opcode.CLOSE
    tunnel.close()
