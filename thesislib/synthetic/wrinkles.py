"""Lines and bags of a face at rest, as a relief on the head's grid: how deep, and how raised.

Lengths are in half head heights.
"""

import numpy as np
import torch

from thesislib.synthetic.head import Layout
from thesislib.synthetic.numerics import bell, bump, smoothstep

DEPTH = 0.010  # of the deepest line
BAG_HEIGHT = 0.016  # of the fullest bag under an eye


def lines(f: Layout, rng: np.random.Generator) -> torch.Tensor:
    """Depth of wrinkles, [...] in [0, 1]: forehead, frown, eyes' corners, mouth's corners.

    Args:
        f: layout of the neutral face.
        rng: draws where they run.
    """
    p, x, y, ax = f.p, f.x, f.y, f.ax
    apart, bend, phase, slope = (float(at) for at in rng.uniform(size=4))
    wave = 0.012 * torch.sin((5 + 6 * bend) * x + 6 * phase) + 0.05 * (bend - 0.5) * ax
    across = torch.sin((y + wave) * (2 * np.pi / (0.06 + 0.03 * apart)) + 6 * slope)
    forehead = smoothstep(across, 0.35, 1.0) * bump(x, y, 0, p["brow_y"] + 0.22, 0.24, 0.085)
    frown = bell(((ax - 0.035 - 0.02 * slope) / 0.013) ** 2)
    frown = frown * bump(x, y, 0, p["brow_y"] + 0.01, 0.2, 0.055)
    corner = ax - p["eye_spacing"] - 0.95 * p["eye_width"]
    fan = torch.sin((9 + 4 * bend) * (f.ey + 0.012) / (corner + 0.05).clamp(min=0.02))
    feet = smoothstep(fan.abs(), 0.55, 1.0) * bump(corner, f.ey, 0.06, -0.01, 0.045, 0.07)
    below = bell(((f.lower_lid + 0.075 + 0.02 * apart) / 0.013) ** 2) * bell((f.ex / 1.05) ** 4)
    down = bell(((ax - 1.12 * p["mouth_width"] + 0.12 * (y - p["mouth_y"])) / 0.016) ** 2)
    down = down * bump(ax, y, p["mouth_width"], p["mouth_y"] - 0.12, 0.2, 0.07)
    drawn = torch.stack([forehead, frown, 0.8 * feet, 0.7 * down]).amax(dim=0)
    return torch.maximum(p["wrinkles"] * drawn, max(p["wrinkles"], p["eye_bags"]) * 0.7 * below)


def bags(f: Layout) -> torch.Tensor:
    """How full the skin under the eyes is, [...] in [0, 1]."""
    return f.p["eye_bags"] * bump(f.ex, f.lower_lid, 0.0, -0.045, 0.6, 0.022)
