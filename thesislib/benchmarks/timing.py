"""Times of systems that take turns: whole calls, and what they consist of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from thesislib.engine.timing import PAUSE, RUNS, WARM_UPS, Stages, take_turns


def turns(
    systems: Mapping[Any, Stages],
    photos: Sequence[np.ndarray],
    runs: int = RUNS,
    warm_ups: int = WARM_UPS,
    pause: float = PAUSE,
) -> dict[Any, pd.DataFrame]:
    """Milliseconds of each stage, by system and turn.

    A system's stages are timed within the calls that are its total, so that the rows of its table
    add up to whole calls.

    Args:
        systems: by key, see :func:`thesislib.benchmarks.systems.stages_of`.
        photos: taken in turn.
        runs, warm_ups, pause: see :func:`thesislib.engine.timing.take_turns`.

    Returns:
        by key a table [runs, stages], stages in their order.
    """
    numbered = {str(at): stages for at, stages in enumerate(systems.values())}
    table = take_turns(numbered, photos, runs, warm_ups, pause)
    by_turn = table.pivot(index=["system", "turn"], columns="stage", values="ms")
    return {
        key: by_turn.loc[str(at), [name for name, _ in stages]]
        for at, (key, stages) in enumerate(systems.items())
    }


def whole(turns_of: Mapping[Any, pd.DataFrame]) -> dict[Any, np.ndarray]:
    """Milliseconds [runs] of whole calls by system.

    Args:
        turns_of: what :func:`turns` gave.
    """
    return {key: stages.sum(axis=1).to_numpy() for key, stages in turns_of.items()}


def times(
    systems: Mapping[Any, Callable],
    photos: Sequence[np.ndarray],
    runs: int = RUNS,
    warm_ups: int = WARM_UPS,
    pause: float = PAUSE,
) -> dict[Any, np.ndarray]:
    """Milliseconds [runs] of calls that have no stages, by system.

    Args:
        systems: callables of one photo, by key.
        photos, runs, warm_ups, pause: as for :func:`turns`.
    """
    called: dict[Any, Stages] = {key: [("total", call)] for key, call in systems.items()}
    return whole(turns(called, photos, runs, warm_ups, pause))
