"""A zip file written as it is sent, so that its size is known to nobody beforehand.

Rules: one piece of one file is in memory at a time.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PIECE = 256 * 1024


class _Sink(io.RawIOBase):
    """What zipfile writes to: keeps the bytes until they are taken. It cannot seek or tell."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces = []
        return data


def zip_pieces(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield the bytes of a zip holding `files`, each a name and where it lies."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    yield sink.take()
    yield sink.take()
