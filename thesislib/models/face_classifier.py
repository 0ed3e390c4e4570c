"""The ResNet classifier of the two-stage baseline."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from thesislib.models.backbone import Normalise, feature_map, make_backbone
from thesislib.models.heads import IdentityClassifier, full_precision
from thesislib.models.loss import mean_over_processes


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
