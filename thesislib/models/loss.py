"""Losses: YOLO's sum of box, confidence and identity terms, and the classifier's cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou

from thesislib.data.columns import UNKNOWN
from thesislib.models.anchors import anchor_boxes, assign, cell_centres, encode_boxes
from thesislib.models.margin import add_margin

if TYPE_CHECKING:
    from thesislib.models.face_classifier import FaceClassifier
    from thesislib.models.joint import HeadOutputs, JointNet
    from thesislib.profiles import Margin

# Below this error, in cells or log size, the box loss is quadratic. With 1 nearly every error would
# be, and boxes stay coarse; Faster R-CNN's proposals (Ren et al. 2015) use the same 1/9.
SMOOTH_L1_BETA = 1 / 9
TERMS = ("box", "confidence", "no_object", "identity")


class JointLoss(nn.Module):
    r"""Sum of four terms over a batch of photos.

    .. math::
        L = \lambda_{box} \frac1F \sum_f \mathrm{smooth}_{L_1}(t_f - \hat t_f)
          + \frac1F \sum_f \mathrm{BCE}(c_f, 1)
          + \lambda_{noobj} \frac1U \sum_u \mathrm{BCE}(c_u, 0)
          + \lambda_{id} \frac1K \sum_k \mathrm{CE}(p_k, y_k)

    F assigned faces, U unassigned anchors, K assigned faces of known identity; t are regression
    targets (offsets in cells, log sizes). Unassigned anchors whose box overlaps a face by more
    than ``ignore_iou`` are left out (as YOLOv3, Redmon & Farhadi 2018, section 2.1). A term
    without members is zero and differentiable.

    With ``learned=True`` each term L_i becomes exp(-s_i) L_i + s_i with learned s_i (task
    uncertainty: Kendall et al. 2018; joint detection and embedding: Wang et al. 2020, JDE).

    Args:
        lambda_box, lambda_no_object, lambda_identity: weights, >= 0.
        ignore_iou: IoU in [0, 1] above which an unassigned anchor is not called background.
        label_smoothing: of the identity cross-entropy, in [0, 1).
        margin: on the cosines of a normalised classifier with a fixed scale; None for none.
        learned: learn the balance instead of fixing it.
    """

    def __init__(
        self,
        lambda_box: float = 2.0,
        lambda_no_object: float = 1.0,
        lambda_identity: float = 1.0,
        ignore_iou: float = 0.5,
        label_smoothing: float = 0.0,
        margin: Margin | None = None,
        learned: bool = False,
    ) -> None:
        super().__init__()
        self.weights = {
            "box": lambda_box,
            "confidence": 1.0,
            "no_object": lambda_no_object,
            "identity": lambda_identity,
        }
        self.ignore_iou = ignore_iou
        self.label_smoothing = label_smoothing
        self.margin = margin
        self.log_variances = nn.Parameter(torch.zeros(len(TERMS))) if learned else None

    def forward(
        self, net: JointNet, outputs: HeadOutputs, targets: list[dict]
    ) -> dict[str, torch.Tensor]:
        """Compute the terms.

        Args:
            net: whose outputs these are; reads and names the assigned faces.
            outputs: ``net(photos)``.
            targets: one dict per photo with ``boxes`` float [F, 4] pixels, 0 <= x1 < x2 <= W, and
                ``identities`` int64 [F], ``UNKNOWN`` for people nobody knows.

        Returns:
            ``box, confidence, no_object, identity`` unweighted and ``identity_accuracy`` (0..1),
            detached, and ``total``.
        """
        regression = outputs.regression
        grid, device = regression.shape[-2:], regression.device
        assigned = assign_batch(net.anchors, grid, net.cell, targets, self.ignore_iou)
        photo, place, boxes, identities, background = (one.to(device) for one in assigned)

        predicted = regression.permute(0, 1, 3, 4, 2).flatten(1, 3)[photo, place]  # [F, 5]
        cells = grid[0] * grid[1]
        centres = cell_centres(grid, net.cell, device).flatten(0, 1)[place % cells]
        wanted = encode_boxes(boxes, centres, net.anchors[place // cells], net.cell)
        known = identities != UNKNOWN
        vectors = net.embed(outputs.source, photo, place, boxes)  # [F, E]
        logits = net.classifier.at(vectors[known])  # [K, identities]
        # [N, A, rows, columns], in float32 also under autocast: a sum over every anchor
        background_bce = F.softplus(regression[:, :, 4].float()) * background

        counts = torch.stack([torch.ones_like(known).sum(), background.sum(), known.sum()]).float()
        faces_n, background_n, known_n = mean_over_processes(counts).clamp(min=1e-6)
        terms = {
            "box": F.smooth_l1_loss(
                predicted[:, :4].float(), wanted, reduction="sum", beta=SMOOTH_L1_BETA
            )
            / (4 * faces_n),
            "confidence": F.softplus(-predicted[:, 4].float()).sum() / faces_n,
            "no_object": background_bce.sum() / background_n,
            "identity": F.cross_entropy(
                logits_with_margin(logits, identities[known], self.margin).float(),
                identities[known],
                reduction="sum",
                label_smoothing=self.label_smoothing,
            )
            / known_n,
        }
        named = {name: term.detach() for name, term in terms.items()}
        right = (logits.argmax(dim=1) == identities[known]).sum()
        named["identity_accuracy"] = right / known_n
        return {**named, "total": self._total(terms, regression, vectors)}

    def _total(
        self, terms: dict[str, torch.Tensor], regression: torch.Tensor, vectors: torch.Tensor
    ) -> torch.Tensor:
        # Zero times the outputs keeps every parameter in the graph when a batch has no face (a sum
        # over no vectors has gradients too, of zero); distributed training waits for each.
        total = 0.0 * (regression.float().sum() + vectors.float().sum())
        for at, name in enumerate(TERMS):
            term = self.weights[name] * terms[name]
            if self.log_variances is not None:
                s = self.log_variances[at]
                term = torch.exp(-s) * term + s
            total = total + term
        return total


class IdentityLoss(nn.Module):
    """Cross-entropy of a :class:`thesislib.models.face_classifier.FaceClassifier`.

    A photo's identity is that of its largest face; photos without a known one cost nothing.

    Args:
        label_smoothing: in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self, net: FaceClassifier, logits: torch.Tensor, targets: list[dict]
    ) -> dict[str, torch.Tensor]:
        """``identity`` and ``identity_accuracy`` (0..1), detached, and ``total``.

        Args:
            net: not used; every loss is called alike.
            logits: float [N, identities].
            targets: as for :class:`JointLoss`.
        """
        wanted = torch.tensor([largest_identity(target) for target in targets]).to(logits.device)
        known = wanted != UNKNOWN
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
    """Identity of the largest face of a target, ``UNKNOWN`` without one."""
    if not len(target["boxes"]):
        return UNKNOWN
    size = target["boxes"][:, 2:] - target["boxes"][:, :2]
    return int(target["identities"][size.prod(dim=1).argmax()])


def logits_with_margin(
    logits: torch.Tensor, identities: torch.Tensor, margin: Margin | None
) -> torch.Tensor:
    """Logits [K, identities] with the margin taken off those of the right identities int64 [K]."""
    if margin is None:
        return logits
    right = F.one_hot(identities, logits.shape[1]).bool()
    return torch.where(right, add_margin(logits / margin.scale, margin) * margin.scale, logits)


@torch.no_grad()
def assign_batch(
    anchors: torch.Tensor,
    grid: Sequence[int],
    cell: int,
    targets: list[dict],
    ignore_iou: float = 0.5,
) -> tuple[torch.Tensor, ...]:
    """Assigned faces of a batch, and which anchors are background.

    Args:
        anchors: float [A, 2] pixels.
        grid: rows and columns.
        cell: side of a cell in pixels.
        targets: as for :class:`JointLoss`.
        ignore_iou: see :class:`JointLoss`.

    Returns:
        on the CPU: photo int64 [F], place int64 [F] (see :func:`assign`), boxes float [F, 4],
        identities int64 [F], and background float [N, A, rows, columns], 1 or 0.
    """
    priors = anchor_boxes(anchors.cpu(), grid, cell)  # [A, rows, columns, 4]
    background = torch.ones(len(targets), priors.shape[:3].numel())
    photos, places, faces, identities = [], [], [], []
    for photo, target in enumerate(targets):
        boxes = target["boxes"].detach().cpu().float()
        place = assign(boxes, anchors, grid, cell)
        placed = place >= 0
        if len(boxes):
            overlap = box_iou(priors.reshape(-1, 4), boxes).amax(dim=1)
            background[photo][overlap > ignore_iou] = 0
        background[photo][place[placed]] = 0
        photos.append(torch.full_like(place[placed], photo))
        places.append(place[placed])
        faces.append(boxes[placed])
        identities.append(target["identities"].cpu()[placed])
    background = background.unflatten(1, priors.shape[:3])
    return torch.cat(photos), torch.cat(places), torch.cat(faces), torch.cat(identities), background


def mean_over_processes(counts: torch.Tensor) -> torch.Tensor:
    """Mean of the counts over processes.

    Gradients are averaged over processes; dividing each process's sum by the mean count makes
    that average the global sum over the global count, as one process would compute.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        counts = counts.clone()
        torch.distributed.all_reduce(counts)
        counts /= torch.distributed.get_world_size()
    return counts
