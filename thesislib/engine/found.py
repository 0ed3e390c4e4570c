"""Faces that are found once, for nets that differ in nothing but what names them.

While the layers before the last one stay, so do boxes, scores and the features of each face. Only
the last layer and the classifier need to be asked again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from thesislib.engine.face_features import last_layer
from thesislib.faces import Face
from thesislib.models.joint import JointNet


class FoundFaces:
    """What a net that reads at landmarks finds in photos, kept in memory.

    Args:
        net: whose boxes and features these are.

    Raises:
        ValueError: a net that reads elsewhere.
    """

    def __init__(self, net: JointNet) -> None:
        if net.embedding_source != "landmarks":
            raise ValueError(f"embedding_source={net.embedding_source!r}: expected 'landmarks'")
        self.net = net
        self._kept: dict[tuple[bytes, float], list[tuple[Face, torch.Tensor]]] = {}

    def of(self, photo: np.ndarray, score_threshold: float) -> list[tuple[Face, torch.Tensor]]:
        """Faces of a photo uint8 [H, W, 3], best first, each with its features float [1, C]."""
        key = (
            hashlib.sha256(photo.tobytes() + str(photo.shape).encode()).digest(),
            score_threshold,
        )
        if key not in self._kept:
            noted: list[torch.Tensor] = []
            layer: Any = last_layer(self.net)
            hook = layer.register_forward_hook(lambda _, given, __: noted.append(given[0]))
            try:
                (faces,) = self.net.predict_arrays([photo], score_threshold)
            finally:
                hook.remove()
            features = list(torch.cat(noted).split(1)) if faces else []
            self._kept[key] = list(zip(faces, features, strict=True))
        return self._kept[key]


class NamedBy:
    """Those faces, named by a net with another last layer or classifier.

    Args:
        found: of the net that finds them.
        net: equal to it in all that comes before.
    """

    def __init__(self, found: FoundFaces, net: JointNet) -> None:
        self.found, self.net = found, net

    @property
    def answers_key(self) -> str:
        """What an answer depends on."""
        return self.net.answers_key

    @torch.inference_mode()
    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """As :meth:`thesislib.models.joint.JointNet.predict_arrays` of the net itself."""
        return [self._named(self.found.of(photo, score_threshold)) for photo in photos]

    def _named(self, found: list[tuple[Face, torch.Tensor]]) -> list[Face]:
        if not found:
            return []
        vectors = last_layer(self.net)(torch.cat([features for _, features in found])).float()
        best, at = self.net.classifier.at(vectors).softmax(dim=1).max(dim=1)
        embeddings = F.normalize(vectors, dim=1).cpu().numpy()
        answers = zip(found, best.tolist(), at.tolist(), embeddings, strict=True)
        return [
            Face(face.box, face.score, self.net.identities[one], score, vector, face.landmarks)
            for (face, _), score, one, vector in answers
        ]
