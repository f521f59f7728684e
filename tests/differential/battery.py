"""The requests that every configuration is asked, and how a configuration asks more.

Rules: data only. A line `#? METHOD TARGET | Name: value | Name: value | =body` in a case adds a request to those of the battery.
"""

from dataclasses import dataclass

HOST = "photos.example.org"


@dataclass(frozen=True)
class Ask:
    """One request. Without a Host among its fields it asks for `HOST` on the port of the case."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.fields}"


BATTERY = (
    Ask("GET", "/"),
    Ask("GET", "/api/server/ping", (("Accept", "application/json"), ("User-Agent", "immich"))),
    Ask("HEAD", "/api/server/ping"),
    Ask("GET", "/photos/a%20b.jpg?size=preview&key=x%2Fy"),
    Ask("GET", "/%C3%A4?q=%C3%A4"),
    Ask("GET", "/plus+and~tilde(1)"),
    Ask("POST", "/api/assets", (("Content-Type", "application/octet-stream"), ("x-immich-checksum", "abc")), b"0123456789" * 10),
    Ask("PUT", "/api/assets/1", (("Content-Type", "application/json"),), b"{}"),
    Ask("DELETE", "/api/assets/1"),
    Ask("OPTIONS", "/api/assets", (("Origin", "https://other.example"), ("Access-Control-Request-Method", "POST"))),
    Ask("GET", "/", (("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"), ("X-Real-IP", "198.51.100.8"))),
    Ask("GET", "/", (("Cookie", "a=1; immich_access_token=abc"), ("Authorization", "Bearer abc"), ("X-Custom", "two words"))),
    Ask("GET", "/", (("Host", f"{HOST}:8443"),)),
    Ask("GET", "/", (("Host", "other.example"),)),
    Ask("GET", "/up/redirect"),
    Ask("GET", "/up/redirect-away"),
    Ask("GET", "/up/redirect-path"),
    Ask("GET", "/up/missing"),
    Ask("GET", "/up/error"),
    Ask("GET", "/up/empty"),
    Ask("GET", "/up/cookies"),
    Ask("GET", "/up/chunked"),
    Ask("GET", "/up/part", (("Range", "bytes=0-3"),)),
    Ask("GET", "/up/unchanged", (("If-None-Match", '"1"'),)),
)


def asked_by(text: str) -> list[Ask]:
    """Return the requests that a case adds."""
    found: list[Ask] = []
    for line in text.splitlines():
        if not line.startswith("#? "):
            continue
        first, *rest = [part.strip() for part in line[3:].split("|")]
        method, target = first.split(" ", 1)
        fields = [part.split(": ", 1) for part in rest if not part.startswith("=")]
        body = "".join([part[1:] for part in rest if part.startswith("=")])
        found.append(Ask(method, target, tuple([(name, value) for name, value in fields]), body.encode()))
    return found
