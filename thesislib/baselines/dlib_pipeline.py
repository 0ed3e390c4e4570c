"""dlib's own pipeline: its detector, five landmarks, an aligned chip, and its recogniser."""

from collections.abc import Sequence

import numpy as np
import torch

from thesislib.baselines.aligned import aligned_faces
from thesislib.data.detector import detect_faces
from thesislib.faces import Face
from thesislib.metrics.boxes import box_iou
from thesislib.models.backbone import Normalise
from thesislib.models.dlib_resnet import EMBEDDING_DIM, dlib_recogniser

MIN_IOU = 0.3  # of dlib's box with a given one that is taken for the same face


class DlibPipeline:
    """What one would install instead (King 2009, 2017): two networks' work, face by face.

    Args:
        upsampling: of the detector, see :func:`thesislib.data.detector.detect_faces`.
        device: where the recogniser runs.

    Raises:
        MissingExtraError: dlib, or the package with its weights, is not installed.
        TeacherError: the weights are damaged or another net's.
    """

    highest_score = float("inf")  # scores are the detector's, an SVM's margins
    embedding_dim = EMBEDDING_DIM

    def __init__(self, upsampling: int = 1, device: torch.device | str = "cpu") -> None:
        self.upsampling = upsampling
        self.device = torch.device(device)
        self.net = dlib_recogniser().to(self.device)
        self.normalise = Normalise.of("dlib").to(self.device)

    @property
    def answers_key(self) -> str:
        """What an answer depends on."""
        return f"dlib's pipeline, upsampling {self.upsampling}"

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """Faces of decoded photos uint8 [H, W, 3], best first, named by nobody."""
        answers = []
        for photo in photos:
            boxes, scores = detect_faces(photo, self.upsampling)
            boxes, scores = boxes[scores > score_threshold], scores[scores > score_threshold]
            vectors = self._embed(photo, boxes)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = zip(boxes, scores.tolist(), vectors / lengths, strict=True)
            answers.append([Face(box, score, embedding=vector) for box, score, vector in rows])
        return answers

    def embeddings_at(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Embeddings of faces at given boxes, not normalised.

        Where dlib's detector finds the face too, its own box is taken, whose framing the landmarks
        were made for.

        Args:
            photos: uint8 [H, W, 3] RGB.
            boxes: per photo float [F, 4] pixels.

        Returns:
            per photo float32 [F, 128].
        """
        answers = []
        for photo, given in zip(photos, boxes, strict=True):
            detected, _ = detect_faces(photo, self.upsampling)
            used = np.array(given, dtype=np.float32)
            if len(detected):
                overlap = box_iou(detected, used)
                near = overlap.max(axis=0) >= MIN_IOU
                used[near] = detected[overlap.argmax(axis=0)[near]]
            answers.append(self._embed(photo, used))
        return answers

    @torch.inference_mode()
    def _embed(self, photo: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        if not len(boxes):
            return np.empty((0, EMBEDDING_DIM), np.float32)
        chips = aligned_faces(photo, boxes).to(self.device)
        return self.net(self.normalise(chips)).cpu().numpy()
