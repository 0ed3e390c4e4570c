"""The joint loss: YOLO's sum of box, confidence and identity terms."""

import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou

from thesislib.data.columns import UNKNOWN
from thesislib.models.anchors import anchor_boxes, assign, cell_centres, encode

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

    F assigned faces, U unassigned anchors, K assigned faces of known identity; t are offsets in
    cells and log sizes. Unassigned anchors whose box overlaps a face by more than ``ignore_iou``
    are left out (as YOLOv3, Redmon & Farhadi 2018, section 2.1). A term without members is zero
    and differentiable.

    With ``learned=True`` each term L_i becomes exp(-s_i) L_i + s_i with learned s_i (task
    uncertainty: Kendall et al. 2018; joint detection and embedding: Wang et al. 2020, JDE).

    Args:
        lambda_box, lambda_no_object, lambda_identity: weights, >= 0.
        ignore_iou: overlap in [0, 1] above which an unassigned anchor is not called background.
        label_smoothing: of the identity cross-entropy, in [0, 1).
        learned: learn the balance instead of fixing it.
    """

    def __init__(
        self,
        lambda_box: float = 2.0,
        lambda_no_object: float = 1.0,
        lambda_identity: float = 1.0,
        ignore_iou: float = 0.5,
        label_smoothing: float = 0.0,
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
        self.log_variances = nn.Parameter(torch.zeros(len(TERMS))) if learned else None

    def forward(
        self, regression: torch.Tensor, read, classifier, anchors, cell, targets
    ) -> dict[str, torch.Tensor]:
        """Compute the terms.

        Args:
            regression: float [N, A, 5, rows, columns]: four box codes and the confidence logit.
            read: gives embeddings float [F, E] of faces, by their places int64 [F, 4] (photo,
                anchor, row, column) and boxes float [F, 4] pixels.
            classifier: an ``IdentityClassifier``; asked for the assigned faces of known identity
                alone.
            anchors: float [A, 2] pixels.
            cell: side of a cell in pixels.
            targets: one dict a photo with ``boxes`` float [F, 4] pixels and ``identities``
                int64 [F], ``UNKNOWN`` for people nobody knows.

        Returns:
            ``box, confidence, no_object, identity`` unweighted and ``identity_accuracy`` (0..1),
            detached, and ``total``.
        """
        grid = regression.shape[-2:]
        where, faces, identities, background = self._targets(anchors, grid, cell, targets)
        device = regression.device
        where, faces, identities = where.to(device), faces.to(device), identities.to(device)
        background = background.to(device)

        photo, anchor, row, column = where.unbind(dim=1)
        predicted = regression[photo, anchor, :, row, column]  # [F, 5]
        wanted = encode(faces, cell_centres(grid, cell, device)[row, column], anchors[anchor], cell)
        known = identities != UNKNOWN
        vectors = read(where, faces)  # [F, E]
        logits = classifier.at(vectors[known])  # [K, identities]
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
                classifier.with_margin(logits, identities[known]).float(),
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

    def _total(self, terms, regression, vectors) -> torch.Tensor:
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

    @torch.no_grad()
    def _targets(self, anchors, grid, cell, targets):
        """Places [F, 4], boxes [F, 4], identities [F] of assigned faces; background mask."""
        priors = anchor_boxes(anchors.cpu(), grid, cell)  # [A, rows, columns, 4]
        background = torch.ones(len(targets), *priors.shape[:3])
        places, faces, identities = [], [], []
        for photo, target in enumerate(targets):
            boxes = target["boxes"].detach().cpu().float()
            place = assign(boxes, anchors, grid, cell)
            placed = place[:, 0] >= 0
            if len(boxes):
                overlap = box_iou(priors.reshape(-1, 4), boxes).amax(dim=1)
                background[photo][overlap.reshape(priors.shape[:3]) > self.ignore_iou] = 0
            at = place[placed]
            background[photo, at[:, 0], at[:, 1], at[:, 2]] = 0
            places.append(torch.cat([torch.full((len(at), 1), photo), at], dim=1))
            faces.append(boxes[placed])
            identities.append(target["identities"].cpu()[placed])
        return torch.cat(places), torch.cat(faces), torch.cat(identities), background


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
