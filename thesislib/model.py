"""JointNet: one convolutional network from a photo to boxes, embeddings and identities."""

import contextlib
from collections.abc import Iterator, Sequence
from http.client import HTTPException

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from thesislib.anchors import assign, cell_centres, decode
from thesislib.data.loader import PADDING
from thesislib.loss import JointLoss, mean_over_processes

BACKBONES = {
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
}
BACKBONE_STRIDE = 32
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
    return net


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
    """

    def __init__(self, embedding_dim: int, identities: int, normalised: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(embedding_dim, identities, kernel_size=1, bias=not normalised)
        self.normalised = normalised
        if normalised:
            nn.init.normal_(self.conv.weight, std=embedding_dim**-0.5)
            # Large enough that the right one of n people can reach 99 % (NormFace, prop. 2).
            self.log_scale = nn.Parameter(torch.tensor(16.0).log())

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
        normalised: see :class:`IdentityClassifier`.
        loss: a :class:`JointLoss`; None for its defaults.

    Raises:
        ValueError: no identities, or a name in them twice.
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
    ) -> None:
        super().__init__()
        if not identities or len(set(identities)) != len(identities):
            raise ValueError("identities must be a non-empty list of different names")
        self.identities = list(identities)
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
        self.embedding_head = nn.Conv2d(channels, count * embedding_dim, kernel_size=1)
        self.classifier = IdentityClassifier(embedding_dim, len(identities), normalised)
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
            regression [N, A, 5, rows, columns] and embeddings [N, E, A, rows, columns].
        """
        features = self.pool(feature_map(self.backbone, self.normalise(photos)))
        with full_precision(features) as features:
            regression = self.regression_head(features).unflatten(1, (-1, 5))
            # [N, A*E, rows, columns] -> [N, A, E, ...] -> [N, E, A, ...]
            embeddings = self.embedding_head(features).unflatten(1, (-1, self.embedding_dim))
        return regression, embeddings.transpose(1, 2)

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
        regression, embeddings = self.heads(photos)
        return self.loss(
            regression, embeddings, self.classifier.at, self.anchors, self.cell, targets
        )

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
    def decode(self, regression, embeddings, sizes) -> list[dict]:
        """Detections from the raw outputs of :meth:`heads`.

        Args:
            regression: [N, A, 5, rows, columns].
            embeddings: [N, E, A, rows, columns].
            sizes: per photo its true (H, W) in pixels, without padding.

        Returns:
            as :meth:`detect`.
        """
        centres = cell_centres(regression.shape[-2:], self.cell, regression.device)
        codes = regression[:, :, :4].permute(0, 1, 3, 4, 2).float()  # [N, A, rows, columns, 4]
        boxes = decode(codes, centres, self.anchors[:, None, None], self.cell)
        boxes = boxes.flatten(1, 3)  # [N, A*rows*columns, 4]
        scores = regression[:, :, 4].float().sigmoid().flatten(1)
        vectors = embeddings.flatten(2).transpose(1, 2)  # [N, A*rows*columns, E]
        return [self._survivors(*one) for one in zip(boxes, scores, vectors, sizes, strict=True)]

    def _survivors(self, boxes, scores, vectors, size) -> dict:
        boxes = clip_boxes_to_image(boxes, size)
        alive = (scores > self.score_threshold) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        at = alive.nonzero().squeeze(1)
        kept = batched_nms(boxes[at], scores[at], torch.zeros_like(at), self.nms_iou)
        at = at[kept[: self.max_detections]]
        vectors = vectors[at].float()
        # The classifier is linear in people; only detections that survive pay for it.
        probabilities = self.classifier.at(vectors).softmax(dim=1)
        identity_scores, identities = probabilities.max(dim=1)
        return {
            "boxes": boxes[at],
            "scores": scores[at],
            "identities": identities,
            "identity_scores": identity_scores,
            "embeddings": F.normalize(vectors, dim=1),
        }

    @torch.no_grad()
    def identify_at(self, photos, boxes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Identities read at the places of given boxes: the bound that perfect detection sets.

        Args:
            photos: as for :meth:`forward`.
            boxes: per photo float [F, 4] pixels.

        Returns:
            per photo int64 [F]; -1 where the grid has no place for a face.
        """
        batch, _ = self.batch(photos)
        _, embeddings = self.heads(batch)
        found = []
        for one, faces in zip(embeddings, boxes, strict=True):
            place = assign(faces, self.anchors, one.shape[-2:], self.cell)
            identities = torch.full((len(faces),), -1, dtype=torch.int64)
            placed = place[:, 0] >= 0
            anchor, row, column = place[placed].to(one.device).unbind(dim=1)
            logits = self.classifier.at(one[:, anchor, row, column].T.float())
            identities[placed] = logits.argmax(dim=1).cpu()
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
