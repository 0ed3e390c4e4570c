"""Small faces read again, from a larger photo."""

import copy
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from thesislib.data.transforms import MAX_SCALED_PIXELS, scaled_size
from thesislib.engine.predict import answers_key
from thesislib.faces import Face
from thesislib.metrics.boxes import box_iou
from thesislib.models.joint import JointNet

# Side of a face in the net's input, pixels, below which it is read again, that much larger or, if
# it is still smaller then, by the last.
SMALL_PX, TIMES = 96, (2, 3)
SURE = 0.5  # score from which a small detection is worth it: as likely a face as not
_SAME = 0.5  # IoU from which two readings are of one face


class CloserLook:
    """A net that reads photos with small faces a second time, at twice the size.

    The published net tells people apart the better, the larger their faces are in its input: of
    photos of 80 people of `lfw`, faces of 64 pixels, it takes 41 % for the person they are of, and
    read at twice the size ... %. Of a photo that is read again small faces are those of the second
    reading, which also finds some that the first missed; large ones stay. It costs five times the
    time for such a photo, and nothing for others.

    Args:
        net: that reads embeddings at landmarks: it finds faces of any size, wherever they are.

    Raises:
        ValueError: a net that reads elsewhere, and knows faces of the sizes it was trained on.
    """

    def __init__(self, net: JointNet) -> None:
        if net.embedding_source != "landmarks":
            raise ValueError(f"embedding_source={net.embedding_source!r}: expected 'landmarks'")
        self.net = net

    def __getattr__(self, name: str) -> Any:
        # Whatever else is asked of a net: its dimension, fingerprint, embeddings at given boxes.
        return getattr(self.net, name)

    @functools.cached_property
    def _larger(self) -> dict[int, JointNet]:
        """The same net, with its weights, that scales photos so many times larger."""
        nets = {times: copy.copy(self.net) for times in TIMES}
        for times, net in nets.items():
            net.input_px = times * self.net.input_px
        return nets

    @property
    def answers_key(self) -> str:
        """What an answer depends on."""
        told = f"closer look {TIMES} {SMALL_PX} {answers_key(self.net)}"
        return hashlib.sha256(told.encode()).hexdigest()

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos, best first; see :meth:`JointNet.predict_arrays`."""
        answers = self.net.predict_arrays(photos, score_threshold)
        for at, (photo, faces) in enumerate(zip(photos, answers, strict=True)):
            small = SMALL_PX * min(photo.shape[:2]) / self.net.input_px  # pixels of the photo
            if times := self._times(photo, faces, small):
                (again,) = self._larger[times].predict_arrays([photo], score_threshold)
                answers[at] = merged(faces, again, small)
        return answers

    def _times(self, photo: np.ndarray, faces: Sequence[Face], small: float) -> int:
        """How much larger a photo is to be read again, or 0."""
        sure = [side_of(face) for face in faces if face.score >= SURE]
        smallest = min(sure, default=small)
        if smallest >= small:
            return 0
        wanted = next((one for one in TIMES if one * smallest >= small), TIMES[-1])
        for times in sorted((one for one in TIMES if one <= wanted), reverse=True):
            height, width = scaled_size(photo.shape[0], photo.shape[1], times * self.net.input_px)
            if height * width <= MAX_SCALED_PIXELS:
                return times
        return 0


def with_closer_look(net: Any) -> Any:
    """A net that takes a closer look, where it can; any other system as it is."""
    able = isinstance(net, JointNet) and net.embedding_source == "landmarks"
    return CloserLook(net) if able else net


def side_of(face: Face) -> float:
    """Root of the area of a face's box, pixels."""
    x1, y1, x2, y2 = face.box
    return float(np.sqrt((x2 - x1) * (y2 - y1)))


def merged(first: Sequence[Face], second: Sequence[Face], small: float) -> list[Face]:
    """Faces of two readings of a photo: the large ones of the first, the small ones of the second.

    Args:
        first, second: faces found, in pixels of the photo.
        small: side below which a face is small.

    Returns:
        best first. A face that both readings tell, as its size lies at the limit, or that only the
        first one found, is the first's.
    """
    found = [face for face in first if side_of(face) >= small]
    for faces in ([face for face in second if side_of(face) < small], first):
        boxes = np.stack([face.box for face in found]) if found else np.zeros((0, 4))
        for face in faces:
            if not len(boxes) or box_iou(face.box[None], boxes).max() < _SAME:
                found.append(face)
    return sorted(found, key=lambda face: -face.score)
