"""Answers as Immich gives them: files with ranges, JSON with a validator, and errors as JSON.

Facts: Express sends files with a weak ETag and `no-transform`, and JSON with a strong ETag; a
fitting `If-None-Match` or `If-Modified-Since` gives 304 (RFC 9110 13.1).
Not here: which answer to give.
"""

import gzip
import hashlib
import json
import os
from email.utils import parsedate_to_datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

MEDIA_CACHING = "private, max-age=86400, no-transform, stale-while-revalidate=2592000, stale-if-error=2592000"
# Below this, compressing costs more bytes than it saves.
COMPRESS_FROM = 1024


def json_answer(request: Request, value: object, status: int = 200) -> Response:
    """Answer `value` as JSON, compressed if it is large and the client takes gzip."""
    text = json.dumps(value, separators=(",", ":")).encode()
    return text_answer(request, text, "application/json; charset=utf-8", None, status)


def error(request: Request, status: int, message: str) -> Response:
    """Answer an error in the shape the Immich apps read."""
    return json_answer(request, {"message": message, "statusCode": status}, status)


def text_answer(request: Request, text: bytes, media_type: str, caching: str | None, status: int = 200) -> Response:
    """Answer `text` with a strong ETag, or 304 when the client has it already."""
    headers = {"Content-Type": media_type, "Vary": "Accept-Encoding"}
    if caching is not None:
        headers["Cache-Control"] = caching
    if len(text) >= COMPRESS_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        text = gzip.compress(text, 6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    headers["ETag"] = f'"{hashlib.sha1(text, usedforsecurity=False).hexdigest()}"'
    if status == 200 and _is_fresh(request, headers["ETag"], None):
        return Response(status_code=304, headers=headers)
    return Response(text, status, headers)


def file_answer(request: Request, path: Path, media_type: str, name: str) -> Response:
    """Answer a file: whole, in part (206), not at all (416), or not again (304)."""
    stat = os.stat(path)
    etag = f'W/"{stat.st_size:x}-{int(stat.st_mtime * 1000):x}"'
    headers = {"Cache-Control": MEDIA_CACHING, "ETag": etag}
    if _is_fresh(request, etag, stat.st_mtime):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        path,
        headers=headers,
        media_type=media_type,
        filename=name,
        stat_result=stat,
        content_disposition_type="inline",
    )


def _is_fresh(request: Request, etag: str, changed_at: float | None) -> bool:
    """Say whether the client's copy is current. If-None-Match wins (RFC 9110 13.2.2)."""
    if request.method not in ("GET", "HEAD"):
        return False
    known = request.headers.get("if-none-match")
    if known is not None:
        # Weak comparison (RFC 9110 8.8.3.2).
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return known.strip() == "*" or etag.removeprefix("W/") in tags
    since = request.headers.get("if-modified-since")
    if since is None or changed_at is None:
        return False
    try:
        return int(changed_at) <= parsedate_to_datetime(since).timestamp()
    except ValueError:
        # RFC 9110 13.1.3: a field which is not a date is ignored.
        return False
