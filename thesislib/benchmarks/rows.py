"""Rows of ``benchmark.csv``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from thesislib.benchmarks.nets import Bench
from thesislib.engine.timing import Load

REFERENCE = ("two_stage_up1", "torch")


class Rows:
    """Collects rows: what was timed, and what else is known of it.

    Column ``others`` is the share of the cores that other processes had since the row before.

    Args:
        bench: whose people, threads and size stand in every row.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rows: list[dict[str, Any]] = []
        self._load = Load()

    def add(self, system: str, engine: str, ms: ArrayLike, backbone: str, **other: Any) -> None:
        """One row; ``ms`` are the times of single photos, or one number."""
        self._add(system, engine, ms, backbone, self._load.others(), **other)

    def _add(
        self,
        system: str,
        engine: str,
        ms: ArrayLike,
        backbone: str,
        others: float,
        **other: Any,
    ) -> None:
        taken = np.atleast_1d(np.asarray(ms, dtype=float))
        row = {
            "system": system,
            "engine": engine,
            "stage": "total",
            "faces": 1,
            "people": self.bench.size.people,
            "batch": 1,
            "threads": self.bench.threads,
            "ms_median": float(np.median(taken)),
            "ms_min": float(taken.min()),
            "input_px": self.bench.size.input_px,
            "backbone": backbone,
            "others": others,
        }
        self.rows.append(row | other)

    def add_turns(
        self,
        times: Mapping[tuple, np.ndarray],
        own: Mapping[tuple, dict[str, Any]] | None = None,
        **same: Any,
    ) -> None:
        """A row for each system that took turns.

        Args:
            times: milliseconds by ``(system, engine, backbone, ...)``.
            own: further columns of each.
            same: further columns of all.
        """
        others = self._load.others()
        reference = next((ms for key, ms in times.items() if key[:2] == REFERENCE), None)
        for key, ms in times.items():
            # Turn by turn: what disturbed the machine disturbed both.
            ratio = np.nan if reference is None else float(np.median(reference / ms))
            columns = {"ratio_to_thesis_pipeline": ratio} | same | (own or {}).get(key, {})
            self._add(key[0], key[1], ms, key[2], others, **columns)
