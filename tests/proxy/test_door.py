"""What all connections of a listener share, besides plans, which plays are about."""

from vestibule.proxy.door import Refusals


class Heard(Refusals):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, dict[str, str]]] = []

    def tell(self, text: str, details: dict[str, str]) -> None:
        self.lines.append((text, details))


def test_refused_clients_are_told_once_a_second() -> None:
    heard = Heard()
    for now in (0, 1, 999, 1000, 1500):
        heard.note(now, {"client": str(now)}, "certificate revoked")
    assert heard.lines == [
        ("a client was refused at its TLS handshake: certificate revoked", {"client": "0"}),
        ("a client was refused at its TLS handshake: certificate revoked", {"client": "1000", "held_back": "2"}),
    ]


def test_nobody_need_listen() -> None:
    Refusals().note(0, {}, "certificate revoked")
