"""The pictures: which there are, where their files lie, and how the small ones are made.

Facts: Immich keeps three renderings of a picture: the original, a preview of 1440 pixels (JPEG)
and a thumbnail of 250 (WebP).
Rules: a file is made when it is first asked for and never changes afterwards. Its modification
time is the moment the picture was taken, so validators are the same after a restart.
Not here: HTTP.
"""

import os
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from immich_standin import pictures, webm

PICTURES = 36
ORIGINAL_SIZE = (1440, 960)
PREVIEW_LONGEST = 1440
THUMBNAIL_LONGEST = 375
FILM_SIZE = (480, 270)
FILM_FRAMES = 48
FILM_FRAME_MS = 125

NAMESPACE = uuid.UUID("5d3a51c8-6f0e-4c59-9a83-9b0b8e3c2f10")
NEWEST = datetime(2026, 7, 14, 18, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Asset:
    """One picture or film. `seed` is None for what was uploaded, whose original is on disk."""

    id: str
    name: str
    media_type: str
    taken_at: datetime
    seed: int | None
    is_film: bool = False

    @property
    def month(self) -> str:
        """The time bucket this belongs to, written as Immich writes it."""
        return f"{self.taken_at:%Y-%m}-01"


class Gallery:
    """All assets, and their files in one folder (a temporary one if `folder` is None)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._wanted_folder = folder
        self._assets = {asset.id: asset for asset in _drawn_assets()}
        self._by_checksum: dict[str, str] = {}
        # Drawing is done in threads; two of them must not write one file.
        self._drawing = threading.Lock()

    @cached_property
    def folder(self) -> Path:
        """Where the files lie. A temporary folder goes away with the interpreter."""
        if self._wanted_folder is not None:
            self._wanted_folder.mkdir(parents=True, exist_ok=True)
            return self._wanted_folder
        self._temporary = tempfile.TemporaryDirectory(prefix="immich-standin-")
        return Path(self._temporary.name)

    def assets(self) -> list[Asset]:
        """Return every asset, newest first."""
        return sorted(self._assets.values(), key=lambda asset: asset.taken_at, reverse=True)

    def find(self, asset_id: str) -> Asset | None:
        """Return the asset of that id, or None."""
        return self._assets.get(asset_id)

    def find_checksum(self, checksum: str) -> str | None:
        """Return the id of the uploaded asset with this SHA-1 (hexadecimal), or None."""
        return self._by_checksum.get(checksum)

    def add(self, upload: Path, name: str, media_type: str, checksum: str) -> Asset:
        """Take over an uploaded file. It must lie in `folder`; it is renamed, not copied."""
        asset = Asset(
            id=str(uuid.uuid4()),
            name=name,
            media_type=media_type,
            taken_at=datetime.now(UTC),
            seed=None,
            is_film=media_type.startswith("video/"),
        )
        upload.rename(self._path(asset, "original"))
        self._assets[asset.id] = asset
        self._by_checksum[checksum] = asset.id
        return asset

    def remove(self, asset_id: str) -> bool:
        """Forget an asset and its files; False if there is none of that id."""
        asset = self._assets.pop(asset_id, None)
        if asset is None:
            return False
        self._by_checksum = {sha: one for sha, one in self._by_checksum.items() if one != asset_id}
        for rendering in ("original", "preview", "thumbnail"):
            self._path(asset, rendering).unlink(missing_ok=True)
        return True

    def original(self, asset: Asset) -> Path:
        """Return the file itself, drawn now if it was not yet. Blocks: call it in a thread."""
        return self._file(asset, "original", lambda: _original(asset))

    def preview(self, asset: Asset) -> Path:
        """Return the JPEG shown full screen. Blocks: call it in a thread."""
        return self._file(
            asset,
            "preview",
            lambda: pictures.encode(self._still(asset, PREVIEW_LONGEST), "JPEG", 80),
        )

    def thumbnail(self, asset: Asset) -> Path:
        """Return the small WebP. Blocks: call it in a thread."""
        return self._file(
            asset,
            "thumbnail",
            lambda: pictures.encode(self._still(asset, THUMBNAIL_LONGEST), "WEBP", 80),
        )

    def _path(self, asset: Asset, rendering: str) -> Path:
        return self.folder / f"{asset.id}.{rendering}"

    def _file(self, asset: Asset, rendering: str, make: Callable[[], bytes]) -> Path:
        path = self._path(asset, rendering)
        if path.exists():
            return path
        with self._drawing:
            if not path.exists():
                part = path.with_suffix(".part")
                part.write_bytes(make())
                moment = asset.taken_at.timestamp()
                os.utime(part, (moment, moment))
                part.rename(path)
        return path

    def _still(self, asset: Asset, longest: int) -> Image.Image:
        if asset.seed is not None:
            width, height = ORIGINAL_SIZE
            scale = longest / width
            return pictures.landscape(asset.seed, longest, round(height * scale))
        try:
            with Image.open(self._path(asset, "original")) as picture:
                return pictures.shrink(picture, longest)
        except (UnidentifiedImageError, OSError):
            # An uploaded film, or something else Pillow does not read: a plain card.
            return Image.new("RGB", (longest, round(longest * 2 / 3)), (70, 74, 90))


def _drawn_assets() -> list[Asset]:
    assets = []
    for number in range(PICTURES):
        is_film = number == 1
        assets.append(
            Asset(
                id=str(uuid.uuid5(NAMESPACE, str(number))),
                name="sunset.webm" if is_film else f"IMG_{4000 - number}.jpg",
                media_type="video/webm" if is_film else "image/jpeg",
                taken_at=NEWEST - timedelta(hours=61 * number),
                seed=number,
                is_film=is_film,
            )
        )
    return assets


def _original(asset: Asset) -> bytes:
    if asset.seed is None:
        raise FileNotFoundError(f"the upload {asset.id} has lost its file")
    if not asset.is_film:
        return pictures.encode(pictures.landscape(asset.seed, *ORIGINAL_SIZE), "JPEG", 90)
    frames = [pictures.landscape(asset.seed, *FILM_SIZE, hour=number / FILM_FRAMES) for number in range(FILM_FRAMES)]
    return webm.film(frames, FILM_FRAME_MS)
