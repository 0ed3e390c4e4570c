"""The file of a gallery: who is enrolled, their embeddings, and the threshold."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from thesislib.data.names import plain_name
from thesislib.engine.checkpoint import CheckpointError, read_tensors, write_tensors

FORMAT, VERSION = "thesislib gallery", 1


class Stored(NamedTuple):
    """What a gallery's file holds.

    Attributes:
        names: [n], whose each embedding is, in the form of
            :func:`thesislib.data.names.plain_name`.
        embeddings: float32 [n, E], of unit length.
        about: the net's fingerprint ``model``, ``embedding_dim``, ``threshold`` and
            ``calibration``.
    """

    names: list[str]
    embeddings: NDArray[np.float32]
    about: dict[str, Any]


def write(
    path: Path | str, names: Sequence[str], embeddings: NDArray[np.float32], about: dict[str, Any]
) -> None:
    """Write a gallery's file, whole or not at all.

    Args:
        path: where to, ``<name>.safetensors``.
        names, embeddings, about: see :class:`Stored`.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    # Names are data too: a header may not grow beyond 100 MB.
    told = np.frombuffer(json.dumps(list(names)).encode(), np.uint8)
    tensors = {"names": torch.from_numpy(told.copy()), "templates": torch.from_numpy(embeddings)}
    write_tensors(path, tensors, {"format": FORMAT, "version": VERSION, **about})


def read(path: Path | str) -> Stored:
    """Read what :func:`write` wrote.

    Raises:
        CheckpointError: missing, truncated, altered, or of another kind, a pickle among them,
            which is never executed.
    """
    tensors, about = read_tensors(path, "gallery")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: this is not a gallery")
    if about["version"] != VERSION:
        raise CheckpointError(
            f"{path}: version {about['version']} of the format; this code reads {VERSION}"
        )
    names = json.loads(tensors["names"].numpy().tobytes())
    names = [plain_name(name) for name in names]  # earlier ones are as they were written
    return Stored(names, tensors["templates"].numpy(), about)


def people_in(path: Path | str) -> Counter[str]:
    """Who is enrolled in a gallery's file, and by how many faces; its net is not needed.

    Raises:
        CheckpointError: as of :func:`read`.
    """
    return Counter(read(path).names)
