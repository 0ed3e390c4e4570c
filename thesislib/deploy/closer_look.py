"""Small faces read again, from a larger photo."""

import copy
import functools
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from thesislib.data.transforms import MAX_SCALED_PIXELS, scaled_size
from thesislib.engine.predict import answers_key
from thesislib.faces import Face, check_score_threshold
from thesislib.metrics.boxes import box_iou
from thesislib.models.joint import JointNet

# Side of a face in the net's input, pixels, below which it is read again, that many times larger
# or, if it is still smaller then, by the last.
SMALL_PX, TIMES = 96, (2, 3)
SURE = 0.5  # score from which a small detection is worth it: as likely a face as not
UNSURE = 0.2  # and where none is that sure
_SAME = 0.5  # IoU from which two readings are of one face


class CloserLook:
    """A net that reads photos with small faces a second time, two or three times as large.

    The published net tells people apart the better, the larger their faces are in its input
    (``python -m thesislib face-sizes`` measures it). Of a photo that is read again small faces are
    those of the second reading, which also finds some that the first missed; large ones stay. A
    second reading takes the time of four or nine first ones; other photos take no longer.

    Args:
        net: that reads embeddings at landmarks: it finds faces of any size, wherever they are.

    Raises:
        ValueError: a net that reads elsewhere, and knows faces of the sizes it was trained on.
    """

    def __init__(self, net: JointNet) -> None:
        if net.embedding_source != "landmarks":
            raise ValueError(f"embedding_source={net.embedding_source!r}: expected 'landmarks'")
        self.net = net
        self.embedding_dim, self.input_px = net.embedding_dim, net.input_px
        self.gallery_threshold, self.provenance = net.gallery_threshold, net.provenance

    @property
    def fingerprint(self) -> str:
        """The net's: embeddings of both readings can be compared."""
        return self.net.fingerprint

    @property
    def most_input_px(self) -> int:
        """Shorter side of a photo of small faces, as it is read the second time."""
        return TIMES[-1] * self.input_px

    @property
    def answers_key(self) -> str:
        """What an answer depends on."""
        told = f"closer look {TIMES} {SMALL_PX} {SURE} {UNSURE} {answers_key(self.net)}"
        return hashlib.sha256(told.encode()).hexdigest()

    @functools.cached_property
    def _larger(self) -> dict[int, JointNet]:
        """The same net, with its weights, that scales photos so many times larger."""
        nets = {times: copy.copy(self.net) for times in TIMES}
        for times, net in nets.items():
            net.input_px = times * self.net.input_px
        return nets

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos, best first; see :meth:`JointNet.predict_arrays`."""
        check_score_threshold(score_threshold)
        # Of an ordinary photo of many people the first reading may be sure of nobody.
        answers = self.net.predict_arrays(photos, min(score_threshold, UNSURE))
        for at, (photo, faces) in enumerate(zip(photos, answers, strict=True)):
            sure = [face for face in faces if face.score >= SURE]
            seen = sure or [face for face in faces if face.score >= UNSURE]
            small = self._small(photo)
            if times := self._times(photo, [face.side for face in seen], small):
                (again,) = self._larger[times].predict_arrays([photo], score_threshold)
                faces = merged(faces, again, small)
            answers[at] = [face for face in faces if face.score > score_threshold]
        return answers

    def embeddings_at(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Embeddings at given boxes, small ones read from a larger photo; see
        :meth:`JointNet.embeddings_at`."""
        answers = self.net.embeddings_at(photos, boxes)
        for photo, own, vectors in zip(photos, boxes, answers, strict=True):
            own, small = np.asarray(own, np.float32).reshape(-1, 4), self._small(photo)
            sides = np.sqrt((own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1]))
            if times := self._times(photo, sides.tolist(), small):
                those = sides < small
                vectors[those] = self._larger[times].embeddings_at([photo], [own[those]])[0]
        return answers

    def _small(self, photo: np.ndarray) -> float:
        """Side below which a face is small, pixels of the photo."""
        return SMALL_PX * min(photo.shape[:2]) / self.input_px

    def _times(self, photo: np.ndarray, sides: Iterable[float], small: float) -> int:
        """How much larger a photo is to be read again for faces of these sides, or 0."""
        smallest = min(sides, default=small)
        if smallest >= small:
            return 0
        wanted = next((one for one in TIMES if one * smallest >= small), TIMES[-1])
        for times in sorted((one for one in TIMES if one <= wanted), reverse=True):
            height, width = scaled_size(photo.shape[0], photo.shape[1], times * self.input_px)
            if height * width <= MAX_SCALED_PIXELS:
                return times
        return 0


def with_closer_look(net: Any) -> Any:
    """A net that takes a closer look, where it can; any other system as it is."""
    able = isinstance(net, JointNet) and net.embedding_source == "landmarks"
    return CloserLook(net) if able else net


def merged(first: Sequence[Face], second: Sequence[Face], small: float) -> list[Face]:
    """Faces of two readings of a photo: the large ones of the first, the small ones of the second.

    Args:
        first, second: faces found, in pixels of the photo.
        small: side below which a face is small.

    Returns:
        best first. A face that both readings tell, as its size lies at the limit, or that only the
        first one found, is the first's.
    """
    found = [face for face in first if face.side >= small]
    for faces in ([face for face in second if face.side < small], first):
        boxes = np.stack([face.box for face in found]) if found else np.zeros((0, 4))
        for face in faces:
            if not len(boxes) or box_iou(face.box[None], boxes).max() < _SAME:
                found.append(face)
    return sorted(found, key=lambda face: -face.score)
