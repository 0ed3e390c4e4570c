"""Two systems on the same faces: how far they are apart, and whether that may be claimed.

What is sampled are people, so that all differences of a person are drawn, or have their sign
flipped, together, whatever seed they are of. How trainings vary is told by the seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib.engine.evaluate import units
from thesislib.metrics.matching import jointly_correct
from thesislib.metrics.statistics import bootstrap_interval, holm, sign_flip_test
from thesislib.tables import LEAST_SEEDS

LEVEL = 0.95  # of all intervals of a table together
DRAWS = 20_000  # so that some lie in the tails of intervals that are corrected for their number
FLIPS = 19_999


class Report(Protocol):
    """What is left of a test, see :class:`thesislib.engine.evaluate.Report`."""

    @property
    def faces(self) -> pd.DataFrame:
        """One row per face."""
        ...

    @property
    def photos(self) -> pd.DataFrame:
        """One row per photo with a face."""
        ...


class Difference(NamedTuple):
    """One system's values less another's.

    Attributes:
        by_seed: by seed, float [n] of faces or photos.
        people: [sum of n] whose each is, seed after seed.
    """

    by_seed: dict[int, NDArray[np.float64]]
    people: NDArray[np.object_]


def difference(
    one: Mapping[int, Report], other: Mapping[int, Report], metric: str
) -> Difference | None:
    """The differences of two systems, face by face or photo by photo.

    Args:
        one, other: by seed, their tests of the same photos.
        metric: ``accuracy, joint_accuracy_50, oracle_box_accuracy`` or ``mean_iou_calibrated``.

    Returns:
        None where they have no seed, or nothing measured, in common.

    Raises:
        ValueError: tests of different photos.
    """
    by_seed: dict[int, NDArray[np.float64]] = {}
    people: list[NDArray[np.object_]] = []
    for seed in sorted(set(one) & set(other)):
        (a, who), (b, others) = (_values(tests[seed], metric) for tests in (one, other))
        if who.tolist() != others.tolist():
            raise ValueError(f"seed {seed}: tests of different photos")
        if len(a):
            by_seed[seed] = a - b
            people.append(who)
    return Difference(by_seed, np.concatenate(people)) if by_seed else None


def _values(one: Report, metric: str) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """What a metric is the mean of, and the person of each value."""
    faces, photos = one.faces, one.photos
    if metric == "accuracy":
        photos = photos[photos["known"].astype(bool)]
        who = photos["photo"].map(units(faces, photos["photo"]))
        return photos["correct"].to_numpy(float), who.to_numpy(object)
    alone = "photo " + faces["photo"].astype(str)
    people = faces["identity"].where(faces["identity"] != "", alone).to_numpy(object)
    if metric == "mean_iou_calibrated":
        return faces["iou_calibrated"].to_numpy(float), people
    named = (faces["identity"] != "").to_numpy()
    if metric == "oracle_box_accuracy":
        right = (faces["oracle_identity"] == faces["identity"]).to_numpy()
    else:
        right = jointly_correct(faces.assign(iou=faces["iou_calibrated"]), 0.5)
    return right[named].astype(float), people[named]


def tested(pairs: Sequence[tuple[Mapping[str, Any], Difference | None]], seed: int) -> pd.DataFrame:
    """Which of a table's differences may be claimed.

    Args:
        pairs: what tells each, as columns, and its difference; without one it is left out.
        seed: of bootstrap and sign flips.

    Returns:
        a row each, with the columns that tell it and ``value, low, high, p, p_holm, tests, n,
        people, seeds, seed_values, holds``: the mean difference; an interval such that all of the
        table together hold with 95 % (Bonferroni); the p of a sign-flip test over people, and
        corrected by Holm; how many tests the table has; seeds and the difference in each, in
        words; and whether it may be claimed: p_holm below 0.05, an interval without 0, and the
        same sign in every one of at least three seeds.
    """
    found = [(dict(told), one) for told, one in pairs if one is not None]
    level = 1 - (1 - LEVEL) / max(1, len(found))
    rows = []
    for told, one in found:
        values = np.concatenate(list(one.by_seed.values()))
        low, high = bootstrap_interval(
            values, groups=one.people, draws=DRAWS, level=level, seed=seed
        )
        means = [float(own.mean()) for own in one.by_seed.values()]
        row = {
            "value": float(values.mean()),
            "low": low,
            "high": high,
            "p": sign_flip_test(values, one.people, FLIPS, seed=seed),
            "n": len(values),
            "people": len(set(one.people)),
            "seeds": " ".join(map(str, one.by_seed)),
            "seed_values": " ".join(f"{mean:.4g}" for mean in means),
            "holds": len(means) >= LEAST_SEEDS and (min(means) > 0 or max(means) < 0),
        }
        rows.append(told | row)
    table = pd.DataFrame(rows)
    if not len(table):
        return table
    corrected = holm(table["p"])
    apart = (table["low"] > 0) | (table["high"] < 0)
    holds = table["holds"] & apart & (corrected < 1 - LEVEL)
    return table.assign(p_holm=corrected, tests=len(table), holds=holds)
