"""What a gallery is made with: a net that finds faces and gives their embeddings, or its embeddings
alone."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from thesislib.engine.predict import System
from thesislib.faces import Face
from thesislib.metrics.checks import NotSupportedError


class EmbeddingNet(System, Protocol):
    """What finds faces and gives their embeddings: a joint net, or an exported one."""

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """What tells its embeddings from those of every other net."""
        ...


@dataclasses.dataclass(frozen=True)
class EmbeddingsOnly:
    """In place of a net whose embeddings alone are at hand; it sees no photos.

    Attributes:
        embedding_dim: length of an embedding.
        fingerprint: what tells the embeddings of this net from those of every other.
    """

    embedding_dim: int
    fingerprint: str

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float
    ) -> list[list[Face]]:
        """Refuse.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(
            "this gallery has no net to find faces in photos: give identify() and "
            "enrol_embeddings() their embeddings"
        )
