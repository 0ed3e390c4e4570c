"""What is found in a photo: faces."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

# How far the tip of the nose stands out before the eyes, in distances of the eyes: fitted on
# photos of synthetic people, whose yaw is known.
NOSE = 0.68


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
    """One face found in a photo.

    Attributes:
        box: float32 [4], x1, y1, x2, y2 in pixels of the photo.
        score: confidence that this is a face, 0 to 1.
        name: the identity, or "" for nobody who is known.
        name_score: confidence in the name; a softmax probability in 0 to 1 from a classifier, a
            cosine in -1 to 1 from a gallery.
        embedding: float32 [E], L2-normalised; None from a system without embeddings.
        landmarks: float32 [5, 2], x and y in pixels of eyes, nose and mouth corners; None from a
            system that finds none.
    """

    box: np.ndarray
    score: float
    name: str = ""
    name_score: float = 0.0
    embedding: np.ndarray | None = None
    landmarks: np.ndarray | None = None

    @property
    def side(self) -> float:
        """Root of the area of its box, pixels of the photo."""
        return float(np.sqrt(np.prod(self.box[2:] - self.box[:2])))

    def __repr__(self) -> str:
        x1, y1, x2, y2 = (f"{value:.0f}" for value in self.box)
        return (
            f"Face({self.name or 'nobody'!r} {self.name_score:.2f}, "
            f"box [{x1}, {y1}, {x2}, {y2}], score {self.score:.2f})"
        )


def check_score_threshold(threshold: float, highest: float = 1.0) -> None:
    """Refuse a threshold that no score can be compared with.

    Args:
        threshold: of the scores of faces.
        highest: score that a system may give; infinite where scores are no shares, and any number
            is a threshold.

    Raises:
        ValueError: not a number, or below 0 or above the highest.
    """
    if math.isnan(threshold):
        raise ValueError("score_threshold: not a number")
    if math.isfinite(highest) and not 0 <= threshold <= highest:
        raise ValueError(f"score_threshold: expected 0 to {highest:g}, got {threshold:g}")


def yaw_of(landmarks: ArrayLike) -> NDArray[np.float64]:
    """How far faces are turned, degrees [n], positive to the right of the photo.

    The tip of the nose moves along the line of the eyes, by the tangent of the angle.

    Args:
        landmarks: float [n, 5, 2] pixels: eyes, nose, corners of the mouth, left before right.
    """
    left, right, nose = np.moveaxis(np.asarray(landmarks, dtype=np.float64)[:, :3], 1, 0)
    across = right - left
    away = ((nose - (left + right) / 2) * across).sum(axis=1) / (across**2).sum(axis=1)
    return np.degrees(np.arctan(away / NOSE))
