"""The one timing loop: systems take turns photo by photo, in named stages."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from thesislib.data.transforms import scaled_photo
from thesislib.models.joint import JointNet

WARM_UPS, RUNS = 5, 30
# Seconds before a timed call. An engine's threads stay awake for some milliseconds after a call,
# and would take the cores from the system whose turn is next.
PAUSE = 0.02

Stages = Sequence[tuple[str, Callable[[Any], Any]]]


def take_turns(
    systems: Mapping[str, Stages],
    photos: Sequence[np.ndarray],
    runs: int = RUNS,
    warm_ups: int = WARM_UPS,
    pause: float = PAUSE,
) -> pd.DataFrame:
    """Time systems on the same photos, one after the other on each.

    What else the machine does hits all of them alike, so that ratios of two systems hold where
    milliseconds do not.

    Args:
        systems: by name, the work in named stages, each taking what the one before returned; the
            first takes the photo.
        photos: taken in turn, from the first again after the last.
        runs: timed calls of each system.
        warm_ups: calls before those.
        pause: seconds before each call.

    Returns:
        one row per system, stage and turn: ``system, stage, turn, ms``. The stages of a turn add up
        to the whole call.
    """
    rows = []
    for turn in range(warm_ups + runs):
        photo = photos[turn % len(photos)]
        for name, stages in systems.items():
            time.sleep(pause)
            value: Any = photo
            began = time.perf_counter()
            for stage, work in stages:
                value = work(value)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                ended = time.perf_counter()
                rows.append((name, stage, turn - warm_ups, 1000 * (ended - began)))
                began = ended
    table = pd.DataFrame(rows, columns=["system", "stage", "turn", "ms"])
    return table[table["turn"] >= 0].reset_index(drop=True)


def joint_stages(net: JointNet, score_threshold: float = 0.5) -> list[tuple[str, Callable]]:
    """The work of a joint net in named stages: ``preprocess``, ``network``, ``postprocess``.

    The last gives the faces as :meth:`JointNet.faces` does, on the CPU.
    """

    @torch.inference_mode()
    def preprocess(photo: np.ndarray) -> torch.Tensor:
        return scaled_photo(photo, net.input_px, net.device)[None]

    @torch.inference_mode()
    def network(photos: torch.Tensor) -> tuple:
        return net(photos), tuple(photos.shape[-2:])

    @torch.inference_mode()
    def postprocess(state: tuple) -> tuple[np.ndarray, ...]:
        outputs, size = state
        return tuple(one.cpu().numpy() for one in net.faces(outputs, size, score_threshold))

    net.eval()
    return [("preprocess", preprocess), ("network", network), ("postprocess", postprocess)]
