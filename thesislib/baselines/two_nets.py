"""Two nets in the place of one: the first finds faces, the second names them."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from thesislib.faces import Face
from thesislib.models.joint import JointNet


class TwoNets:
    """Faces that one net finds, named by another that reads its own features at their boxes.

    Args:
        finder: whose boxes and scores these are.
        namer: of the same form, whose names they are.
    """

    highest_score = 1.0

    def __init__(self, finder: JointNet, namer: JointNet) -> None:
        self.finder, self.namer = finder, namer

    @property
    def answers_key(self) -> str:
        """SHA-256 of all that an answer depends on."""
        both = self.finder.answers_key + self.namer.answers_key
        return hashlib.sha256(both.encode()).hexdigest()

    @property
    def stages(self) -> list[tuple[str, Callable]]:
        """The work in named steps, see :func:`thesislib.engine.timing.take_turns`."""
        return [
            ("detector", lambda photo: (photo, self.finder.predict_arrays([photo], 0.5))),
            ("classifier", lambda state: self._named([state[0]], state[1])[0]),
        ]

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos, see :class:`thesislib.engine.predict.System`."""
        return self._named(photos, self.finder.predict_arrays(photos, score_threshold))

    def _named(
        self, photos: Sequence[np.ndarray], found: Sequence[Sequence[Face]]
    ) -> list[list[Face]]:
        boxes = [np.array([face.box for face in faces]).reshape(-1, 4) for faces in found]
        named = self.namer.identify_boxes(photos, boxes)
        return [
            [Face(face.box, face.score, name) for face, name in zip(faces, names, strict=True)]
            for faces, names in zip(found, named, strict=True)
        ]

    def identify_boxes(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[list[str]]:
        """Names at given boxes, per photo float [F, 4] pixels."""
        return self.namer.identify_boxes(photos, boxes)
