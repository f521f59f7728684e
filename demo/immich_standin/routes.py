"""Every address the stand-in answers, and what it answers.

Facts: paths, status codes and header fields are those of Immich 2; what is not listed here is an
error as JSON below /api and the page's HTML everywhere else, with status 200.
Not here: how files (answers), uploads (upload) and the live channel (live) work.
"""

import asyncio
import base64
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute

from immich_standin.answers import error, file_answer, json_answer, text_answer
from immich_standin.archive import zip_pieces
from immich_standin.gallery import Asset, Gallery
from immich_standin.live import VERSION, Live
from immich_standin.upload import BadUpload, Upload

USER = {"email": "demo@example.org", "password": "demo"}
COOKIE_AGE_S = 400 * 24 * 3600
STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# What the page shows, so that a person sees whether the proxy set them.
SHOWN_FIELDS = (
    "host",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "forwarded",
    "via",
)


class Endpoints:
    """The answers, over one gallery and one live channel."""

    def __init__(self, gallery: Gallery, live: Live) -> None:
        self._gallery = gallery
        self._live = live
        self._static = files("immich_standin") / "static"

    def routes(self) -> list[BaseRoute]:
        """Return the routing table, most particular first."""
        return [
            WebSocketRoute("/api/socket.io/", self._live.serve),
            Route("/.well-known/immich", self.well_known),
            Route("/api/server/ping", self.ping),
            Route("/api/server/version", self.version),
            Route("/api/server/about", self.about),
            Route("/api/server/features", self.features),
            Route("/api/server/config", self.config),
            Route("/api/server/request", self.show_request),
            Route("/api/auth/login", self.login, methods=["POST"]),
            Route("/api/oauth/mobile-redirect", self.mobile_redirect),
            Route("/api/timeline/buckets", self.buckets),
            Route("/api/timeline/bucket", self.bucket),
            Route("/api/assets", self.upload, methods=["POST"]),
            Route("/api/assets", self.remove, methods=["DELETE"]),
            Route("/api/assets/bulk-upload-check", self.check_upload, methods=["POST"]),
            Route("/api/assets/{id}/thumbnail", self.thumbnail),
            Route("/api/assets/{id}/original", self.original),
            Route("/api/assets/{id}/video/playback", self.original),
            Route("/api/download/archive", self.archive, methods=["POST"]),
            Route("/api/sync/stream", self.sync, methods=["POST"]),
            Route("/_app/immutable/{name}", self.static),
            Route("/api/{rest:path}", self.missing, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/{rest:path}", self.shell),
        ]

    async def well_known(self, request: Request) -> Response:
        return json_answer(request, {"api": {"endpoint": "/api"}})

    async def ping(self, request: Request) -> Response:
        return json_answer(request, {"res": "pong"})

    async def version(self, request: Request) -> Response:
        return json_answer(request, VERSION)

    async def about(self, request: Request) -> Response:
        about = {"version": "v2.0.0", "versionUrl": "", "licensed": False, "build": "stand-in"}
        return json_answer(request, about)

    async def features(self, request: Request) -> Response:
        return json_answer(request, {"passwordLogin": True, "oauth": False, "trash": False})

    async def config(self, request: Request) -> Response:
        config = {"isInitialized": True, "isOnboarded": True, "loginPageMessage": "demo / demo"}
        return json_answer(request, config)

    async def show_request(self, request: Request) -> Response:
        """Tell the page how it reached us. Immich has no such address."""
        fields = {name: request.headers[name] for name in SHOWN_FIELDS if name in request.headers}
        peer = request.client.host if request.client else "a unix socket"
        return json_answer(request, {"peer": peer, "fields": fields})

    async def login(self, request: Request) -> Response:
        try:
            given = json.loads(await request.body())
        except ValueError:
            return error(request, 400, "the body is not JSON")
        if not isinstance(given, dict) or any(given.get(key) != USER[key] for key in USER):
            return error(request, 401, "Incorrect email or password")
        token = secrets.token_urlsafe(32)
        answer = json_answer(request, {"accessToken": token, "userEmail": USER["email"]}, 201)
        is_secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        for name, value, hidden in (
            ("immich_access_token", token, True),
            ("immich_auth_type", "password", True),
            ("immich_is_authenticated", "true", False),
        ):
            answer.set_cookie(name, value, COOKIE_AGE_S, secure=is_secure, httponly=hidden, samesite="lax")
        return answer

    async def mobile_redirect(self, request: Request) -> Response:
        answer = Response(status_code=307)
        # Set by hand: RedirectResponse would not let another scheme through unquoted.
        answer.headers["Location"] = f"app.immich:///oauth-callback?{request.url.query}"
        return answer

    async def buckets(self, request: Request) -> Response:
        months = Counter(asset.month for asset in self._gallery.assets())
        rows = [{"timeBucket": month, "count": count} for month, count in months.items()]
        return json_answer(request, rows)

    async def bucket(self, request: Request) -> Response:
        wanted = request.query_params.get("timeBucket", "")[:10]
        assets = [asset for asset in self._gallery.assets() if asset.month == wanted]
        columns = {
            "id": [asset.id for asset in assets],
            "fileCreatedAt": [asset.taken_at.isoformat() for asset in assets],
            "isImage": [not asset.is_film for asset in assets],
            "ratio": [1.5 for _ in assets],
            "visibility": ["timeline" for _ in assets],
            "originalFileName": [asset.name for asset in assets],
        }
        return json_answer(request, columns)

    async def upload(self, request: Request) -> Response:
        known = self._gallery.find_checksum(_hexadecimal(request.headers.get("x-immich-checksum")))
        if known is not None:
            # As Immich does: the answer leaves before the body was read.
            return json_answer(request, {"id": known, "status": "duplicate"})
        try:
            upload = Upload(request.headers.get("content-type", ""), self._gallery.folder)
        except BadUpload as problem:
            return error(request, 400, str(problem))
        is_kept = False
        try:
            await upload.read(request.stream())
            known = self._gallery.find_checksum(upload.checksum)
            if known is not None:
                return json_answer(request, {"id": known, "status": "duplicate"})
            path = Path(upload.path or "")
            asset = self._gallery.add(path, upload.file_name, upload.media_type, upload.checksum)
            is_kept = True
        except BadUpload as problem:
            return error(request, 400, str(problem))
        except ClientDisconnect:
            # Nobody hears this; it only ends the request.
            return error(request, 400, "Request aborted")
        finally:
            upload.close(keep=is_kept)
        await self._live.tell("on_upload_success", _described(asset))
        return json_answer(request, {"id": asset.id, "status": "created"}, 201)

    async def check_upload(self, request: Request) -> Response:
        results = []
        for row in (await request.json())["assets"]:
            known = self._gallery.find_checksum(_hexadecimal(row["checksum"]))
            result = {"id": row["id"], "action": "accept"}
            if known is not None:
                result |= {"action": "reject", "reason": "duplicate", "assetId": known}
            results.append(result)
        return json_answer(request, {"results": results})

    async def remove(self, request: Request) -> Response:
        ids = (await request.json())["ids"]
        for asset_id in ids:
            if not self._gallery.remove(asset_id):
                return error(request, 400, f"no asset {asset_id}")
        await self._live.tell("on_asset_delete", ids)
        return Response(status_code=204)

    async def thumbnail(self, request: Request) -> Response:
        asset = self._gallery.find(request.path_params["id"])
        if asset is None:
            return error(request, 404, "Asset not found")
        size = request.query_params.get("size", "thumbnail")
        if size == "fullsize":
            # Relative, as Immich sends it; a proxy must leave it alone.
            return RedirectResponse("original?edited=true", 302)
        if size == "preview":
            path = await run_in_threadpool(self._gallery.preview, asset)
            return file_answer(request, path, "image/jpeg", f"{asset.name}_preview.jpeg")
        path = await run_in_threadpool(self._gallery.thumbnail, asset)
        return file_answer(request, path, "image/webp", f"{asset.name}_thumbnail.webp")

    async def original(self, request: Request) -> Response:
        asset = self._gallery.find(request.path_params["id"])
        if asset is None:
            return error(request, 404, "Asset not found")
        path = await run_in_threadpool(self._gallery.original, asset)
        return file_answer(request, path, asset.media_type, asset.name)

    async def archive(self, request: Request) -> Response:
        wanted = [self._gallery.find(each) for each in (await request.json())["assetIds"]]
        found = [asset for asset in wanted if asset is not None]
        if len(found) < len(wanted):
            return error(request, 400, "Asset not found")
        named = ((asset.name, self._gallery.original(asset)) for asset in found)
        headers = {"Content-Disposition": 'attachment; filename="immich.zip"'}
        return StreamingResponse(zip_pieces(named), 200, headers, "application/octet-stream")

    async def sync(self, request: Request) -> Response:
        """Send a line per asset; `?pauseMs=` waits between lines, to watch them arrive."""
        pause_s = min(float(request.query_params.get("pauseMs", "0")), 5000) / 1000

        async def lines() -> AsyncIterator[bytes]:
            for asset in self._gallery.assets():
                row = {"type": "AssetV1", "data": _described(asset), "ack": f"AssetV1|{asset.id}"}
                yield json.dumps(row).encode() + b"\n"
                await asyncio.sleep(pause_s)
            yield b'{"type":"SyncCompleteV1","data":{},"ack":"SyncCompleteV1"}\n'

        return StreamingResponse(lines(), media_type="application/jsonlines+json")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        source = self._static / name
        if Path(name).suffix not in STATIC_TYPES or not source.is_file():
            return error(request, 404, "Not Found")
        caching = "public,max-age=31536000,immutable"
        kind = STATIC_TYPES[Path(name).suffix]
        return text_answer(request, source.read_bytes(), kind, caching)

    async def missing(self, request: Request) -> Response:
        return error(request, 404, f"Cannot {request.method} {request.url.path}")

    async def shell(self, request: Request) -> Response:
        page = (self._static / "shell.html").read_bytes()
        return text_answer(request, page, "text/html", "no-store")


def make_app(folder: Path | None = None, live: Live | None = None) -> Starlette:
    """Make a gallery of its own, with its files in `folder` (None: a temporary one)."""
    return Starlette(routes=Endpoints(Gallery(folder), live or Live()).routes())


app = make_app()


def _described(asset: Asset) -> dict[str, str]:
    return {
        "id": asset.id,
        "originalFileName": asset.name,
        "type": "VIDEO" if asset.is_film else "IMAGE",
        "fileCreatedAt": asset.taken_at.isoformat(),
    }


def _hexadecimal(checksum: str | None) -> str:
    """Return a SHA-1, which clients write in hexadecimal or base64, in hexadecimal."""
    if checksum is None or len(checksum) != 28:
        return (checksum or "").lower()
    try:
        return base64.b64decode(checksum, validate=True).hex()
    except ValueError:
        return ""
