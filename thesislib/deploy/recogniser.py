"""TODO"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thesislib.data.images import as_photo
from thesislib.data.transforms import scaled_size
from thesislib.deploy.engines import fastest, open_engine
from thesislib.deploy.export import read_about

# A photo that is scaled to more pixels than this is a mistake: a line, not a photo.
MAX_SCALED_PIXELS = 40_000_000


class Recogniser:
    """Finds and names the faces of a photo.

    Args:
        folder: what :func:`thesislib.export.export` wrote of a joint net.
        engine: one of ``ENGINES``, or ``"auto"``: the fastest on this machine by a short
            measurement, which is remembered. One that cannot be had is named in a warning, with
            what it needs, and the next in ``ENGINES`` is used.
        threads: of the engine; None for as many as PyTorch uses.

    Attributes:
        engine: the one in use.
        identities: names of the people.

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
        self.identities = self.about["identities"]
        self.input_px = self.about["input_px"]
        threads = threads or torch.get_num_threads()
        if engine == "auto":
            engine = fastest(folder, self.about, threads)
        self.engine, self.run = open_engine(folder, self.about, engine, threads)

    def __call__(self, photo: np.ndarray) -> dict:
        """Faces of one photo; see :meth:`batch`."""
        return self.batch([photo])[0]

    def batch(self, photos: Sequence[np.ndarray]) -> list[dict]:
        """Faces of photos of any sizes; those of one size go through the net together.

        Args:
            photos: as :func:`as_photo` takes them.

        Returns:
            one dict a photo, best first: ``boxes`` float32 [D, 4] pixels, ``scores`` float32
            [D], ``identities`` list of D names, ``identity_scores`` float32 [D],
            ``embeddings`` float32 [D, E], L2-normalised.

        Raises:
            ValueError: no photo, or one so long and narrow that it cannot be scaled.
        """
        photos = [as_photo(photo) for photo in photos]
        of_size: dict[tuple, list[int]] = {}
        for at, photo in enumerate(photos):
            height, width = photo.shape[:2]
            scaled = scaled_size(height, width, self.input_px)
            if scaled[0] * scaled[1] > MAX_SCALED_PIXELS:
                raise ValueError(
                    f"photo {at}, {width} x {height} pixels: scaled to {self.input_px} on the "
                    f"shorter side it would be {scaled[1]} x {scaled[0]}; cut it first"
                )
            of_size.setdefault(photo.shape, []).append(at)
        answers: list[dict] = [{}] * len(photos)
        for places in of_size.values():
            together = np.stack([photos[at] for at in places]) if len(places) > 1 else None
            found = self.run(photos[places[0]][None] if together is None else together)
            for number, at in enumerate(places):
                own = found[0] == number
                boxes, scores, identities, identity_scores, embeddings = (
                    values[own] for values in found[1:]
                )
                answers[at] = {
                    "boxes": boxes,
                    "scores": scores,
                    "identities": [self.identities[at] for at in identities],
                    "identity_scores": identity_scores,
                    "embeddings": embeddings,
                }
        return answers


class EngineClassifier(nn.Module):
    """The two-stage baseline's classifier on an engine; stands in for a :class:`FaceClassifier`.

    Args:
        folder: what :func:`thesislib.export.export` wrote of a classifier.
        engine, threads: as for :class:`Recogniser`, but not ``"auto"``.
    """

    def __init__(self, folder: Path | str, engine: str, threads: int | None = None) -> None:
        super().__init__()
        about = read_about(folder)
        if about["kind"] != "classifier":
            raise ValueError(f"{folder}: a joint net, where a classifier is needed")
        self.identities = about["identities"]
        threads = threads or torch.get_num_threads()
        self.engine, self.run = open_engine(folder, about, engine, threads)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits of photos uint8 [N, 3, H, W]."""
        return torch.from_numpy(self.run(photos.contiguous().numpy())[0])
