"""Places: what is behind a person, a room or the open air, painted small and blurred.

A place is drawn in sRGB by Pillow on a canvas of 192 x 320 pixels, blurred, and turned to linear
RGB; a shot shows a part of it. Rooms hold things as round, as bright or as skin-coloured as faces
may be, so that none of these alone tells a face.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter

from thesislib import seeds
from thesislib.synthetic import colours
from thesislib.synthetic.colours import SKIN_SRGB, Srgb
from thesislib.synthetic.parameters import Parameters

HEIGHT, WIDTH = 192, 320  # of a place, in pixels


class _Canvas:
    """A canvas to paint a place on; random numbers are drawn in the order of the strokes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.image = Image.new("RGB", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(self.image)
        self.line, self.rectangle = draw.line, draw.rectangle
        self.ellipse, self.polygon = draw.ellipse, draw.polygon

    def muted(self, value: float, saturation: float = 0.16, hue: float | None = None) -> Srgb:
        """A muted colour, sRGB; arguments in [0, 1]; without ``hue`` of any."""
        hue = self.rng.uniform() if hue is None else hue
        saturation = saturation * self.rng.uniform(0.3, 1)
        rgb = colours.muted(hue, saturation, np.clip(value, 0.04, 0.97)) ** (1 / 2.2)
        red, green, blue = (int(v) for v in np.round(rgb * 255))
        return red, green, blue

    def gradient(self, top: Srgb, bottom: Srgb, y0: int, y1: int) -> None:
        """Fill rows from one colour to another."""
        for row in range(y0, y1):
            k = (row - y0) / max(1, y1 - y0)
            fill = tuple(round(a + k * (b - a)) for a, b in zip(top, bottom, strict=True))
            self.line([(0, row), (WIDTH, row)], fill=fill)

    def foliage(self, y0: float, y1: float, count: int, size: float) -> None:
        """Scatter green blobs over rows."""
        rng = self.rng
        for _ in range(count):
            x, y = rng.uniform(0, WIDTH), rng.uniform(y0, y1)
            r = size * rng.uniform(0.4, 1.3)
            colour = self.muted(rng.uniform(0.18, 0.5), 0.42, rng.uniform(0.22, 0.34))
            self.ellipse([x - r, y - 0.8 * r, x + r, y + 0.8 * r], fill=colour)


@functools.lru_cache(maxsize=2)
def place(identity: int, session: int, seed: int, outdoors: bool) -> torch.Tensor:
    """Blurred surroundings of a session, linear RGB [1, 3, 192, 320]."""
    rng = seeds.generator(seed, "synthetic place", identity, session)
    canvas = _Canvas(rng)
    (_paint_open_air if outdoors else _paint_room)(canvas)
    blur = rng.uniform(1.2, 6.0) if outdoors else rng.uniform(0.7, 4.5)
    image = canvas.image.filter(ImageFilter.GaussianBlur(blur))
    pixels = torch.from_numpy(np.array(image)).float() / 255
    # Light falls off over the place, as from one side.
    fall = 1 + rng.uniform(-0.25, 0.25) * torch.linspace(-1, 1, WIDTH)
    brightness = 0.75 * rng.uniform(0.8, 1.1)
    return (pixels**2.2).permute(2, 0, 1)[None] * fall * brightness


def background(e: Parameters, surroundings: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A place as a shot frames it.

    Args:
        e: parameters of the shot.
        surroundings: linear RGB [1, 3, rows, columns].
        height, width: of the photo in pixels.

    Returns:
        Linear RGB [3, height, width].
    """
    rows, columns = surroundings.shape[-2:]
    h = rows * (0.86 - 0.2 * e["background_zoom"])
    w = h * width / height
    left = (columns - w) * (0.5 + 0.42 * e["background_x"])
    top = (rows - h) * 0.4
    y = (top + h * (torch.arange(height) + 0.5) / height) / rows * 2 - 1
    x = (left + w * (torch.arange(width) + 0.5) / width) / columns * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None].float()
    return F.grid_sample(surroundings, grid, padding_mode="border", align_corners=False)[0]


def _paint_open_air(canvas: _Canvas) -> None:
    rng = canvas.rng
    horizon = int(rng.uniform(0.35, 0.65) * HEIGHT)
    sky = canvas.muted(0.80, 0.22, 0.60), canvas.muted(0.92, 0.08, 0.58)
    canvas.gradient(*sky, 0, horizon)
    ground = canvas.muted(0.48, 0.2, 0.22), canvas.muted(0.36, 0.22, 0.16)
    canvas.gradient(*ground, horizon, HEIGHT)
    kind = rng.integers(0, 3)
    if kind == 0:
        canvas.foliage(horizon - 50, horizon + 15, 90, 18)
    elif kind == 1:
        _paint_street(canvas, horizon)
    else:
        _paint_hills(canvas, horizon)


def _paint_street(canvas: _Canvas, horizon: int) -> None:
    rng = canvas.rng
    x = -20.0
    while x < WIDTH:
        w = rng.uniform(35, 80)
        roof = horizon - rng.uniform(20, 110)
        front = canvas.muted(rng.uniform(0.35, 0.75))
        canvas.rectangle([x, roof, x + w, horizon + 12], fill=front)
        pane = canvas.muted(rng.uniform(0.25, 0.5), 0.1, 0.6)
        for wx in np.arange(x + 6, x + w - 8, 14):
            for wy in np.arange(roof + 8, horizon - 6, 20):
                canvas.rectangle([wx, wy, wx + 6, wy + 10], fill=pane)
        x += w + rng.uniform(-2, 14)
    canvas.foliage(horizon, horizon + 12, 12, 12)


def _paint_hills(canvas: _Canvas, horizon: int) -> None:
    rng = canvas.rng
    for ridge in range(3):
        base = horizon - 26 + 14 * ridge
        phase, speed = rng.uniform(0, 6), rng.uniform(0.01, 0.03)
        shape = [(x, base - 16 * math.sin(speed * x + phase)) for x in range(0, WIDTH + 8, 8)]
        colour = canvas.muted(0.62 - 0.12 * ridge, 0.25, 0.5 - 0.1 * ridge)
        canvas.polygon([*shape, (WIDTH, HEIGHT), (0, HEIGHT)], fill=colour)


def _paint_room(canvas: _Canvas) -> None:
    rng = canvas.rng
    wall = rng.uniform(0.42, 0.86)
    hue = rng.uniform(0.02, 0.16) if rng.uniform() < 0.7 else rng.uniform(0.4, 0.65)
    top, bottom = canvas.muted(wall + 0.05, 0.14, hue), canvas.muted(wall - 0.08, 0.14, hue)
    canvas.gradient(top, bottom, 0, HEIGHT)
    for thing in rng.permutation(len(_THINGS))[: rng.integers(1, 6)]:
        x = rng.uniform(-20, WIDTH - 60)
        _THINGS[thing](canvas, x, wall, hue)


# Things in a room begin at column ``x``; ``wall`` and ``hue`` are the wall's value and hue.


def _window(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    rng = canvas.rng
    w, h, y = rng.uniform(50, 90), rng.uniform(70, 110), rng.uniform(5, 35)
    frame = canvas.muted(rng.choice([0.85, 0.35]), 0.1)
    canvas.rectangle([x - 4, y - 4, x + w + 4, y + h + 4], fill=frame)
    canvas.rectangle([x, y, x + w, y + h], fill=canvas.muted(0.95, 0.1, 0.58))
    canvas.rectangle([x, y + 0.6 * h, x + w, y + h], fill=canvas.muted(0.6, 0.25, 0.3))
    canvas.rectangle([x + w / 2 - 2, y, x + w / 2 + 2, y + h], fill=frame)


def _bookshelf(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    rng = canvas.rng
    w, y = rng.uniform(70, 130), rng.uniform(5, 30)
    wood = canvas.muted(rng.uniform(0.25, 0.6), 0.35, 0.08)
    canvas.rectangle([x, y, x + w, y + 120], fill=canvas.muted(wall * 0.5, 0.15, hue))
    for level in range(4):
        foot = y + 30 * (level + 1)
        bx = x + 3
        while bx < x + w - 6:
            bw, bh = rng.uniform(3, 9), rng.uniform(14, 25)
            if rng.uniform() < 0.85:
                book = canvas.muted(rng.uniform(0.2, 0.75), 0.4)
                canvas.rectangle([bx, foot - bh, bx + bw, foot], fill=book)
            bx += bw + 0.5
        canvas.rectangle([x, foot, x + w, foot + 3], fill=wood)


def _picture(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    rng = canvas.rng
    w, h, y = rng.uniform(25, 60), rng.uniform(25, 50), rng.uniform(10, 50)
    frame = canvas.muted(rng.uniform(0.1, 0.5), 0.3, 0.08)
    canvas.rectangle([x, y, x + w, y + h], fill=frame)
    canvas.rectangle([x + 3, y + 3, x + w - 3, y + h - 3], fill=canvas.muted(0.75, 0.2))
    canvas.ellipse([x + 8, y + 8, x + w - 8, y + h - 6], fill=canvas.muted(0.5, 0.3))


def _door(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    rng = canvas.rng
    w = rng.uniform(50, 70)
    canvas.rectangle([x, 15, x + w, HEIGHT], fill=canvas.muted(rng.uniform(0.3, 0.8), 0.2, 0.08))
    canvas.rectangle([x + 8, 26, x + w - 8, 85], fill=canvas.muted(wall - 0.1, 0.15, 0.08))


def _lamp(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    """Round and bright, as a face may be."""
    rng = canvas.rng
    r, y = rng.uniform(9, 22), rng.uniform(25, 90)
    canvas.line([x, y, x, 190], fill=canvas.muted(0.25, 0.1), width=3)
    shade = canvas.muted(rng.uniform(0.7, 0.95), 0.3, 0.1)
    canvas.ellipse([x - r, y - 1.15 * r, x + r, y + 1.15 * r], fill=shade)


def _clock(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    rng = canvas.rng
    r, y = rng.uniform(9, 18), rng.uniform(22, 60)
    canvas.ellipse([x - r, y - r, x + r, y + r], fill=canvas.muted(rng.choice([0.9, 0.3])))
    rim = canvas.muted(0.2, 0.2)
    canvas.ellipse([x - r, y - r, x + r, y + r], outline=rim, width=2)
    canvas.line([x, y, x + 0.5 * r, y - 0.3 * r], fill=rim, width=2)
    canvas.line([x, y, x - 0.1 * r, y - 0.75 * r], fill=rim, width=1)


def _vases(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    """On a board, in the colours of clay and of skin."""
    rng = canvas.rng
    y = rng.uniform(60, 120)
    canvas.rectangle([x, y, x + 90, y + 5], fill=canvas.muted(0.4, 0.35, 0.08))
    for vx in np.arange(x + 12, x + 85, 26):
        h, tone = rng.uniform(16, 36), SKIN_SRGB[rng.integers(0, 6)]
        canvas.ellipse([vx - 0.4 * h, y - h, vx + 0.4 * h, y], fill=tone)
        canvas.rectangle([vx - 4, y - 1.25 * h, vx + 4, y - 0.8 * h], fill=tone)


def _plant(canvas: _Canvas, x: float, wall: float, hue: float) -> None:
    rng = canvas.rng
    y = rng.uniform(70, 120)
    for _ in range(22):
        px, py = x + rng.normal() * 15, y + rng.normal() * 20
        leaf = canvas.muted(rng.uniform(0.2, 0.48), 0.42, rng.uniform(0.24, 0.36))
        canvas.ellipse([px - 9, py - 5, px + 9, py + 5], fill=leaf)
    canvas.rectangle([x - 12, y + 25, x + 12, y + 55], fill=canvas.muted(0.5, 0.3, 0.05))


# In this order the random numbers name them.
_THINGS: tuple[Callable[[_Canvas, float, float, float], None], ...] = (
    _window,
    _bookshelf,
    _picture,
    _door,
    _lamp,
    _clock,
    _vases,
    _plant,
)
