"""What the heads of a pyramid learn from: faces assigned to the places that fit them best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou, complete_box_iou_loss

from thesislib.data.columns import UNKNOWN
from thesislib.models.chips import stacked_size
from thesislib.models.loss import logits_with_margin, mean_over_processes
from thesislib.models.pyramid import Places, decode_places, places

if TYPE_CHECKING:
    from thesislib.models.joint import HeadOutputs, JointNet
    from thesislib.profiles import Margin

CENTRE_CELLS = 2.5  # a face's places lie within this many cells of its centre
SIZE_FACTOR = 3.0  # and expect a face of its size, up to this factor
MOST_PLACES = 10  # of a face, about
IOU_WEIGHT = 3.0  # of -log IoU against the confidence's cross-entropy in the cost of a place
LANDMARK_BETA = 0.02  # of a face's size: below it the landmark loss is quadratic


class Assigned(NamedTuple):
    """Faces of a batch and the places that are to find them, K pairs in all."""

    photo: torch.Tensor  # int64 [K]
    place: torch.Tensor  # int64 [K]
    face: torch.Tensor  # int64 [K], index into the photo's own faces


class PyramidLoss(nn.Module):
    """Sum of four terms over a batch of photos, for nets that read embeddings at landmarks.

    ``confidence`` is the quality focal loss against the IoU of a place's box (Li et al. 2020,
    equation 3), ``box`` the complete IoU loss (Zheng et al. 2020, equation 10), ``landmark``
    smooth L1 in shares of the face's size, ``identity`` cross-entropy. The first two are means
    over places that have a face, the third over those whose landmarks are annotated, the last
    over faces of known identity. A term without members is zero and differentiable.

    Args:
        lambda_box, lambda_landmark, lambda_identity: weights, >= 0; that of the confidence is 1.
        label_smoothing: of the identity cross-entropy, in [0, 1).
        margin: on the cosines of a normalised classifier with a fixed scale; None for none.
    """

    def __init__(
        self,
        lambda_box: float = 2.0,
        lambda_landmark: float = 1.0,
        lambda_identity: float = 1.0,
        label_smoothing: float = 0.0,
        margin: Margin | None = None,
    ) -> None:
        super().__init__()
        self.weights = {"box": lambda_box, "landmark": lambda_landmark}
        self.lambda_identity = lambda_identity
        self.label_smoothing = label_smoothing
        self.margin = margin

    def forward(
        self, net: JointNet, outputs: HeadOutputs, targets: list[dict[str, Any]]
    ) -> dict[str, torch.Tensor]:
        """Compute the terms.

        Args:
            net: whose outputs these are; reads and names faces.
            outputs: ``net(photos)``, of photos whose sides are whole cells.
            targets: one dict per photo with ``boxes`` float [F, 4] pixels and ``identities`` int64
                [F], ``UNKNOWN`` for people nobody knows; where there are any, ``landmarks`` float
                [F, 5, 2] pixels, NaN for those not known, and ``ignored`` float [I, 4], regions
                in which nothing is learned.

        Returns:
            the four terms and ``identity_accuracy`` (0..1), detached, and ``total``.
        """
        at = places(stacked_size(outputs.source), outputs.regression.device)
        terms, assigned, points = finding_loss(outputs.regression, targets, at)
        total = terms["confidence"]
        for name, weight in self.weights.items():
            total = total + weight * terms[name]
        identity, accuracy = self._identity(net, outputs, targets, assigned, points)
        named = {name: term.detach() for name, term in terms.items()}
        named |= {"identity": identity.detach(), "identity_accuracy": accuracy}
        return {**named, "total": total + self.lambda_identity * identity}

    def _identity(
        self,
        net: JointNet,
        outputs: HeadOutputs,
        targets: list[dict[str, Any]],
        assigned: Assigned,
        points: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy of faces read at annotated landmarks, or else at those of their surest
        place, refined, and the share named rightly."""
        device = points.device
        photos, told, annotated, identities = [], [], [], []
        unknown = torch.full_like(points[0, 0], torch.nan)
        logits = outputs.regression[..., 4]
        for photo, target in enumerate(targets):
            own = assigned.photo == photo
            place, face = assigned.place[own], assigned.face[own]
            for number in range(len(target["boxes"])):
                at = place[face == number]
                if int(target["identities"][number]) == UNKNOWN or not len(at):
                    continue
                marks = target.get("landmarks")
                photos.append(photo)
                told.append(points[photo, at[logits[photo, at].argmax()]].detach())
                annotated.append(unknown if marks is None else marks[number].to(device))
                identities.append(int(target["identities"][number]))
        where = torch.tensor(photos, dtype=torch.int64, device=device)
        none = points.new_zeros(0, *unknown.shape)
        true = torch.stack(annotated) if annotated else none
        with torch.no_grad():
            read = net.refined(outputs.source, where, torch.stack(told) if told else none)
        read = torch.where(true.isnan().flatten(1).any(dim=1)[:, None, None], read, true)
        vectors = net.embed(outputs.source, where, where, where, read)
        wanted = torch.tensor(identities, dtype=torch.int64, device=device)
        named = net.classifier.at(vectors)
        count = mean_over_processes(torch.tensor(float(len(wanted)), device=device)).clamp(min=1e-6)
        loss = F.cross_entropy(
            logits_with_margin(named, wanted, self.margin).float(),
            wanted,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        right = (named.argmax(dim=1) == wanted).sum()
        # Zero times the vectors: see JointLoss.
        return loss / count + 0.0 * vectors.sum(), right / count


def finding_loss(
    values: torch.Tensor, targets: list[dict[str, Any]], at: Places
) -> tuple[dict[str, torch.Tensor], Assigned, torch.Tensor]:
    """Terms of boxes, confidences and landmarks.

    Args:
        values: float [N, P, VALUES], of :class:`thesislib.models.pyramid.Pyramid`.
        targets: see :meth:`PyramidLoss.forward`.
        at: the places.

    Returns:
        the terms ``confidence, box, landmark``; which place is to find which face; and the
        landmarks of all places, float [N, P, 5, 2].
    """
    values = values.float()
    device = values.device
    boxes, points = decode_places(values, at)
    logits = values[..., 4]
    wanted, weight = torch.zeros_like(logits), torch.ones_like(logits)
    found, true, marks, pairs = [], [], [], []
    for photo, target in enumerate(targets):
        truth = target["boxes"].to(device).float()
        with torch.no_grad():
            face = assign_dynamic(truth, boxes[photo], logits[photo], at)
            weight[photo][_inside(at.centres, target.get("ignored")) & (face < 0)] = 0
        place = (face >= 0).nonzero()[:, 0]
        face = face[place]
        pairs.append((torch.full_like(place, photo), place, face))
        found.append(boxes[photo, place])
        true.append(truth[face])
        mark = target.get("landmarks")
        unknown = torch.full((len(place), *points.shape[2:]), torch.nan, device=device)
        marks.append(unknown if mark is None else mark.to(device).float()[face])
    assigned = Assigned(*(torch.cat(column) for column in zip(*pairs, strict=True)))
    box, truth, mark = torch.cat(found), torch.cat(true), torch.cat(marks)
    with torch.no_grad():
        wanted[assigned.photo, assigned.place] = paired_iou(box, truth)
    known = ~mark.isnan().flatten(1).any(dim=1)
    size = (truth[:, 2:] - truth[:, :2]).prod(dim=1).sqrt()[known]
    off = (points[assigned.photo, assigned.place][known] - mark[known]) / size[:, None, None]
    cross_entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    quality = (wanted - logits.sigmoid()).square() * cross_entropy * weight
    counts = torch.tensor([float(len(box)), float(known.sum())], device=device)
    faces_n, known_n = mean_over_processes(counts).clamp(min=1)
    terms = {
        "confidence": quality.sum() / faces_n,
        "box": complete_box_iou_loss(box, truth, reduction="sum") / faces_n,
        "landmark": F.smooth_l1_loss(
            off, torch.zeros_like(off), reduction="sum", beta=LANDMARK_BETA
        )
        / known_n,
    }
    return terms, assigned, points


def assign_dynamic(
    boxes: torch.Tensor, predicted: torch.Tensor, logits: torch.Tensor, at: Places
) -> torch.Tensor:
    """The face that each place is to find (SimOTA: YOLOX, Ge et al. 2021, section 2.1).

    A face's candidates are the places near its centre that expect about its size. It takes the k
    of lowest cost, where k is the sum of its ten highest IoUs, at least 1; the cost is the
    confidence's cross-entropy plus three times -log IoU. A place wanted by several faces goes to
    the one for which it costs least.

    Args:
        boxes: float [F, 4] pixels.
        predicted: float [P, 4] pixels, what the places say now.
        logits: float [P], their confidence.
        at: the places.

    Returns:
        int64 [P]: a face, or -1.
    """
    answer = torch.full((len(at.centres),), -1, dtype=torch.int64, device=boxes.device)
    if not len(boxes):
        return answer
    near = _candidates(boxes, at)
    iou = box_iou(boxes, predicted)
    cost = F.softplus(-logits) - IOU_WEIGHT * iou.clamp(min=1e-7).log()  # [F, P]
    cost = cost.masked_fill(~near, torch.inf)
    best = (iou * near).topk(min(MOST_PLACES, iou.shape[1]), dim=1).values.sum(dim=1)
    count = torch.minimum(best.long().clamp(min=1), near.sum(dim=1))
    rank = cost.argsort(dim=1, stable=True).argsort(dim=1)
    taken = rank < count[:, None]
    least = cost.masked_fill(~taken, torch.inf).argmin(dim=0)
    wanted = taken.any(dim=0)
    answer[wanted] = least[wanted]
    return answer


def _candidates(boxes: torch.Tensor, at: Places) -> torch.Tensor:
    """bool [F, P]: the place is near the face's centre and expects about its size.

    A face larger or smaller than any place expects has those of the nearest size.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset = (middle[:, None] - at.centres).abs().amax(dim=2)
    side = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1).clamp(min=1)
    factor = (side[:, None] / at.sizes).log().abs()
    fits = (factor < torch.tensor(SIZE_FACTOR).log()) | (
        factor <= factor.amin(dim=1, keepdim=True) + 1e-6
    )
    return (offset < CENTRE_CELLS * at.strides) & fits


def _inside(centres: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    """bool [P]: the centre lies in one of the regions [I, 4]."""
    if regions is None or not len(regions):
        return torch.zeros(len(centres), dtype=torch.bool, device=centres.device)
    regions = regions.to(centres.device)
    above = (centres[:, None] >= regions[:, :2]) & (centres[:, None] <= regions[:, 2:])
    return above.all(dim=2).any(dim=1)


def paired_iou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """IoU [K] of boxes [K, 4] with as many others."""
    low = torch.maximum(boxes[:, :2], others[:, :2])
    high = torch.minimum(boxes[:, 2:], others[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (others[:, 2:] - others[:, :2]).prod(dim=1)
    return overlap / (area - overlap).clamp(min=1e-7)
