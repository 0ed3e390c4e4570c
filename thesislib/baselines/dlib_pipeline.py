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
        upsampling, threshold: of the detector, see
            :func:`thesislib.data.detector.detect_faces`.
        device: where the recogniser runs.

    Raises:
        MissingExtraError: dlib, or the package with its weights, is not installed.
        TeacherError: the weights are damaged or another net's.
    """

    # Scores are the detector's: an SVM's margins above its threshold.
    highest_score = float("inf")
    embedding_dim = EMBEDDING_DIM

    def __init__(
        self,
        upsampling: int = 1,
        device: torch.device | str = "cpu",
        threshold: float = 0.0,
    ) -> None:
        self.upsampling, self.threshold = upsampling, threshold
        self.device = torch.device(device)
        self.net = dlib_recogniser().to(self.device)
        self.normalise = Normalise.of("dlib").to(self.device)

    @property
    def answers_key(self) -> str:
        """What an answer depends on."""
        return f"dlib's pipeline, upsampling {self.upsampling}, threshold {self.threshold}"

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """Faces of decoded photos uint8 [H, W, 3], best first, named by nobody."""
        answers = []
        for photo in photos:
            boxes, scores, vectors = self.found(photo, score_threshold)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = zip(boxes, scores.tolist(), vectors / lengths, strict=True)
            answers.append([Face(box, score, embedding=vector) for box, score, vector in rows])
        return answers

    def found(
        self, photo: np.ndarray, score_threshold: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Faces of a decoded photo uint8 [H, W, 3], best first.

        Returns:
            boxes float32 [D, 4] pixels, scores float32 [D], embeddings float32 [D, 128], not
            normalised.
        """
        boxes, margins = detect_faces(photo, self.upsampling, self.threshold)
        scores = margins - self.threshold
        boxes, scores = boxes[scores > score_threshold], scores[scores > score_threshold]
        return boxes, scores, self.embed(photo, boxes)

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
            detected, _ = detect_faces(photo, self.upsampling, self.threshold)
            answers.append(self.embed(photo, in_place_of(given, detected)))
        return answers

    @torch.inference_mode()
    def embed(self, photo: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Embeddings float32 [D, 128], not normalised, at boxes as its own detector frames faces.

        Args:
            photo: uint8 [H, W, 3] RGB.
            boxes: float [D, 4] pixels.
        """
        if not len(boxes):
            return np.empty((0, EMBEDDING_DIM), np.float32)
        chips = aligned_faces(photo, boxes).to(self.device)
        return self.net(self.normalise(chips)).cpu().numpy()


def in_place_of(given: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """dlib's boxes of given faces, whose framing its landmarks were made for.

    Args:
        given: float [F, 4] pixels.
        detected: float [D, 4] pixels; D may be 0.

    Returns:
        float32 [F, 4]: of each face the detected box that overlaps it most, with an IoU of at
        least ``MIN_IOU``; else the given one.
    """
    used = np.array(given, dtype=np.float32)
    if len(detected) and len(used):
        overlap = box_iou(detected, used)
        near = overlap.max(axis=0) >= MIN_IOU
        used[near] = detected[overlap.argmax(axis=0)[near]]
    return used
