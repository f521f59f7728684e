"""Read one multipart upload from the wire straight into a file, hashing as it goes.

Facts: the file is the part named `assetData`; everything else is a short text field. Its SHA-1 is
what Immich knows a picture by.
Rules: memory does not grow with the file. A part file is removed unless the upload was whole.
"""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE_PART = b"assetData"
MAX_FIELD = 64 * 1024


class BadUpload(Exception):
    """The body was not the multipart form which an Immich client sends; the text says why."""


class Upload:
    """One upload. Feed it, then look at `path`, `checksum`, `file_name` and `fields`."""

    def __init__(self, content_type: str, folder: Path) -> None:
        """Prepare to read a body of `content_type`. Raises BadUpload if that is no form."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise BadUpload("the body must be multipart/form-data with a boundary")
        self.fields: dict[str, bytes] = {}
        self.file_name = ""
        self.media_type = "application/octet-stream"
        self.path: Path | None = None
        self.is_whole = False
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        # Closed by close(), because it outlives this function.
        self._file = tempfile.NamedTemporaryFile(dir=folder, suffix=".upload", delete=False)  # noqa: SIM115
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._part = b""
        callbacks: MultipartCallbacks = {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }
        self._parser = MultipartParser(options[b"boundary"], callbacks)

    @property
    def checksum(self) -> str:
        """The SHA-1 of the file so far, in hexadecimal."""
        return self._sha1.hexdigest()

    async def read(self, body: AsyncIterator[bytes]) -> None:
        """Take the whole body. Raises BadUpload on a malformed or incomplete form."""
        try:
            async for piece in body:
                self._parser.write(piece)
            self._parser.finalize()
        except FormParserError as problem:
            raise BadUpload(str(problem)) from problem
        if not self.is_whole:
            raise BadUpload("Unexpected end of form")
        if self.path is None:
            raise BadUpload("the form has no part named assetData")
        self._file.flush()

    def close(self, keep: bool) -> None:
        """Let go of the part file; delete it unless `keep`."""
        self._file.close()
        if not keep:
            Path(self._file.name).unlink(missing_ok=True)

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._part = options.get(b"name", b"")
        if self._part == FILE_PART:
            self.path = Path(self._file.name)
            self.file_name = options.get(b"filename", b"upload").decode("utf-8", "replace")
            self.media_type = self._headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
        self._headers = {}

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == FILE_PART:
            piece = memoryview(data)[start:end]
            self._sha1.update(piece)
            self._file.write(piece)
            return
        name = self._part.decode("utf-8", "replace")
        self.fields[name] = self.fields.get(name, b"") + data[start:end]
        if len(self.fields[name]) > MAX_FIELD:
            raise BadUpload(f"the field {name!r} is longer than {MAX_FIELD} bytes")

    def _on_end(self) -> None:
        self.is_whole = True
