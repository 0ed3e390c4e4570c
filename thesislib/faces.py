"""What is found in a photo: faces."""

import dataclasses

import numpy as np


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

    def __repr__(self) -> str:
        x1, y1, x2, y2 = (f"{value:.0f}" for value in self.box)
        return (
            f"Face({self.name or 'nobody'!r} {self.name_score:.2f}, "
            f"box [{x1}, {y1}, {x2}, {y2}], score {self.score:.2f})"
        )
