"""Additive angular and cosine margins of the identity loss."""

import math

import torch

from thesislib.profiles import Margin


def add_margin(cosines: torch.Tensor, margin: Margin) -> torch.Tensor:
    """Cosines of the right identities with the margin taken off.

    CosFace: cos t - m. ArcFace: cos(t + m), and cos t - m sin m beyond t = 180 degrees - m, where
    cos(t + m) would rise again (see :class:`thesislib.profiles.Margin` for the papers).

    Args:
        cosines: [K], each in -1 to 1.
        margin: kind and size; the scale is the caller's.

    Returns:
        [K], at most ``cosines``.
    """
    if margin.kind == "cosface":
        return cosines - margin.size
    m = math.radians(margin.size)
    # The slope of arccos is infinite at the ends.
    angle = cosines.clamp(-1 + 1e-7, 1 - 1e-7).arccos()
    return torch.where(angle <= math.pi - m, (angle + m).cos(), cosines - m * math.sin(m))
