"""Draw landscapes from a number, so that the gallery has pictures without shipping any.

Rules: the same seed and size give the same picture; nothing is read from disk or network.
"""

import colorsys
import io
import math
import random

from PIL import Image, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]

# Drawing at twice the size and shrinking smooths the edges, which ImageDraw leaves jagged.
OVERSAMPLE = 2
RIDGES = 5


def landscape(seed: int, width: int, height: int, hour: float | None = None) -> Image.Image:
    """Draw the landscape number `seed`; `hour`, from 0 to 1, moves the sun from left to right."""
    dice = random.Random(seed)
    hue = dice.random()
    sky = _colour(hue + 0.08, 0.35, 0.98)
    far = _colour(hue, 0.30, 0.80)
    near = _colour(hue - 0.10, 0.65, 0.16)
    place = dice.uniform(0.15, 0.85)
    if hour is not None:
        place = hour
    w, h = width * OVERSAMPLE, height * OVERSAMPLE
    picture = ImageOps.colorize(Image.linear_gradient("L").resize((w, h)), _colour(hue + 0.55, 0.55, 0.75), sky)
    _draw_sun(picture, place, 0.42 - 0.24 * math.sin(math.pi * place), dice.uniform(0.05, 0.09))
    draw = ImageDraw.Draw(picture)
    for ridge in range(RIDGES):
        depth = (ridge + 1) / RIDGES
        line = _ridge(dice, w, h * (0.40 + 0.42 * depth), h * (0.16 - 0.07 * depth))
        draw.polygon([(0, h), *line, (w, h)], fill=_blend(far, near, depth))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def encode(picture: Image.Image, kind: str, quality: int) -> bytes:
    """Return `picture` as the bytes of a `JPEG` or `WEBP` file."""
    out = io.BytesIO()
    picture.convert("RGB").save(out, kind, quality=quality)
    return out.getvalue()


def shrink(picture: Image.Image, longest: int) -> Image.Image:
    """Return a copy no longer than `longest` on either side, turned as its camera said."""
    upright = ImageOps.exif_transpose(picture)
    upright.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return upright


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _blend(far: Colour, near: Colour, share: float) -> Colour:
    mixed = [int(a + (b - a) * share) for a, b in zip(far, near, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _draw_sun(picture: Image.Image, x: float, y: float, size: float) -> None:
    w, h = picture.size
    radius = size * h
    glow = Image.new("L", (w // 8, h // 8))
    box = [(x * w - 2 * radius) / 8, (y * h - 2 * radius) / 8]
    ImageDraw.Draw(glow).ellipse((*box, box[0] + radius / 2, box[1] + radius / 2), fill=150)
    glow = glow.filter(ImageFilter.GaussianBlur(radius / 16)).resize((w, h))
    picture.paste((255, 250, 225), mask=glow)
    disc = (x * w - radius, y * h - radius, x * w + radius, y * h + radius)
    ImageDraw.Draw(picture).ellipse(disc, fill=(255, 252, 236))


def _ridge(dice: random.Random, width: int, base: float, rise: float) -> list[tuple[float, float]]:
    """Return the upper edge of one row of hills: five sines, each finer and lower."""
    waves = [(2**octave * dice.uniform(0.6, 1.4), dice.uniform(0, 2 * math.pi), 0.55**octave) for octave in range(5)]
    points = []
    for x in range(0, width + 8, 8):
        swing = sum(a * math.sin(2 * math.pi * f * x / width + p) for f, p, a in waves)
        points.append((float(x), base - rise * swing))
    return points
