"""Additive margins of the identity loss, which push people apart on the sphere of embeddings."""

import dataclasses
import math

import torch


@dataclasses.dataclass(frozen=True)
class Margin:
    """What the right person's cosine is charged with in training, so that people lie apart.

    Attributes:
        kind: ``"cosface"``: cos t - m (Wang et al. 2018, CosFace, equation 4); ``"arcface"``:
            cos(t + m) (Deng et al. 2019, ArcFace, equation 3), and beyond t = 180 degrees - m,
            where that would rise again, cos t - m sin m.
        size: m, a cosine for cosface, degrees for arcface; at least 0.
        scale: fixed factor s of all cosines, above 0.

    Raises:
        ValueError: unknown kind, or a number out of range.
    """

    kind: str
    size: float
    scale: float

    def __post_init__(self) -> None:
        if self.kind not in ("cosface", "arcface"):
            raise ValueError(f"margin {self.kind!r} is unknown; choose cosface or arcface")
        if self.size < 0 or self.scale <= 0:
            raise ValueError(f"margin of {self.size} at scale {self.scale} is out of range")

    def charged(self, cosine: torch.Tensor) -> torch.Tensor:
        """Cosines [K] of the right people with the margin taken off."""
        if self.kind == "cosface":
            return cosine - self.size
        m = math.radians(self.size)
        # The slope of arccos is infinite at the ends.
        angle = cosine.clamp(-1 + 1e-7, 1 - 1e-7).arccos()
        return torch.where(angle <= math.pi - m, (angle + m).cos(), cosine - m * math.sin(m))
