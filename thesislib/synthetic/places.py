"""Places: rooms and open air behind a person."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter

from thesislib import seeds
from thesislib.synthetic.parameters import SKIN_SRGB, Parameters


def _hue(hue: float, saturation: float, value: float) -> np.ndarray:
    """Linear RGB of a muted colour; hue, saturation and value in [0, 1]."""
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue - np.array([0, 1 / 3, 2 / 3])))
    return (value * (1 - saturation + saturation * wheel)) ** 2.2


@functools.lru_cache(maxsize=2)
def _place(identity: int, session: int, seed: int, outdoors: bool) -> torch.Tensor:
    """Blurred surroundings of a session, linear RGB [1, 3, 192, 320]."""
    rng = seeds.generator(seed, "synthetic place", identity, session)
    width, height = 320, 192

    def muted(value: float, saturation: float = 0.16, hue: float | None = None) -> tuple:
        hue = rng.uniform() if hue is None else hue
        rgb = _hue(hue, saturation * rng.uniform(0.3, 1), np.clip(value, 0.04, 0.97)) ** (1 / 2.2)
        return tuple(int(v) for v in np.round(rgb * 255))

    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)

    def gradient(top: tuple, bottom: tuple, y0: int, y1: int) -> None:
        for row in range(y0, y1):
            k = (row - y0) / max(1, y1 - y0)
            line = tuple(round(a + k * (b - a)) for a, b in zip(top, bottom, strict=True))
            draw.line([(0, row), (width, row)], fill=line)

    def foliage(y0: float, y1: float, count: int, size: float) -> None:
        for _ in range(count):
            x, y = rng.uniform(0, width), rng.uniform(y0, y1)
            r = size * rng.uniform(0.4, 1.3)
            colour = muted(rng.uniform(0.18, 0.5), 0.42, rng.uniform(0.22, 0.34))
            draw.ellipse([x - r, y - 0.8 * r, x + r, y + 0.8 * r], fill=colour)

    if outdoors:
        horizon = int(rng.uniform(0.35, 0.65) * height)
        gradient(muted(0.80, 0.22, 0.60), muted(0.92, 0.08, 0.58), 0, horizon)
        gradient(muted(0.48, 0.2, 0.22), muted(0.36, 0.22, 0.16), horizon, height)
        kind = rng.integers(0, 3)
        if kind == 0:
            foliage(horizon - 50, horizon + 15, 90, 18)
        elif kind == 1:
            x = -20.0
            while x < width:
                w = rng.uniform(35, 80)
                roof = horizon - rng.uniform(20, 110)
                draw.rectangle([x, roof, x + w, horizon + 12], fill=muted(rng.uniform(0.35, 0.75)))
                pane = muted(rng.uniform(0.25, 0.5), 0.1, 0.6)
                for wx in np.arange(x + 6, x + w - 8, 14):
                    for wy in np.arange(roof + 8, horizon - 6, 20):
                        draw.rectangle([wx, wy, wx + 6, wy + 10], fill=pane)
                x += w + rng.uniform(-2, 14)
            foliage(horizon, horizon + 12, 12, 12)
        else:
            for ridge in range(3):
                base = horizon - 26 + 14 * ridge
                phase, speed = rng.uniform(0, 6), rng.uniform(0.01, 0.03)
                shape = [
                    (x, base - 16 * math.sin(speed * x + phase)) for x in range(0, width + 8, 8)
                ]
                colour = muted(0.62 - 0.12 * ridge, 0.25, 0.5 - 0.1 * ridge)
                draw.polygon([*shape, (width, height), (0, height)], fill=colour)
        blur = rng.uniform(1.2, 6.0)
    else:
        wall = rng.uniform(0.42, 0.86)
        hue = rng.uniform(0.02, 0.16) if rng.uniform() < 0.7 else rng.uniform(0.4, 0.65)
        gradient(muted(wall + 0.05, 0.14, hue), muted(wall - 0.08, 0.14, hue), 0, height)
        for thing in rng.permutation(8)[: rng.integers(1, 6)]:
            x = rng.uniform(-20, width - 60)
            if thing == 0:  # window
                w, h, y = rng.uniform(50, 90), rng.uniform(70, 110), rng.uniform(5, 35)
                frame = muted(rng.choice([0.85, 0.35]), 0.1)
                draw.rectangle([x - 4, y - 4, x + w + 4, y + h + 4], fill=frame)
                draw.rectangle([x, y, x + w, y + h], fill=muted(0.95, 0.1, 0.58))
                draw.rectangle([x, y + 0.6 * h, x + w, y + h], fill=muted(0.6, 0.25, 0.3))
                draw.rectangle([x + w / 2 - 2, y, x + w / 2 + 2, y + h], fill=frame)
            elif thing == 1:  # shelf of books
                w, y = rng.uniform(70, 130), rng.uniform(5, 30)
                wood = muted(rng.uniform(0.25, 0.6), 0.35, 0.08)
                draw.rectangle([x, y, x + w, y + 120], fill=muted(wall * 0.5, 0.15, hue))
                for level in range(4):
                    foot = y + 30 * (level + 1)
                    bx = x + 3
                    while bx < x + w - 6:
                        bw, bh = rng.uniform(3, 9), rng.uniform(14, 25)
                        if rng.uniform() < 0.85:
                            book = muted(rng.uniform(0.2, 0.75), 0.4)
                            draw.rectangle([bx, foot - bh, bx + bw, foot], fill=book)
                        bx += bw + 0.5
                    draw.rectangle([x, foot, x + w, foot + 3], fill=wood)
            elif thing == 2:  # picture
                w, h, y = rng.uniform(25, 60), rng.uniform(25, 50), rng.uniform(10, 50)
                draw.rectangle([x, y, x + w, y + h], fill=muted(rng.uniform(0.1, 0.5), 0.3, 0.08))
                draw.rectangle([x + 3, y + 3, x + w - 3, y + h - 3], fill=muted(0.75, 0.2))
                draw.ellipse([x + 8, y + 8, x + w - 8, y + h - 6], fill=muted(0.5, 0.3))
            elif thing == 3:  # door
                w = rng.uniform(50, 70)
                draw.rectangle([x, 15, x + w, height], fill=muted(rng.uniform(0.3, 0.8), 0.2, 0.08))
                draw.rectangle([x + 8, 26, x + w - 8, 85], fill=muted(wall - 0.1, 0.15, 0.08))
            elif thing == 4:  # lamp: round and bright, as a face may be
                r, y = rng.uniform(9, 22), rng.uniform(25, 90)
                draw.line([x, y, x, 190], fill=muted(0.25, 0.1), width=3)
                shade = muted(rng.uniform(0.7, 0.95), 0.3, 0.1)
                draw.ellipse([x - r, y - 1.15 * r, x + r, y + 1.15 * r], fill=shade)
            elif thing == 5:  # clock
                r, y = rng.uniform(9, 18), rng.uniform(22, 60)
                draw.ellipse([x - r, y - r, x + r, y + r], fill=muted(rng.choice([0.9, 0.3])))
                rim = muted(0.2, 0.2)
                draw.ellipse([x - r, y - r, x + r, y + r], outline=rim, width=2)
                draw.line([x, y, x + 0.5 * r, y - 0.3 * r], fill=rim, width=2)
                draw.line([x, y, x - 0.1 * r, y - 0.75 * r], fill=rim, width=1)
            elif thing == 6:  # vases on a board, in the colours of clay and of skin
                y = rng.uniform(60, 120)
                draw.rectangle([x, y, x + 90, y + 5], fill=muted(0.4, 0.35, 0.08))
                for vx in np.arange(x + 12, x + 85, 26):
                    h, tone = rng.uniform(16, 36), SKIN_SRGB[rng.integers(0, 6)]
                    draw.ellipse([vx - 0.4 * h, y - h, vx + 0.4 * h, y], fill=tone)
                    draw.rectangle([vx - 4, y - 1.25 * h, vx + 4, y - 0.8 * h], fill=tone)
            else:  # plant
                y = rng.uniform(70, 120)
                for _ in range(22):
                    px, py = x + rng.normal() * 15, y + rng.normal() * 20
                    leaf = muted(rng.uniform(0.2, 0.48), 0.42, rng.uniform(0.24, 0.36))
                    draw.ellipse([px - 9, py - 5, px + 9, py + 5], fill=leaf)
                draw.rectangle([x - 12, y + 25, x + 12, y + 55], fill=muted(0.5, 0.3, 0.05))
        blur = rng.uniform(0.7, 4.5)
    image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = torch.from_numpy(np.array(image)).float() / 255
    # Light falls off over the place, as from one side.
    fall = 1 + rng.uniform(-0.25, 0.25) * torch.linspace(-1, 1, width)
    brightness = 0.75 * rng.uniform(0.8, 1.1)
    return (pixels**2.2).permute(2, 0, 1)[None] * fall * brightness


def background(e: Parameters, place: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Surroundings as the shot frames them, [3, H, W]."""
    rows, columns = place.shape[-2:]
    h = rows * (0.86 - 0.2 * e["background_zoom"])
    w = h * width / height
    left = (columns - w) * (0.5 + 0.42 * e["background_x"])
    top = (rows - h) * 0.4
    y = (top + h * (torch.arange(height) + 0.5) / height) / rows * 2 - 1
    x = (left + w * (torch.arange(width) + 0.5) / width) / columns * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None].float()
    return F.grid_sample(place, grid, padding_mode="border", align_corners=False)[0]
