"""What is exported: one graph from uint8 photos to faces."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import nms

from thesislib.data.transforms import PADDING, scaled_size
from thesislib.models.anchors import cell_centres, decode
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

OUTPUTS = ("photo", "boxes", "scores", "identities", "identity_scores", "embeddings")


@torch.library.custom_op("thesislib::survivors", mutates_args=())
def survivors(
    boxes: torch.Tensor, scores: torch.Tensor, iou: float, threshold: float, most: int
) -> torch.Tensor:
    """Non-maximum suppression, photo by photo; in ONNX one NonMaxSuppression.

    Args:
        boxes: float [N, M, 4].
        scores: float [N, M].
        iou: overlap above which the lesser of two boxes goes.
        threshold: scores up to this one go.
        most: boxes kept of a photo.

    Returns:
        int64 [D, 2]: photo and box, by photo, best first.
    """
    found = []
    for photo, (own, score) in enumerate(zip(boxes, scores, strict=True)):
        alive = (score > threshold).nonzero()[:, 0]
        kept = alive[nms(own[alive], score[alive], iou)[:most]]
        found.append(torch.stack([torch.full_like(kept, photo), kept], dim=1))
    return torch.cat(found)


@survivors.register_fake
def _(boxes, scores, iou, threshold, most):
    return boxes.new_empty((torch.library.get_ctx().new_dynamic_size(), 2), dtype=torch.int64)


def survivors_in_onnx() -> Callable:
    from onnxscript import opset18 as op

    def suppression(boxes, scores, iou: float, threshold: float, most: int):
        found = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[most]),
            op.Constant(value_floats=[iou]),
            op.Constant(value_floats=[threshold]),
        )
        return op.Gather(found, op.Constant(value_ints=[0, 2]), axis=1)  # photo, class, box

    return suppression


class PhotosToFaces(nn.Module):
    """What is exported: a joint net with scaling before it and decoding behind it.

    Args:
        net: a trained :class:`JointNet`.
        input_px: shorter side that photos are scaled to.
    """

    def __init__(self, net: JointNet, input_px: int) -> None:
        super().__init__()
        self.net, self.input_px = net.eval(), input_px
        self.heads = net.heads  # replaced by its compiled form

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Detect in a batch.

        Args:
            photos: uint8 [N, H, W, 3] RGB, any size.

        Returns:
            for all D faces found, by photo, best first: ``photo`` int64 [D], ``boxes`` float32
            [D, 4] pixels of the photo, ``scores`` float32 [D], ``identities`` int64 [D],
            ``identity_scores`` float32 [D], ``embeddings`` float32 [D, E], L2-normalised.
        """
        batch, size = self.scale(photos)
        regression, embeddings = self.heads(batch)
        return self.answer(regression, embeddings, size, photos.shape[1:3])

    def scale(self, photos: torch.Tensor) -> tuple[torch.Tensor, tuple]:
        """Scaled and padded to whole cells, uint8 [N, 3, h', w'], and its (h, w) unpadded."""
        height, width = photos.shape[1:3]
        size = scaled_size(height, width, self.input_px)
        scaled = photos.permute(0, 3, 1, 2)
        scaled = F.interpolate(scaled, size=size, mode="bilinear", antialias=True)
        rows, columns = (-size[0] % self.net.cell, -size[1] % self.net.cell)
        return F.pad(scaled, (0, columns, 0, rows), value=PADDING), size

    def answer(self, regression, embeddings, size, photo_size) -> tuple[torch.Tensor, ...]:
        """Detections from the raw outputs of the heads, as :meth:`forward` returns them."""
        net = self.net
        centres = cell_centres(regression.shape[-2:], net.cell, regression.device)
        codes = regression[:, :, :4].permute(0, 1, 3, 4, 2)  # [N, A, rows, columns, 4]
        boxes = decode(codes, centres, net.anchors[:, None, None], net.cell).flatten(1, 3)
        x1, y1, x2, y2 = boxes.unbind(dim=2)
        (height, width) = size
        boxes = torch.stack(
            [x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)],
            dim=2,
        )
        scores = regression[:, :, 4].sigmoid().flatten(1)
        whole = (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
        scores = torch.where(whole, scores, -1.0)
        vectors = embeddings.flatten(2).transpose(1, 2)  # [N, A*rows*columns, E]
        found = torch.ops.thesislib.survivors(
            boxes, scores, net.nms_iou, net.score_threshold, net.max_detections
        )
        photo, at = found.unbind(dim=1)
        kept = vectors[photo, at]
        # The classifier is linear in people; only detections that survive pay for it.
        best, identities = net.classifier.at(kept).softmax(dim=1).max(dim=1)
        x1, y1, x2, y2 = boxes[photo, at].unbind(dim=1)
        across, down = photo_size[1] / width, photo_size[0] / height
        boxes = torch.stack([x1 * across, y1 * down, x2 * across, y2 * down], dim=1)
        return photo, boxes, scores[photo, at], identities, best, F.normalize(kept, dim=1)


class PhotosToLogits(nn.Module):
    """What is exported of the two-stage baseline's classifier: uint8 [N, 3, H, W] to logits."""

    def __init__(self, net: FaceClassifier) -> None:
        super().__init__()
        self.net = net.eval()

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.net(photos)
