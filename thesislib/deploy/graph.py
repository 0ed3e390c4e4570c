"""The exported graph: from uint8 photos to faces, traced from the code that the nets run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from thesislib.data.transforms import resize, scale_factors, scaled_photo, scaled_size, scaled_sizes
from thesislib.engine.evaluate import SCORE_THRESHOLD
from thesislib.engine.predict import Photos, predict
from thesislib.environment import require
from thesislib.faces import Face, check_score_threshold

# The last of a net that finds them alone.
OUTPUTS = ("photo", "boxes", "scores", "identities", "identity_scores", "embeddings", "landmarks")
USER_SCORE = 0.5  # of users' predictions: engines are timed and calibrated at it
BATCH_PIXELS = 20_000_000  # scaled photos of one size go through together, up to this many

# What an engine makes of a graph: from photos, and of a joint net a score threshold, to outputs.
Run = Callable[..., tuple[np.ndarray, ...]]


def detecting(call: Run) -> Run:
    """A joint net's graph on an engine, with a threshold for who names none."""

    def run(photos: np.ndarray, score_threshold: float = SCORE_THRESHOLD) -> tuple[np.ndarray, ...]:
        return call(photos, np.array(score_threshold, dtype=np.float32))

    return run


class PhotosToFaces(nn.Module):
    """A joint net with the scaling before it and the decoding behind it.

    Both are those of :meth:`thesislib.models.joint.JointNet.predict_arrays`.

    Args:
        net: a :class:`thesislib.models.joint.JointNet` or its compiled form; put into evaluation
            mode.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(
        self, photos: torch.Tensor, score_threshold: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Detect and identify the faces of a batch.

        Args:
            photos: uint8 [N, H, W, 3] RGB, of any size.
            score_threshold: float32 []; detections with scores up to this one are dropped before
                they are embedded, which takes time for each.

        Returns:
            for all D faces, by photo, highest score first: ``photo`` int64 [D], ``boxes`` float32
            [D, 4] pixels of the photo, ``scores`` float32 [D], ``identities`` int64 [D],
            ``identity_scores`` float32 [D], ``embeddings`` float32 [D, E], L2-normalised, and from
            a net that finds them ``landmarks`` float32 [D, 5, 2] pixels of the photo.
        """
        height, width = photos.shape[1:3]
        size = scaled_size(height, width, self.net.input_px)
        outputs = self.net(resize(photos.permute(0, 3, 1, 2), size))
        found = self.net.faces(outputs, size, score_threshold)
        photo, boxes, scores, identities, identity_scores, embeddings, *landmarks = found
        across, down = width / size[1], height / size[0]
        x1, y1, x2, y2 = boxes.unbind(dim=1)
        boxes = torch.stack([x1 * across, y1 * down, x2 * across, y2 * down], dim=1)
        for points in landmarks:
            x, y = points.unbind(dim=2)
            landmarks = [torch.stack([x * across, y * down], dim=2)]
        return photo, boxes, scores, identities, identity_scores, embeddings, *landmarks


class PhotosToLogits(nn.Module):
    """The two-stage baseline's classifier: what it sees, uint8 [N, 3, H, W], to logits.

    Args:
        net: a :class:`thesislib.models.face_classifier.FaceClassifier` or its compiled form; put
            into evaluation mode.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits float32 [N, identities]."""
        return self.net(photos)


def suppress_in_onnx() -> Callable:
    """:func:`thesislib.models.decode.suppress` in ONNX: one NonMaxSuppression."""
    op = require("onnxscript", extra="deploy").opset18

    def suppress(boxes: Any, scores: Any, iou: float, threshold: float, most: int) -> Any:
        found = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[most]),
            op.Constant(value_floats=[iou]),
            op.Constant(value_floats=[threshold]),
        )
        return op.Gather(found, op.Constant(value_ints=[0, 2]), axis=1)  # photo, class, box

    return suppress


class GraphSystem:
    """The graph of a joint net, whatever runs it, as a system that finds and names faces.

    Args:
        run: the graph, photos uint8 [N, H, W, 3] and a score threshold to ``OUTPUTS``.
        identities: names, in the classifier's order.
        input_px: shorter side that photos are scaled to, in pixels.
    """

    def __init__(self, run: Run, identities: Sequence[str], input_px: int) -> None:
        self.run = run
        self.identities = list(identities)
        self.input_px = input_px

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos, highest score first.

        Args:
            photos: uint8 [H, W, 3] RGB, of any sizes; those of one size, once scaled, go through
                together.
            score_threshold: detections with scores up to this one are dropped; 0 to 1.

        Raises:
            ValueError: a threshold out of range, an array that is no photo, or a photo so long and
                narrow that it cannot be scaled.
        """
        check_score_threshold(score_threshold)
        answers: list[list[Face]] = [[] for _ in photos]
        for size, members in self._batches(photos):
            together = [photos[at] for at in members]
            outputs = self.run(self._scaled(together), score_threshold)
            found = self._as_faces(together, size, outputs)
            for at, faces in zip(members, found, strict=True):
                answers[at] = faces
        return answers

    def stages_at(self, score_threshold: float) -> list[tuple[str, Callable]]:
        """What :meth:`predict_arrays` does with one photo in named steps, each taking what the one
        before returned; see :func:`thesislib.engine.timing.take_turns`.

        ``network`` is the graph: the net, the decoding of its boxes and their suppression.
        """

        def preprocess(photo: np.ndarray) -> tuple:
            ((size, _),) = self._batches([photo])
            return photo, size, self._scaled([photo])

        def network(state: tuple) -> tuple:
            photo, size, batch = state
            return photo, size, self.run(batch, score_threshold)

        def postprocess(state: tuple) -> list[Face]:
            photo, size, outputs = state
            return self._as_faces([photo], size, outputs)[0]

        return [("preprocess", preprocess), ("network", network), ("postprocess", postprocess)]

    def _scaled(self, photos: Sequence[np.ndarray]) -> np.ndarray:
        """Photos at the input's scale, where they have one size: uint8 [N, H, W, 3]."""
        # The graph scales too, but engines take many times as long for it.
        scaled = [scaled_photo(photo, self.input_px).permute(1, 2, 0) for photo in photos]
        batch = scaled[0][None] if len(scaled) == 1 else torch.stack(scaled)
        return batch.contiguous().numpy()

    def predict(
        self,
        photos: Photos,
        score_threshold: float = 0.5,
        out: Path | str | None = None,
        progress: bool = False,
    ) -> list:
        """Faces of photos; see :func:`thesislib.engine.predict.predict`."""
        return predict(self, photos, score_threshold, out=out, progress=progress)

    def _batches(self, photos: Sequence[np.ndarray]) -> list[tuple[tuple[int, int], list[int]]]:
        """A size at the input's scale, and the places of photos that have it, as many as go through
        the graph together."""
        of_size: dict[tuple[int, int], list[int]] = {}
        for at, size in enumerate(scaled_sizes(photos, self.input_px)):
            of_size.setdefault(size, []).append(at)
        batches = []
        for size, places in of_size.items():
            most = max(1, BATCH_PIXELS // (size[0] * size[1]))
            batches += [(size, places[at : at + most]) for at in range(0, len(places), most)]
        return batches

    def _as_faces(
        self,
        photos: Sequence[np.ndarray],
        size: tuple[int, int],
        outputs: tuple[np.ndarray, ...],
    ) -> list[list[Face]]:
        """Faces of photos that went through the graph together, scaled to ``size``."""
        of_photo, *values = outputs
        answers = []
        for number, photo in enumerate(photos):
            own = (value[of_photo == number] for value in values)
            boxes, scores, identities, name_scores, embeddings, *landmarks = own
            factors = scale_factors(photo, size)
            points = landmarks[0] * factors[:2] if landmarks else [None] * len(boxes)
            rows = zip(
                boxes * factors,
                scores.tolist(),
                [self.identities[at] for at in identities.tolist()],
                name_scores.tolist(),
                embeddings,
                points,
                strict=True,
            )
            answers.append([Face(*row) for row in rows])
        return answers
