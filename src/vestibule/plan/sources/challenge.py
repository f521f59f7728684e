"""The source that answers an issuer who looks whether a name is ours (HTTP-01).

Facts: the answer is the token's key authorization as text (RFC 8555 8.3). Tokens are base64url.

Rules: only a token that was issued for us is answered, whatever host is asked; every other path is the site's.
"""

from typing import Final

from vestibule.contract import Source
from vestibule.exchange import Exchange
from vestibule.fault import PROXY_NO_ROUTE, Fault

CHALLENGES: Final = b"/.well-known/acme-challenge/"


class OpenTokens:
    """The tokens that are open in a worker, with their answers. Empty but for the seconds an order takes."""

    def __init__(self) -> None:
        self.answers: dict[bytes, bytes] = {}

    def find(self, target: bytes) -> bytes | None:
        """Return the answer for a request target, or None."""
        if not target.startswith(CHALLENGES):
            return None
        return self.answers.get(target[len(CHALLENGES) :].partition(b"?")[0])


class Challenge(Source):
    """Answers a token."""

    def __init__(self, tokens: OpenTokens) -> None:
        self._tokens = tokens

    def start(self, ex: Exchange) -> None:
        answer = self._tokens.find(ex.request.target)
        if answer is None:
            ex.fail(Fault(PROXY_NO_ROUTE))
        else:
            ex.answer(200, [(b"Content-Type", b"application/octet-stream"), (b"Cache-Control", b"no-store")], answer)
