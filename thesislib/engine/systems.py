"""The systems that are compared, each a chain of named stages from a photo to an answer.

A system is called with a decoded photo, uint8 [H, W, 3] RGB, and answers with a dict: ``boxes``
float32 [D, 4] pixels of that photo, ``scores`` float32 [D] best first, ``identities`` list of D
names. Its ``stages`` are the same work in named steps, so that each can be timed.
"""

from collections.abc import Callable

import numpy as np
import torch

from thesislib.data.transforms import resize, scaled_size
from thesislib.models.joint import JointNet


class System:
    """A chain of stages; each takes what the one before returned."""

    name: str
    stages: list[tuple[str, Callable]]

    def __call__(self, photo: np.ndarray) -> dict:
        value = photo
        for _, stage in self.stages:
            value = stage(value)
        return value


def _scaled(photo: np.ndarray, short_side: int, device) -> torch.Tensor:
    """uint8 [3, h, w] with ``short_side`` pixels on the shorter side."""
    tensor = torch.from_numpy(photo).permute(2, 0, 1).to(device)
    return resize(tensor, scaled_size(*photo.shape[:2], short_side))


class Joint(System):
    """The joint net: one pass. Its answer has ``embeddings`` float32 [D, E], L2-normalised, too.

    Args:
        net: trained; put into evaluation mode.
        input_px: shorter side the photo is scaled to.
    """

    name = "joint"

    def __init__(self, net: JointNet, input_px: int) -> None:
        self.net = net.eval()
        self.input_px = input_px
        self.device = net.anchors.device
        self.stages = [
            ("preprocess", self._preprocess),
            ("network", self._network),
            ("postprocess", self._postprocess),
        ]

    def _preprocess(self, photo: np.ndarray):
        scaled = _scaled(photo, self.input_px, self.device)
        factors = np.array([photo.shape[1] / scaled.shape[2], photo.shape[0] / scaled.shape[1]])
        batch, sizes = self.net.batch([scaled])
        return batch, sizes, np.tile(factors, 2).astype(np.float32)

    @torch.inference_mode()
    def _network(self, state):
        batch, sizes, factors = state
        return self.net.heads(batch), sizes, factors

    def _postprocess(self, state) -> dict:
        (regression, embeddings), sizes, factors = state
        found = self.net.decode(regression, embeddings, sizes)[0]
        return {
            "boxes": found["boxes"].cpu().numpy() * factors,
            "scores": found["scores"].cpu().numpy(),
            "identities": [self.net.identities[at] for at in found["identities"].tolist()],
            "embeddings": found["embeddings"].cpu().numpy(),
        }

    @torch.inference_mode()
    def identify_at(self, photo: np.ndarray, boxes: np.ndarray) -> list[str]:
        """Identities read at given boxes [F, 4]: the upper bound of perfect detection."""
        batch, _, factors = self._preprocess(photo)
        scaled = torch.from_numpy(boxes / factors).float()
        found = self.net.identify_at(batch, [scaled])[0].tolist()
        return [self.net.identities[at] if at >= 0 else "" for at in found]
