"""Exported nets opened again: a recogniser of faces, and the two-stage baseline's classifier."""

from pathlib import Path

import torch
from torch import nn

from thesislib.deploy.engines import fastest, open_engine
from thesislib.deploy.export import read_about
from thesislib.deploy.graph import GraphSystem


class Recogniser(GraphSystem):
    """Finds and names the faces of photos with an exported joint net, on the fastest engine.

    >>> import thesislib as tl
    >>> tl.Recogniser("out").predict("party.jpg")  # doctest: +SKIP

    Args:
        folder: what :func:`thesislib.deploy.export.export` wrote of a joint net.
        engine: one of ``ENGINES``, or ``"auto"``: the fastest on this machine by a short
            measurement, which is remembered (see :func:`thesislib.deploy.engines.fastest`). For
            one that cannot be had a warning says what it needs, and the next in ``ENGINES`` is
            used.
        threads: of the engine; None for as many as PyTorch uses.

    Attributes:
        engine: the one in use.
        identities: names of the people.
        embedding_dim: length of an embedding.
        fingerprint: that of the net that was exported, so that a gallery can be used with both.
        gallery_threshold: that of the net, or None.

    Raises:
        ExportError: the folder is not whole, was altered, or is of another version.
        ValueError: unknown engine, or the folder holds a classifier.
    """

    def __init__(
        self, folder: Path | str, engine: str = "auto", threads: int | None = None
    ) -> None:
        self.about = read_about(folder)
        if self.about["kind"] != "joint":
            raise ValueError(f"{folder}: a classifier of faces, which finds none by itself")
        self.embedding_dim: int = self.about["embedding_dim"]
        self.fingerprint: str = self.about["fingerprint"]
        self.gallery_threshold: float | None = self.about.get("gallery_threshold")
        threads = threads or torch.get_num_threads()
        if engine == "auto":
            engine = fastest(folder, self.about, threads)
        self.engine, run = open_engine(folder, self.about, engine, threads)
        super().__init__(run, self.about["identities"], self.about["input_px"])

    @property
    def answers_key(self) -> str:
        """What an answer depends on: the exported files, and the engine, which rounds its way."""
        return f"{self.about['checksum']} {self.engine}"


class EngineClassifier(nn.Module):
    """A :class:`thesislib.models.face_classifier.FaceClassifier` on an engine, for the baseline.

    Args:
        folder: what :func:`thesislib.deploy.export.export` wrote of a classifier.
        engine, threads: as for :class:`Recogniser`, but not ``"auto"``.

    Raises:
        ExportError: as for :class:`Recogniser`.
        ValueError: unknown engine, or the folder holds a joint net.
    """

    device = torch.device("cpu")  # where photos are given

    def __init__(self, folder: Path | str, engine: str, threads: int | None = None) -> None:
        super().__init__()
        about = read_about(folder)
        if about["kind"] != "classifier":
            raise ValueError(f"{folder}: a joint net, where a classifier is needed")
        self.identities: list[str] = about["identities"]
        self.input_px: int = about["input_px"]
        threads = threads or torch.get_num_threads()
        self.engine, self.run = open_engine(folder, about, engine, threads)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits float32 [N, identities] of photos uint8 [N, 3, H, W]."""
        return torch.from_numpy(self.run(photos.contiguous().numpy())[0])
