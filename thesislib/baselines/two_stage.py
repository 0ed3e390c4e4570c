"""The two-stage baseline: dlib's frontal face detector, then a ResNet that names the person."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from thesislib.baselines.aligned import aligned_faces
from thesislib.data.columns import BOX
from thesislib.data.detector import detect_faces
from thesislib.data.images import read_photo
from thesislib.data.loading import Photo
from thesislib.data.transforms import cut_square, scaled_photo
from thesislib.faces import Face, check_score_threshold
from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    box_iou,
    fit_box_calibration,
    inverse_box_calibration,
)
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.matching import match_greedy

if TYPE_CHECKING:
    from thesislib.models.face_classifier import FaceClassifier

# The face is cut out with this much around its box: hair line and ears help, the room does not.
FACE_MARGIN = 1.3
SEES = ("photo", "face", "aligned")


class TwoStage:
    """dlib's detector, then a classifier of the photo or of each detected face.

    Args:
        classifier: trained; put into evaluation mode.
        sees: ``"photo"``: the classifier names the whole photo once, as in the thesis;
            ``"face"``: it names each detected face, as a real pipeline would; ``"aligned"``: the
            same, the face turned and scaled by dlib's landmarks, as dlib's recogniser expects it.
        upsampling: of the detector.
        calibration: from the detector's framing of a face to the dataset's, fitted on training
            photos; faces are cut out along the calibrated box, landmarks are sought in dlib's.
        threshold: of the detector's margin; scores of faces are margins above it.

    Raises:
        ValueError: unknown ``sees``.
    """

    highest_score = math.inf  # of an SVM's margin

    def __init__(
        self,
        classifier: FaceClassifier | Any,
        sees: str,
        upsampling: int,
        calibration: BoxCalibration,
        threshold: float = 0.0,
    ) -> None:
        if sees not in SEES:
            raise ValueError(f"sees={sees!r} is unknown; choose {', '.join(SEES)}")
        self.classifier = classifier.eval()
        self.sees, self.upsampling, self.calibration = sees, upsampling, calibration
        self.threshold = threshold
        self.input_px = classifier.input_px

    @property
    def answers_key(self) -> str:
        """SHA-256 of all that an answer depends on."""
        about = [self.sees, self.upsampling, self.threshold, self.calibration]
        about.append(self.classifier.identities)
        digest = hashlib.sha256(json.dumps(about).encode())
        for value in self.classifier.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def stages(self) -> list[tuple[str, Callable]]:
        """The work in named steps, each taking what the one before returned; see
        :func:`thesislib.engine.timing.take_turns`."""
        return [
            ("detector", self._detect),
            ("preprocess", self._preprocess),
            ("classifier", self._classify),
        ]

    def _detect(self, photo: np.ndarray) -> tuple:
        boxes, margins = detect_faces(photo, self.upsampling, self.threshold)
        return photo, boxes, margins - self.threshold

    def _preprocess(self, state: tuple) -> tuple:
        photo, boxes, scores = state
        if not len(boxes):
            return boxes, scores, None
        return boxes, scores, self._seen(photo, apply_box_calibration(boxes, self.calibration))

    def _seen(self, photo: np.ndarray, boxes: np.ndarray) -> torch.Tensor:
        """What the classifier sees for these boxes: [1 or D, 3, h, w]."""
        if self.sees != "photo":
            return self._cut_out(photo, boxes)
        return scaled_photo(photo, self.input_px, self.classifier.device)[None]

    def _cut_out(self, photo: np.ndarray, boxes: np.ndarray) -> torch.Tensor:
        device = self.classifier.device
        if self.sees != "aligned":
            pixels = torch.from_numpy(photo).permute(2, 0, 1).to(device)
            return torch.stack([cut_face(pixels, box, self.input_px) for box in boxes])
        framed = apply_box_calibration(boxes, inverse_box_calibration(self.calibration))
        return aligned_faces(photo, framed, self.input_px).to(device)

    def _classify(self, state: tuple) -> list[Face]:
        boxes, scores, inputs = state
        if inputs is None:
            return []
        names, name_scores = self._names(inputs, len(boxes))
        return [Face(*face) for face in zip(boxes, scores, names, name_scores, strict=True)]

    @torch.inference_mode()
    def _names(self, inputs: torch.Tensor, faces: int) -> tuple[list[str], list[float]]:
        best, found = self.classifier(inputs).float().softmax(dim=1).max(dim=1)
        names = [self.classifier.identities[at] for at in found.tolist()]
        if self.sees == "photo":
            return names * faces, best.tolist() * faces
        return names, best.tolist()

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """Faces of decoded photos, best first.

        Args:
            photos: uint8 [H, W, 3] RGB.
            score_threshold: detections with scores up to this one are dropped; scores are the
                detector's margins above its own threshold.

        Raises:
            ValueError: a threshold that is not a number.
        """
        check_score_threshold(score_threshold, self.highest_score)
        answers = []
        for photo in photos:
            faces = self._classify(self._preprocess(self._detect(photo)))
            answers.append([face for face in faces if face.score > score_threshold])
        return answers

    def identify_boxes(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[list[str]]:
        """Identities at given boxes (oracle boxes).

        Args:
            photos: uint8 [H, W, 3] RGB.
            boxes: per photo float [F, 4] pixels.
        """
        return [
            self._names(self._seen(photo, faces), len(faces))[0] if len(faces) else []
            for photo, faces in zip(photos, boxes, strict=True)
        ]

    @torch.inference_mode()
    def embeddings_at(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The classifier's embeddings of faces cut out at given boxes, not normalised.

        Args:
            photos: uint8 [H, W, 3] RGB.
            boxes: per photo float [F, 4] pixels, F at least 1.

        Returns:
            per photo float32 [F, E].
        """
        faces = [
            self._cut_out(photo, of_photo) for photo, of_photo in zip(photos, boxes, strict=True)
        ]
        vectors = self.classifier.embed(torch.cat(faces)).float().cpu()
        return [part.numpy() for part in vectors.split([len(one) for one in boxes])]


def cut_face(photo: torch.Tensor, box: np.ndarray, size: int) -> torch.Tensor:
    """A face as the classifier sees it: uint8 [3, H, W] to uint8 [3, size, size]."""
    return cut_square(photo, box, size, FACE_MARGIN)


def calibrate(detections: pd.DataFrame, photos: Sequence[Photo]) -> BoxCalibration:
    """From a detector's framing of a face to the dataset's, by the faces of training photos.

    Args:
        detections: as of :func:`thesislib.data.detector.detections_table`.
        photos: annotations of the training photos.

    Raises:
        NotSupportedError: none of the faces was found.
    """
    found = dict(list(detections.groupby("photo")))
    detected, truth = [], []
    for photo in photos:
        if photo.name not in found or not len(photo.boxes):
            continue
        rows = found[photo.name]
        boxes = rows[BOX].to_numpy(np.float32)
        matched, _ = match_greedy(boxes, rows["score"].to_numpy(), photo.boxes.numpy())
        detected += list(boxes[matched >= 0])
        truth += list(photo.boxes.numpy()[matched[matched >= 0]])
    if not detected:
        raise NotSupportedError(
            "box calibration: no annotated face of the training photos was found"
        )
    return fit_box_calibration(np.asarray(detected), np.asarray(truth))


class FaceStore:
    """Detected faces of the training photos, cut out, in the place of whole photos.

    Where dlib missed the face the annotated box is used, so that both systems train on the same
    photos. Attributes ``photos`` (their annotations, one face filling each) and ``store[i]`` fit
    :class:`thesislib.data.loading.Crops`.

    Args:
        folder: of the dataset.
        photos: annotations of the training photos.
        detections: of :func:`thesislib.data.detector.detections_table`.
        calibration: of :func:`calibrate`.
        size: side of a cut-out face in pixels.
        aligned: cut out by dlib's landmarks, not along the box.
        progress: show a bar.
    """

    def __init__(
        self,
        folder: Path,
        photos: Sequence[Photo],
        detections: pd.DataFrame,
        calibration: BoxCalibration,
        size: int,
        aligned: bool = False,
        progress: bool = True,
    ) -> None:
        found = {name: rows[BOX].to_numpy(np.float32) for name, rows in detections.groupby("photo")}
        back = inverse_box_calibration(calibration)
        self.photos: list[Photo] = []
        self.faces: list[torch.Tensor] = []
        for photo in tqdm(photos, desc="cutting faces", unit="photo", disable=not progress):
            whole = read_photo(folder / photo.name)
            pixels = torch.from_numpy(whole).permute(2, 0, 1)
            for truth, identity in zip(photo.boxes, photo.identities, strict=True):
                box = truth.numpy()
                if photo.name in found:
                    candidates = apply_box_calibration(found[photo.name], calibration)
                    overlap = box_iou(candidates, truth.numpy()[None])[:, 0]
                    if overlap.max() >= 0.5:
                        box = candidates[overlap.argmax()]
                if aligned:
                    self.faces += aligned_faces(whole, apply_box_calibration(box[None], back), size)
                else:
                    self.faces.append(cut_face(pixels, box, size))
                self.photos.append(
                    Photo(
                        name=photo.name,
                        boxes=torch.tensor([[0.0, 0.0, size, size]]),
                        identities=identity[None],
                        size=(size, size),
                    )
                )

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, at: int) -> torch.Tensor:
        return self.faces[at]
