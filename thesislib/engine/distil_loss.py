"""What a student of dlib's recogniser learns by: finding faces, and the distance to the teacher.

All of dlib's embeddings lie on one side of zero: of any two strangers they have a cosine of about
0.84. What the student is compared by is therefore the squared distance to the teacher's answer
over the spread of the teacher's answers about their mean: 1 knows nothing but that mean, 0 all.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from thesislib.engine.train import joint_loss
from thesislib.models.chips import PASSES, chip_scales, stacked_size
from thesislib.models.joint import HeadOutputs, JointNet
from thesislib.models.loss import assign_batch, mean_over_processes
from thesislib.models.pyramid import places
from thesislib.models.pyramid_loss import finding_loss
from thesislib.profiles import Profile

SMALLEST_READ = 0.3  # pixels of a view for one of the chip, from which on faces are read
REFINED_SCALES = (0.15, 4.0)  # likewise between which landmarks are refined
FULL_SCALE = 0.7  # below it a face counts less, by the square: it shows less
LAMBDA_DISTANCE, LAMBDA_REFINED = 2.0, 2.0
BETA = 0.05  # of the distance of the eyes: below it the loss of refined landmarks is quadratic


def distil_loss(profile: Profile, spread: float) -> nn.Module:
    """The loss of a profile's reading; ``spread`` see :class:`DistilLoss`."""
    if profile.embedding_source == "landmarks":
        return DistilLoss(spread)
    return GridDistilLoss(joint_loss(profile), spread)


class DistilLoss(nn.Module):
    """Finding faces and landmarks, and the distance to the teacher.

    Args:
        spread: mean squared distance of the teacher's answers from their mean, > 0.
    """

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.spread = spread

    def forward(
        self, net: JointNet, outputs: HeadOutputs, targets: list[dict[str, Any]]
    ) -> dict[str, torch.Tensor]:
        """``confidence, box, landmark, refined, distance``, detached, and ``total``.

        Args:
            net: whose outputs these are.
            outputs: ``net(views)``.
            targets: see :class:`thesislib.data.views.Views`.
        """
        size = stacked_size(outputs.source)
        terms, _, _ = finding_loss(
            outputs.regression, targets, places(size, outputs.regression.device)
        )
        terms["refined"], terms["distance"] = self._read(net, outputs, targets)
        named = {name: term.detach() for name, term in terms.items()}
        named["total"] = (
            terms["confidence"]
            + 2.0 * terms["box"]
            + terms["landmark"]
            + LAMBDA_DISTANCE * terms["distance"]
            + LAMBDA_REFINED * terms["refined"]
        )
        return named

    def _read(
        self, net: JointNet, outputs: HeadOutputs, targets: list[dict[str, Any]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Smooth L1 of refined landmarks, in distances of the eyes, a mean over faces and passes;
        and the distance of faces read there to the teacher's answers."""
        device = outputs.regression.device
        photo = torch.cat([torch.full((len(t["boxes"]),), at) for at, t in enumerate(targets)])
        true, found, answers = (
            torch.cat([target[name] for target in targets])
            for name in ("landmarks", "coarse", "answers")
        )
        scale = chip_scales(true)
        seen = (scale > REFINED_SCALES[0]) & (scale < REFINED_SCALES[1])  # NaN is neither
        photo, true, found, answers, scale = (
            one[seen].to(device) for one in (photo, true, found, answers, scale)
        )
        eyes = (true[:, 1] - true[:, 0]).norm(dim=1).clamp(min=1)[:, None, None]
        off = true.new_zeros(())
        for _ in range(PASSES):
            found = net.refiner(outputs.source, photo, found.detach())
            away = (found - true) / eyes
            off = off + F.smooth_l1_loss(away, torch.zeros_like(away), reduction="sum", beta=BETA)
        count = mean_over_processes(torch.tensor(float(len(true)), device=device))
        read = (scale > SMALLEST_READ) & ~answers.isnan().any(dim=1)
        vectors = net.embed(
            outputs.source, photo[read], photo[read], photo[read], found[read].detach()
        )
        distance = (vectors - answers[read]).square().sum(dim=1) / self.spread
        weight = (scale[read] / FULL_SCALE).clamp(max=1).square()
        total = mean_over_processes(weight.sum()).clamp(min=1e-6)
        return (
            off / (PASSES * count.clamp(min=1e-6)),
            (distance * weight).sum() / total + 0.0 * vectors.sum(),
        )


class GridDistilLoss(nn.Module):
    """The same for faces read at the grid or under their box: the thesis's loss without
    identities, and the distance to the teacher.

    Args:
        finding: the loss of boxes and confidences.
        spread: see :class:`DistilLoss`.
    """

    def __init__(self, finding: nn.Module, spread: float) -> None:
        super().__init__()
        self.finding = finding
        self.spread = spread

    def forward(
        self, net: JointNet, outputs: HeadOutputs, targets: list[dict[str, Any]]
    ) -> dict[str, torch.Tensor]:
        """``box, confidence, no_object, distance``, detached, and ``total``.

        Args:
            net, outputs, targets: see :class:`DistilLoss`.
        """
        found = self.finding(net, outputs, targets)
        device = outputs.regression.device
        counts = [len(target["boxes"]) for target in targets]
        numbers = torch.arange(sum(counts)).split(counts)
        numbered = [
            {"boxes": target["boxes"], "identities": own}
            for target, own in zip(targets, numbers, strict=True)
        ]
        grid = outputs.regression.shape[-2:]
        photo, place, boxes, face, _ = assign_batch(net.anchors, grid, net.cell, numbered)
        answers = torch.cat([target["answers"] for target in targets])[face]
        scale = chip_scales(torch.cat([target["landmarks"] for target in targets]))[face]
        read = (scale > SMALLEST_READ) & ~answers.isnan().any(dim=1)
        photo, place, boxes, answers, scale = (
            one[read].to(device) for one in (photo, place, boxes, answers, scale)
        )
        vectors = net.embed(outputs.source, photo, place, boxes)
        away = (vectors - answers).square().sum(dim=1) / self.spread
        weight = (scale / FULL_SCALE).clamp(max=1).square()
        total = mean_over_processes(weight.sum()).clamp(min=1e-6)
        distance = (away * weight).sum() / total + 0.0 * vectors.sum()
        named = {name: found[name] for name in ("box", "confidence", "no_object")}
        return {
            **named,
            "distance": distance.detach(),
            "total": found["total"] + LAMBDA_DISTANCE * distance,
        }
