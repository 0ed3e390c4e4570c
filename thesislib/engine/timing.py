"""The one timing loop: systems take turns photo by photo, in named stages."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from thesislib.data.transforms import scaled_photo
from thesislib.models.joint import JointNet
from thesislib.tables import BUSY

WARM_UPS, RUNS = 5, 30
# Seconds before a timed call. An engine's threads stay awake for some milliseconds after a call,
# and would take the cores from the system whose turn is next.
PAUSE = 0.02

_LEAST = 0.2  # seconds
_TRIES = 2  # a machine is often busy for a moment only

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
    milliseconds do not. Where other processes have more than :data:`thesislib.tables.BUSY` of the
    cores, all is timed once more.

    Args:
        systems: by name, the work in named stages, each taking what the one before returned; the
            first takes the photo.
        photos: taken in turn, from the first again after the last.
        runs: timed calls of each system.
        warm_ups: calls before those.
        pause: seconds before each call.

    Returns:
        one row per system, stage and turn: ``system, stage, turn, ms, others``. The stages of a
        turn add up to the whole call; ``others``: share of the cores that other processes had.

    Warns:
        UserWarning: they had more than that the second time, too.
    """
    for _ in range(_TRIES):
        load = Load()
        table = _turns(systems, photos, runs, warm_ups, pause)
        others = load.others()
        if others <= BUSY:
            break
    else:
        warnings.warn(
            f"timed on a busy machine: other processes had {others:.0%} of the cores, and "
            "milliseconds are too many; stop them and time again",
            stacklevel=2,
        )
    return table.assign(others=others)


class Load:
    """Watches how much of the cores other processes have."""

    def __init__(self) -> None:
        self._all, self._own, self._began = self._spent()
        self._told = 0.0

    def others(self) -> float:
        """Share of the cores that other processes had since this was made or asked, 0 to 1.

        Asked again at once it says the same: the system counts in hundredths of a second.
        """
        if time.perf_counter() - self._began < _LEAST:
            return self._told
        before, own_before, began = self._all, self._own, self._began
        self._all, self._own, self._began = self._spent()
        seconds = (self._began - began) * len(self._cores())
        others = (self._all - before) - (self._own - own_before)
        self._told = min(1.0, max(0.0, others / seconds))
        return self._told

    def _spent(self) -> tuple[float, float, float]:
        """Seconds that the cores were busy with anything, and with this process; and the time."""
        every = psutil.cpu_times(percpu=True)
        # A machine's guests are in user already; what a host takes away (steal) is others'.
        busy = sum(
            sum(
                getattr(every[core], kind, 0.0)
                for kind in ("user", "nice", "system", "irq", "softirq", "steal")
            )
            for core in self._cores()
            if core < len(every)
        )
        own = psutil.Process().cpu_times()
        mine = own.user + own.system + own.children_user + own.children_system
        return busy, mine, time.perf_counter()

    @staticmethod
    def _cores() -> list[int]:
        """Those this process may use."""
        process = psutil.Process()
        if hasattr(process, "cpu_affinity"):  # not on macOS
            return list(process.cpu_affinity())
        return list(range(psutil.cpu_count() or 1))


def _turns(
    systems: Mapping[str, Stages],
    photos: Sequence[np.ndarray],
    runs: int,
    warm_ups: int,
    pause: float,
) -> pd.DataFrame:
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
