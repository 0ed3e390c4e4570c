"""JointNet: one convolutional network from a photo to boxes, embeddings and identities."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from thesislib.data.transforms import PADDING
from thesislib.models.anchors import assign, cell_centres, decode
from thesislib.models.backbone import BACKBONE_STRIDE, Normalise, feature_map, make_backbone
from thesislib.models.heads import IdentityClassifier, full_precision
from thesislib.models.loss import JointLoss
from thesislib.models.margin import Margin

EMBEDDING_SOURCES = ("grid", "roi")
ROI_BINS = 3  # a box is read at 3 x 3 places and averaged: faces cover two to four cells a side


class JointNet(nn.Module):
    """Detects and identifies in one pass (the thesis, chapter on the joint model).

    In training mode ``forward(photos, targets)`` returns the named losses; in evaluation mode
    ``forward(photos)`` returns detections, in the form of torchvision's detectors.

    Args:
        identities: names of the people, in the classifier's order.
        anchors: float [A, 2], width and height in pixels of the network's input.
        backbone: a name in ``BACKBONES``.
        weights: None or ``"imagenet"``.
        pooling: average pooling of the feature map, k x k; a cell is 32 k pixels. The thesis's
            5 x 5 grid at 320 pixels is k = 2; k = 1 is no pooling.
        embedding_dim: length of an embedding.
        normalised, margin: see :class:`IdentityClassifier`.
        loss: a :class:`JointLoss`; None for its defaults.
        embedding_source: where a face's embedding comes from: ``"grid"``, the thesis's, the cell that holds
            the face's centre; ``"roi"``, the feature map averaged under the face's box, the true
            one in training and the detected one in use (RoI align, He et al. 2017, section 3; in
            joint networks for person search: Xiao et al. 2017).

    Raises:
        ValueError: no identities, a name in them twice, or unknown ``embedding_source``.
    """

    score_threshold = 0.05
    nms_iou = 0.5
    max_detections = 100

    def __init__(
        self,
        identities: Sequence[str],
        anchors,
        backbone: str = "resnet34",
        weights: str | None = None,
        pooling: int = 2,
        embedding_dim: int = 512,
        normalised: bool = False,
        loss: JointLoss | None = None,
        margin: Margin | None = None,
        embedding_source: str = "grid",
    ) -> None:
        super().__init__()
        if not identities or len(set(identities)) != len(identities):
            raise ValueError("identities must be a non-empty list of different names")
        if embedding_source not in EMBEDDING_SOURCES:
            raise ValueError(
                f"embedding_source={embedding_source!r} is unknown; choose grid or roi"
            )
        self.identities = list(identities)
        self.embedding_source = embedding_source
        self.register_buffer("anchors", torch.as_tensor(anchors, dtype=torch.float32))
        self.cell = BACKBONE_STRIDE * pooling
        self.embedding_dim = embedding_dim
        self.normalise = Normalise()
        channels = 2048 if backbone == "resnet50" else 512
        self.backbone_name = backbone
        self.backbone = make_backbone(backbone, weights)
        self.pool = nn.AvgPool2d(pooling) if pooling > 1 else nn.Identity()
        count = len(self.anchors)
        self.regression_head = nn.Conv2d(channels, count * 5, kernel_size=1)
        # What is read under a box does not depend on the anchor that found it.
        copies = count if embedding_source == "grid" else 1
        self.embedding_head = nn.Conv2d(channels, copies * embedding_dim, kernel_size=1)
        self.classifier = IdentityClassifier(embedding_dim, len(identities), normalised, margin)
        self.loss = loss or JointLoss()
        nn.init.normal_(self.regression_head.weight, std=0.01)
        nn.init.zeros_(self.regression_head.bias)
        # Faces are rare among anchors: start by doubting each (focal loss, Lin et al. 2017, 3.3).
        with torch.no_grad():
            self.regression_head.bias.view(count, 5)[:, 4] = -3.0

    def heads(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw outputs for a batch.

        Args:
            photos: uint8 or float [N, 3, H, W], H and W multiples of the cell.

        Returns:
            regression [N, A, 5, rows, columns] and what embeddings are read from, see
            :meth:`read`: embeddings [N, E, A, rows, columns], or, if the net reads regions, the
            feature map [N, C, H/32, W/32].
        """
        whole = feature_map(self.backbone, self.normalise(photos))
        with full_precision(self.pool(whole)) as features:
            regression = self.regression_head(features).unflatten(1, (-1, 5))
            if self.embedding_source == "roi":
                return regression, whole.float()
            # [N, A*E, rows, columns] -> [N, A, E, ...] -> [N, E, A, ...]
            embeddings = self.embedding_head(features).unflatten(1, (-1, self.embedding_dim))
        return regression, embeddings.transpose(1, 2)

    def read(self, source: torch.Tensor, where: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Embeddings of some faces, not normalised.

        Args:
            source: second result of :meth:`heads`.
            where: int64 [F, 4], photo, anchor, row and column of each face; a net that reads regions
                looks at the photo alone.
            boxes: float [F, 4] pixels of the network's input; a net that reads the grid does not look.

        Returns:
            float [F, E].
        """
        photo, anchor, row, column = where.unbind(dim=1)
        if self.embedding_source == "grid":
            return source[photo, :, anchor, row, column]
        return self.embedding_head(self.pooled(source, photo, boxes)).flatten(1)

    @staticmethod
    def pooled(features: torch.Tensor, photo: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Mean of a feature map [N, C, h, w] under boxes [F, 4] of photos [F]: [F, C, 1, 1]."""
        rois = torch.cat([photo[:, None].to(boxes.dtype), boxes], dim=1)
        with full_precision(features) as features:
            bins = roi_align(
                features, rois.to(features.dtype), ROI_BINS, 1 / BACKBONE_STRIDE, 2, aligned=True
            )
            return bins.mean(dim=(2, 3), keepdim=True)

    def forward(self, photos, targets: list[dict] | None = None):
        """Losses in training mode, detections in evaluation mode.

        Args:
            photos: uint8 or float (0..1) [N, 3, H, W], or a list of [3, H, W] of any sizes.
            targets: for training, one dict a photo: ``boxes`` [F, 4] with 0 <= x1 < x2 <= W,
                ``identities`` int64 [F].

        Returns:
            training: dict of losses, see :class:`JointLoss`. Evaluation: list of dicts, see
            :meth:`detect`.

        Raises:
            ValueError: training without targets.
        """
        if not self.training:
            return self.detect(photos)
        if targets is None:
            raise ValueError("targets must be given in training mode")
        photos, _ = self.batch(photos)
        regression, source = self.heads(photos)

        def read(where: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
            return self.read(source, where, boxes)

        return self.loss(regression, read, self.classifier, self.anchors, self.cell, targets)

    def batch(self, photos) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """Pad to a multiple of the cell and stack: [N, 3, H, W] and each photo's true (H, W)."""
        sizes = [tuple(photo.shape[-2:]) for photo in photos]
        rows, columns = (
            -(-max(size[axis] for size in sizes) // self.cell) * self.cell for axis in (0, 1)
        )
        if isinstance(photos, torch.Tensor) and photos.shape[-2:] == (rows, columns):
            return photos, sizes
        fill = PADDING / 255 if photos[0].is_floating_point() else PADDING
        batch = [
            F.pad(photo, (0, columns - photo.shape[2], 0, rows - photo.shape[1]), value=fill)
            for photo in photos
        ]
        return torch.stack(batch), sizes

    @torch.no_grad()
    def detect(self, photos) -> list[dict]:
        """Find and identify faces.

        Args:
            photos: as for :meth:`forward`; pixels of the network's input scale.

        Returns:
            one dict a photo, best first: ``boxes`` float [D, 4] pixels within the photo,
            ``scores`` float [D] in 0..1 (confidence that it is a face), ``identities`` int64 [D]
            (index into ``self.identities``), ``identity_scores`` float [D] in 0..1 (softmax),
            ``embeddings`` float [D, E], L2-normalised.
        """
        if not len(photos):
            return []
        batch, sizes = self.batch(photos)
        return self.decode(*self.heads(batch), sizes)

    @torch.no_grad()
    def decode(self, regression, source, sizes) -> list[dict]:
        """Detections from the raw outputs of :meth:`heads`.

        Args:
            regression: [N, A, 5, rows, columns].
            source: what embeddings are read from, second result of :meth:`heads`.
            sizes: per photo its true (H, W) in pixels, without padding.

        Returns:
            as :meth:`detect`.
        """
        centres = cell_centres(regression.shape[-2:], self.cell, regression.device)
        codes = regression[:, :, :4].permute(0, 1, 3, 4, 2).float()  # [N, A, rows, columns, 4]
        boxes = decode(codes, centres, self.anchors[:, None, None], self.cell)
        scores = regression[:, :, 4].float().sigmoid()  # [N, A, rows, columns]
        return [
            self._survivors(photo, boxes[photo], scores[photo], source, size)
            for photo, size in enumerate(sizes)
        ]

    def _survivors(self, photo: int, boxes, scores, source, size) -> dict:
        boxes = clip_boxes_to_image(boxes, size)
        alive = (scores > self.score_threshold) & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        places = alive.nonzero()  # [alive, 3]: anchor, row, column
        boxes, scores = boxes[alive], scores[alive]
        kept = batched_nms(boxes, scores, torch.zeros_like(places[:, 0]), self.nms_iou)
        kept = kept[: self.max_detections]
        boxes, scores = boxes[kept], scores[kept]
        # The classifier is linear in people; only detections that survive pay for it.
        where = F.pad(places[kept], (1, 0), value=photo)
        vectors = self.read(source, where, boxes).float()
        probabilities = self.classifier.at(vectors).softmax(dim=1)
        identity_scores, identities = probabilities.max(dim=1)
        return {
            "boxes": boxes,
            "scores": scores,
            "identities": identities,
            "identity_scores": identity_scores,
            "embeddings": F.normalize(vectors, dim=1),
        }

    @torch.no_grad()
    def embed_at(self, photos, boxes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings read at the places of given boxes.

        Args:
            photos: as for :meth:`forward`.
            boxes: per photo float [F, 4] pixels.

        Returns:
            per photo float [F, E], not normalised; NaN where the grid has no place for a face.
        """
        batch, _ = self.batch(photos)
        regression, source = self.heads(batch)
        found = []
        for photo, faces in enumerate(boxes):
            place = assign(faces, self.anchors, regression.shape[-2:], self.cell)
            where = F.pad(place, (1, 0), value=photo).to(source.device)
            placed = place[:, 0] >= 0
            vectors = torch.full((len(faces), self.embedding_dim), torch.nan, device=source.device)
            read = self.read(source, where[placed], faces[placed].to(source.device))
            vectors[placed] = read.float()
            found.append(vectors)
        return found

    @torch.no_grad()
    def identify_at(self, photos, boxes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Identities read at the places of given boxes: the bound that perfect detection sets.

        Args:
            photos: as for :meth:`forward`.
            boxes: per photo float [F, 4] pixels.

        Returns:
            per photo int64 [F]; -1 where the grid has no place for a face.
        """
        found = []
        for vectors in self.embed_at(photos, boxes):
            placed = ~vectors.isnan().any(dim=1)
            identities = torch.full((len(vectors),), -1, dtype=torch.int64)
            identities[placed.cpu()] = self.classifier.at(vectors[placed]).argmax(dim=1).cpu()
            found.append(identities)
        return found
