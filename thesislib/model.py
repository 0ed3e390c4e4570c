"""JointNet: one convolutional network from a photo to boxes, embeddings and identities."""

import contextlib
from collections.abc import Iterator, Sequence
from http.client import HTTPException

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from thesislib.anchors import assign, cell_centres, decode
from thesislib.data.loader import PADDING
from thesislib.loss import JointLoss, mean_over_processes
from thesislib.margin import Margin

BACKBONES = {
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
}
BACKBONE_STRIDE = 32
READS = ("cell", "box")
SMALL_MAP = 25  # places; see PatchConv2d
ROI_BINS = 3  # a box is read at 3 x 3 places and averaged: faces cover two to four cells a side
# Mean and standard deviation of ImageNet's photos, in 0..1, per channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class WeightsUnavailableError(RuntimeError):
    """Pre-trained weights were asked for and cannot be had."""


def make_backbone(name: str, weights: str | None = None) -> nn.Module:
    """A torchvision ResNet with its classifier taken off.

    Args:
        name: one of ``BACKBONES``.
        weights: None for random, or ``"imagenet"``.

    Raises:
        ValueError: unknown name or weights.
        WeightsUnavailableError: the weights are not on this machine and cannot be fetched.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is unknown; choose one of {', '.join(BACKBONES)}")
    if weights not in (None, "imagenet"):
        raise ValueError(f"weights {weights!r} are unknown; choose None or 'imagenet'")
    try:
        net = BACKBONES[name](weights="DEFAULT" if weights else None)
    # A refused or absent connection; a download that broke off, or came with another hash.
    except (OSError, RuntimeError, HTTPException) as error:
        raise WeightsUnavailableError(
            f"ImageNet weights of {name} are not on this machine and could not be fetched "
            f"({error}). Go on with weights=None (train from scratch), or put the file that "
            f"torchvision names into {torch.hub.get_dir()}/checkpoints and run again"
        ) from error
    net.fc = nn.Identity()
    for block in net.layer4:
        for name, conv in list(block.named_children()):
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                setattr(block, name, PatchConv2d.like(conv))
    return net


class PatchConv2d(nn.Conv2d):
    """A 3 x 3 convolution which in training multiplies the patches of a small map as one matrix.

    Output and gradients are those of ``nn.Conv2d`` up to rounding. On CPUs the convolutions of
    oneDNN, above all their gradients, take several times as long as the product where a map has few
    places and many channels; from about 10 x 10 places on they are the faster ones, and when
    nothing is trained there is no difference worth having.
    """

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "PatchConv2d":
        """With the weights of a convolution 3 x 3, padded by 1, without bias."""
        with torch.device("meta"):
            new = cls(conv.in_channels, conv.out_channels, 3, conv.stride, padding=1, bias=False)
        new.weight = conv.weight
        return new

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] to [N, D, rows, columns]."""
        down, across = self.stride
        rows, columns = -(-x.shape[2] // down), -(-x.shape[3] // across)
        if not self.training or x.device.type != "cpu" or rows * columns > SMALL_MAP:
            return super().forward(x)
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))  # [N, H + 2, W + 2, C]
        patches = torch.cat(
            [
                padded[:, top : top + down * rows : down, left : left + across * columns : across]
                for top in range(3)
                for left in range(3)
            ],
            dim=3,
        )
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # [D, 9 C]
        return F.linear(patches, weight).permute(0, 3, 1, 2)


def feature_map(backbone: nn.Module, photos: torch.Tensor) -> torch.Tensor:
    """Last feature map [N, C, H/32, W/32] of a ResNet for photos float [N, 3, H, W]."""
    x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(photos))))
    return backbone.layer4(backbone.layer3(backbone.layer2(backbone.layer1(x))))


@contextlib.contextmanager
def full_precision(features: torch.Tensor) -> Iterator[torch.Tensor]:
    """Leave autocast for what follows, the features in fp32: a few per cent of the work, and
    boxes and cosines keep more than the three digits of bf16."""
    kind = features.device.type
    lowered = torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False):
        yield features.float() if lowered else features


class Normalise(nn.Module):
    """uint8 photos (0..255) or float ones (0..1) to zero mean and unit variance per channel."""

    layout = torch.channels_last  # in which convolutions are fastest

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        if not photos.is_floating_point():
            photos = photos.float() / 255
        return ((photos - self.mean) / self.std).contiguous(memory_format=self.layout)


class IdentityClassifier(nn.Module):
    """Linear map from embeddings to identities, as a 1x1x1 convolution over a grid of them.

    Args:
        embedding_dim: length E of an embedding.
        identities: number of people.
        normalised: compare directions only: embeddings and weights are L2-normalised and the
            cosine scaled by a learned factor (NormFace, Wang et al. 2017, section 3). False is
            the thesis's plain linear classifier.
        margin: for training a normalised classifier; its scale is fixed then.

    Raises:
        ValueError: a margin without normalisation.
    """

    def __init__(
        self, embedding_dim: int, identities: int, normalised: bool, margin: Margin | None = None
    ) -> None:
        super().__init__()
        if margin and not normalised:
            raise ValueError("a margin is between directions: it needs normalised=True")
        self.conv = nn.Conv3d(embedding_dim, identities, kernel_size=1, bias=not normalised)
        self.normalised = normalised
        self.margin = margin
        if normalised:
            nn.init.normal_(self.conv.weight, std=embedding_dim**-0.5)
            # Large enough that the right one of n people can reach 99 % (NormFace, prop. 2).
            scale = torch.tensor(margin.scale if margin else 16.0).log()
            self.log_scale = nn.Parameter(scale, requires_grad=margin is None)

    def _weight(self) -> torch.Tensor:
        weight = self.conv.weight
        return F.normalize(weight, dim=1) * self.log_scale.exp() if self.normalised else weight

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Dense: embeddings [N, E, A, ...] to logits [N, identities, A, ...]."""
        if self.normalised:
            embeddings = F.normalize(embeddings, dim=1)
        return F.conv3d(embeddings, self._weight(), self.conv.bias)

    def at(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Sparse: embeddings [K, E] to logits [K, identities], the same numbers."""
        with full_precision(embeddings) as embeddings:
            if self.normalised:
                embeddings = F.normalize(embeddings, dim=1)
            return F.linear(embeddings, self._weight().flatten(1), self.conv.bias)

    def with_margin(self, logits: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
        """Logits [K, identities] for the loss: those of the right people, int64 [K], charged."""
        if self.margin is None:
            return logits
        right = F.one_hot(identities, logits.shape[1]).bool()
        charged = self.margin.charged(logits / self.margin.scale) * self.margin.scale
        return torch.where(right, charged, logits)


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
        reads: where a face's embedding comes from: ``"cell"``, the thesis's, the cell that holds
            the face's centre; ``"box"``, the feature map averaged under the face's box, the true
            one in training and the detected one in use (RoI align, He et al. 2017, section 3; in
            joint networks for person search: Xiao et al. 2017).

    Raises:
        ValueError: no identities, a name in them twice, or unknown ``reads``.
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
        reads: str = "cell",
    ) -> None:
        super().__init__()
        if not identities or len(set(identities)) != len(identities):
            raise ValueError("identities must be a non-empty list of different names")
        if reads not in READS:
            raise ValueError(f"reads={reads!r} is unknown; choose cell or box")
        self.identities = list(identities)
        self.reads = reads
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
        copies = count if reads == "cell" else 1
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
            :meth:`read`: embeddings [N, E, A, rows, columns], or, if the net reads boxes, the
            feature map [N, C, H/32, W/32].
        """
        whole = feature_map(self.backbone, self.normalise(photos))
        with full_precision(self.pool(whole)) as features:
            regression = self.regression_head(features).unflatten(1, (-1, 5))
            if self.reads == "box":
                return regression, whole.float()
            # [N, A*E, rows, columns] -> [N, A, E, ...] -> [N, E, A, ...]
            embeddings = self.embedding_head(features).unflatten(1, (-1, self.embedding_dim))
        return regression, embeddings.transpose(1, 2)

    def read(self, source: torch.Tensor, where: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Embeddings of some faces, not normalised.

        Args:
            source: second result of :meth:`heads`.
            where: int64 [F, 4], photo, anchor, row and column of each face; a net that reads boxes
                looks at the photo alone.
            boxes: float [F, 4] pixels of the network's input; a net that reads cells does not look.

        Returns:
            float [F, E].
        """
        photo, anchor, row, column = where.unbind(dim=1)
        if self.reads == "cell":
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


class FaceClassifier(nn.Module):
    """ResNet classifier of the two-stage baseline: one photo, one identity.

    Same backbone, embedding and classifier as :class:`JointNet`, so that what is compared is one
    pass against two.

    Args:
        identities, backbone, weights, embedding_dim, normalised: as for :class:`JointNet`.
        label_smoothing: of the cross-entropy.
    """

    def __init__(
        self,
        identities: Sequence[str],
        backbone: str = "resnet34",
        weights: str | None = None,
        embedding_dim: int = 512,
        normalised: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not identities or len(set(identities)) != len(identities):
            raise ValueError("identities must be a non-empty list of different names")
        self.identities = list(identities)
        self.normalise = Normalise()
        self.backbone_name = backbone
        self.backbone = make_backbone(backbone, weights)
        self.embedding_head = nn.Linear(2048 if backbone == "resnet50" else 512, embedding_dim)
        self.classifier = IdentityClassifier(embedding_dim, len(identities), normalised)
        self.label_smoothing = label_smoothing

    def embed(self, photos: torch.Tensor) -> torch.Tensor:
        """Embeddings float [N, E], not normalised, of photos [N, 3, H, W]."""
        features = feature_map(self.backbone, self.normalise(photos))
        with full_precision(features) as features:
            return self.embedding_head(features.mean(dim=(2, 3)))

    def forward(self, photos: torch.Tensor, targets: list[dict] | None = None):
        """Training: ``identity`` and ``total`` losses, ``identity_accuracy``. Evaluation: logits.

        A photo's identity is that of its largest face; photos without a known one cost nothing.
        """
        logits = self.classifier.at(self.embed(photos))
        if not self.training:
            return logits
        wanted = torch.tensor([largest_identity(target) for target in targets]).to(logits.device)
        known = wanted >= 0
        count = mean_over_processes(known.sum().float()).clamp(min=1e-6)
        cross_entropy = F.cross_entropy(
            logits[known].float(),
            wanted[known],
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        total = cross_entropy / count + 0.0 * logits.sum()
        right = (logits.argmax(dim=1) == wanted)[known].sum() / count
        return {"identity": total.detach(), "identity_accuracy": right, "total": total}


def largest_identity(target: dict) -> int:
    """Identity of the largest face of a target, -1 without one."""
    if not len(target["boxes"]):
        return -1
    size = target["boxes"][:, 2:] - target["boxes"][:, :2]
    return int(target["identities"][size.prod(dim=1).argmax()])
