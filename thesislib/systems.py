"""The systems that are compared, each a chain of named stages from a photo to an answer.

A system is called with a decoded photo, uint8 [H, W, 3] RGB, and answers with a dict: ``boxes``
float32 [D, 4] pixels of that photo, ``scores`` float32 [D] best first, ``identities`` list of D
names. Its ``stages`` are the same work in named steps, so that each can be timed.
"""

from collections.abc import Callable

import numpy as np
import torch

from thesislib.baseline import FACE_MARGIN, cut_face, detect_faces, resize
from thesislib.metrics import BoxCalibration, apply_box_calibration
from thesislib.model import FaceClassifier, JointNet


class System:
    """A chain of stages; each takes what the one before returned."""

    name: str
    stages: list[tuple[str, Callable]]

    def __call__(self, photo: np.ndarray) -> dict:
        value = photo
        for _, stage in self.stages:
            value = stage(value)
        return value


def scaled_size(height: int, width: int, input_px: int) -> tuple[int, int]:
    """Height and width of a photo scaled to ``input_px`` on the shorter side, halves rounded up.

    >>> scaled_size(480, 641, 320)
    (320, 427)
    """
    shorter = torch.sym_min(height, width)
    return tuple((2 * side * input_px + shorter) // (2 * shorter) for side in (height, width))


def _scaled(photo: np.ndarray, short_side: int, device) -> torch.Tensor:
    """uint8 [3, h, w] with ``short_side`` pixels on the shorter side."""
    tensor = torch.from_numpy(photo).permute(2, 0, 1).to(device)
    return resize(tensor, scaled_size(*photo.shape[:2], short_side))


class Joint(System):
    """The joint net: one pass. Its answer has ``embeddings`` float32 [D, E], L2-normalised, too.

    Args:
        net: trained; put into evaluation mode.
        input_px: shorter side the photo is scaled to.
    """

    name = "joint"

    def __init__(self, net: JointNet, input_px: int) -> None:
        self.net = net.eval()
        self.input_px = input_px
        self.device = net.anchors.device
        self.stages = [
            ("preprocess", self._preprocess),
            ("network", self._network),
            ("postprocess", self._postprocess),
        ]

    def _preprocess(self, photo: np.ndarray):
        scaled = _scaled(photo, self.input_px, self.device)
        factors = np.array([photo.shape[1] / scaled.shape[2], photo.shape[0] / scaled.shape[1]])
        batch, sizes = self.net.batch([scaled])
        return batch, sizes, np.tile(factors, 2).astype(np.float32)

    @torch.inference_mode()
    def _network(self, state):
        batch, sizes, factors = state
        return self.net.heads(batch), sizes, factors

    def _postprocess(self, state) -> dict:
        (regression, embeddings), sizes, factors = state
        found = self.net.decode(regression, embeddings, sizes)[0]
        return {
            "boxes": found["boxes"].cpu().numpy() * factors,
            "scores": found["scores"].cpu().numpy(),
            "identities": [self.net.identities[at] for at in found["identities"].tolist()],
            "embeddings": found["embeddings"].cpu().numpy(),
        }

    @torch.inference_mode()
    def identify_at(self, photo: np.ndarray, boxes: np.ndarray) -> list[str]:
        """Identities read at given boxes [F, 4]: the upper bound of perfect detection."""
        batch, _, factors = self._preprocess(photo)
        scaled = torch.from_numpy(boxes / factors).float()
        found = self.net.identify_at(batch, [scaled])[0].tolist()
        return [self.net.identities[at] if at >= 0 else "" for at in found]


class TwoStage(System):
    """dlib's detector, then a classifier of the photo or of each detected face.

    Args:
        classifier: trained; put into evaluation mode.
        sees: ``"photo"``: the classifier names the whole photo once, as in the thesis;
            ``"face"``: it names each detected face, as a real pipeline would.
        input_px: side of what the classifier sees (shorter side for a photo).
        upsampling: of the detector.
        calibration: fitted on training photos; faces are cut out along the calibrated box.
    """

    def __init__(
        self,
        classifier: FaceClassifier,
        sees: str,
        input_px: int,
        upsampling: int,
        calibration: BoxCalibration,
    ) -> None:
        if sees not in ("photo", "face"):
            raise ValueError(f"sees must be 'photo' or 'face', not {sees!r}")
        self.name = f"two_stage_{sees}"
        self.classifier = classifier.eval()
        weight = next(classifier.parameters(), None)  # one on an engine has none
        self.device = torch.device("cpu") if weight is None else weight.device
        self.sees, self.input_px = sees, input_px
        self.upsampling, self.calibration = upsampling, calibration
        self.stages = [
            ("detector", self._detect),
            ("preprocess", self._preprocess),
            ("classifier", self._classify),
        ]

    def _detect(self, photo: np.ndarray):
        return photo, *detect_faces(photo, self.upsampling)

    def _cut(self, photo: np.ndarray, boxes: np.ndarray) -> torch.Tensor:
        """What the classifier sees for these boxes: [1 or D, 3, h, w]."""
        if self.sees == "photo":
            return _scaled(photo, self.input_px, self.device)[None]
        tensor = torch.from_numpy(photo).permute(2, 0, 1).to(self.device)
        return torch.stack([cut_face(tensor, box, self.input_px, FACE_MARGIN) for box in boxes])

    def _preprocess(self, state):
        photo, boxes, scores = state
        if not len(boxes):
            return boxes, scores, None
        calibrated = apply_box_calibration(boxes, self.calibration)
        return boxes, scores, self._cut(photo, calibrated)

    @torch.inference_mode()
    def _names(self, inputs: torch.Tensor) -> list[str]:
        found = self.classifier(inputs).argmax(dim=1).tolist()
        return [self.classifier.identities[at] for at in found]

    def _classify(self, state) -> dict:
        boxes, scores, inputs = state
        names = self._names(inputs) if inputs is not None else []
        if self.sees == "photo" and names:
            names = names * len(boxes)
        return {"boxes": boxes, "scores": scores, "identities": names}

    def identify_at(self, photo: np.ndarray, boxes: np.ndarray) -> list[str]:
        """Identities for given boxes [F, 4]: the upper bound of perfect detection."""
        names = self._names(self._cut(photo, boxes))
        return names * len(boxes) if self.sees == "photo" else names
