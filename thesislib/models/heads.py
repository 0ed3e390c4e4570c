"""The linear classifier of identities, and the precision that heads run in."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

NOBODY = ("",)  # the identities of a net that knows nobody by name


def check_identities(identities: Sequence[str]) -> None:
    """Refuse what cannot be a classifier's identities; ``NOBODY`` can.

    Raises:
        ValueError: none, an empty name among others, or a name twice.
    """
    if tuple(identities) == NOBODY:
        return
    if not identities or "" in identities or len(set(identities)) != len(identities):
        raise ValueError("identities must be a non-empty list of different names")


@contextlib.contextmanager
def full_precision(features: torch.Tensor) -> Iterator[torch.Tensor]:
    """Leave autocast for what follows, with the features in fp32.

    Heads are a few per cent of the work, and boxes and cosines need more than the three digits of
    bf16.
    """
    kind = features.device.type
    lowered = torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False):
        yield features.float() if lowered else features


class IdentityClassifier(nn.Module):
    """Linear map from embeddings to identities, as a 1 x 1 x 1 convolution over a grid of them.

    Args:
        embedding_dim: length E of an embedding.
        identities: number of identities.
        normalised: compare directions only: embeddings and weights are L2-normalised and the
            cosine is scaled (NormFace, Wang et al. 2017, section 3). False is the thesis's plain
            linear classifier.
        scale: fixed factor of the cosines; None learns it. Of a normalised classifier only.

    Raises:
        ValueError: a scale without normalisation.
    """

    def __init__(
        self, embedding_dim: int, identities: int, normalised: bool, scale: float | None = None
    ) -> None:
        super().__init__()
        if scale is not None and not normalised:
            raise ValueError("a scale is of cosines: it needs normalised=True")
        self.conv = nn.Conv3d(embedding_dim, identities, kernel_size=1, bias=not normalised)
        self.normalised = normalised
        self.scale = scale
        if normalised:
            nn.init.normal_(self.conv.weight, std=embedding_dim**-0.5)
            # Large enough that the right one of n identities can reach 99 % (NormFace, prop. 2).
            start = torch.tensor(16.0 if scale is None else scale).log()
            self.log_scale = nn.Parameter(start, requires_grad=scale is None)

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
