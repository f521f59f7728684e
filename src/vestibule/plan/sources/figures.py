"""The source that shows what is going on: pages that the control process wrote for all workers, some seconds ago.

Facts: a worker knows its own figures alone. Whoever scrapes wants those of the whole proxy, whichever worker answers.

Rules
  Nothing is written here: a page is bytes with a type. Before the first one came, the answer says to come again.
  Which of its pages a request gets follows from what the originals look at: the Accept of a scraper, `?auto`, `;csv`.

Not here: collecting and writing (`control/metrics/`).
"""

from typing import Final

from vestibule.contract import Source
from vestibule.exchange import Exchange

_SOON: Final = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Retry-After", b"2"), (b"Cache-Control", b"no-store")]


class PageBook:
    """The pages of now, by key: a type, and the text."""

    def __init__(self) -> None:
        self._pages: dict[str, tuple[bytes, bytes]] = {}

    def take(self, pages: dict[str, str]) -> None:
        """Show these from now on, and no others. The first line of each is its type."""
        made: dict[str, tuple[bytes, bytes]] = {}
        for key, text in pages.items():
            kind, _, body = text.partition("\n")
            made[key] = (kind.encode("utf-8", "replace"), body.encode("utf-8", "replace"))
        self._pages = made

    def find(self, key: str) -> tuple[bytes, bytes] | None:
        """Return the type and the text of a page, or None."""
        return self._pages.get(key)


class Figures(Source):
    """Answers GET and HEAD with a page. `other` is shown where a request asks for it: by its field Accept, or by words in its target."""

    def __init__(self, book: PageBook, page: str, other: str, accept: bytes, words: bytes, refresh_s: int) -> None:
        self._book = book
        self._page = page
        self._other = other
        self._accept = accept
        self._words = words
        self._refresh_s = refresh_s

    def start(self, ex: Exchange) -> None:
        if ex.request.method not in (b"GET", b"HEAD"):
            ex.answer(405, [(b"Allow", b"GET, HEAD"), (b"Content-Type", b"text/plain; charset=utf-8")], b"405: only GET and HEAD\n")
            return
        is_other = self._wants_other(ex)
        page = self._book.find(self._other if is_other else self._page)
        if page is None:
            ex.answer(503, _SOON, b"503: the figures are being collected; try again in some seconds\n")
            return
        headers = [(b"Content-Type", page[0]), (b"Cache-Control", b"no-store")]
        if self._refresh_s > 0 and not is_other and page[0].startswith(b"text/html"):
            headers.append((b"Refresh", b"%d" % self._refresh_s))
        ex.answer(200, headers, page[1])

    def _wants_other(self, ex: Exchange) -> bool:
        if self._accept:
            return self._accept in (ex.request.fields.get(b"accept") or b"")
        return self._words != b"" and self._words in ex.request.target
