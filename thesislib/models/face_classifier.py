"""The ResNet classifier of the two-stage baseline: one photo, one identity."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from thesislib.models.backbone import Normalise, feature_channels, feature_map, make_backbone
from thesislib.models.dlib_resnet import STAGES, dlib_stages
from thesislib.models.heads import IdentityClassifier, check_identities, full_precision


class FaceClassifier(nn.Module):
    """ResNet classifier of the two-stage baseline; gives logits [N, identities].

    Same backbone, embedding and classifier as :class:`thesislib.models.joint.JointNet`, so that
    what is compared is one pass against two. With the backbone ``"dlib"`` it is dlib's whole
    recogniser as dlib has it, for faces cut out at 150 pixels; at an ``embedding_dim`` of 128 its
    last layer is that of the embeddings here.

    Args:
        identities, input_px, backbone, weights, embedding_dim, normalised, scale: as for
            :class:`thesislib.models.joint.JointNet`; weights are of a ResNet.

    Attributes:
        provenance: of a net that was trained or loaded: how it was trained; else None.
    """

    def __init__(
        self,
        identities: Sequence[str],
        input_px: int = 320,
        backbone: str = "resnet34",
        weights: str | None = None,
        embedding_dim: int = 512,
        normalised: bool = False,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        check_identities(identities)
        self.identities = list(identities)
        self.input_px = input_px
        self.provenance: dict | None = None
        self.normalise = Normalise.of(backbone)
        self.backbone_name = backbone
        if backbone == "dlib":
            self.backbone: nn.Module = dlib_stages(STAGES[:-1], padded=False)
        else:
            self.backbone = make_backbone(backbone, weights)
        # dlib's last layer has no bias.
        self.embedding_head = nn.Linear(
            feature_channels(backbone), embedding_dim, bias=backbone != "dlib"
        )
        self.classifier = IdentityClassifier(embedding_dim, len(identities), normalised, scale)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that build this net again, but for the identities; plain JSON values."""
        return {
            "input_px": self.input_px,
            "backbone": self.backbone_name,
            "embedding_dim": self.embedding_head.out_features,
            "normalised": self.classifier.normalised,
            "scale": self.classifier.scale,
        }

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.embedding_head.weight.device

    def features(self, photos: torch.Tensor) -> torch.Tensor:
        """What the embedding is made of, float [N, C], of photos [N, 3, H, W]."""
        features = feature_map(self.backbone, self.normalise(photos))
        with full_precision(features) as features:
            return features.mean(dim=(2, 3))

    def embed(self, photos: torch.Tensor) -> torch.Tensor:
        """Embeddings float [N, E], not normalised, of photos [N, 3, H, W]."""
        with full_precision(self.features(photos)) as features:
            return self.embedding_head(features)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits float [N, identities] of photos uint8 or float [N, 3, H, W]."""
        return self.classifier.at(self.embed(photos))
