"""Heads: the linear classifier of identities, and the precision heads run in."""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from thesislib.models.margin import Margin


@contextlib.contextmanager
def full_precision(features: torch.Tensor) -> Iterator[torch.Tensor]:
    """Leave autocast for what follows, the features in fp32: a few per cent of the work, and
    boxes and cosines keep more than the three digits of bf16."""
    kind = features.device.type
    lowered = torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False):
        yield features.float() if lowered else features


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
