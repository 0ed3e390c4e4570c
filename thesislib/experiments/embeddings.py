"""Experiment 3: how compact are the embeddings of people who were not in the training?

A dataset's people are divided: some are never seen in training, and of the others one photo in
six is kept from it. Joint nets that differ in one thing, an *arm*, are trained on what is left, and
their embeddings of both groups are measured, beside controls. Everything is written to results
tables; trained nets and what was measured are kept under ``runs/``. Command line::

    python -m thesislib.experiment3 --data <folder> --profile laptop
"""

import argparse
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from thesislib import paths, seeds, storage
from thesislib import tables as tables_thesislib
from thesislib.data.columns import FACTOR
from thesislib.data.loading import Photo, list_photos
from thesislib.data.schema import Dataset, DatasetError, read_dataset, subset
from thesislib.data.splits import make_split
from thesislib.engine import predict
from thesislib.experiments import baseline_comparison
from thesislib.experiments.baseline_comparison import Experiment, code_hash, module_hash
from thesislib.metrics import (
    compactness,
    identification,
    matching,
    projection,
    retrieval,
    statistics,
    verification,
)
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.operating_points import MIN_EXPECTED_ERRORS
from thesislib.metrics.similarity import normalise, pair_similarities
from thesislib.models.margin import Margin
from thesislib.profiles import Profile, get_profile
from thesislib.synthetic import sets
from thesislib.synthetic.sets import SETS
from thesislib.tables import merge_table

RESULTS_TABLE = "experiment3.csv"
CURVES_TABLE = "experiment3_curves.csv"
SIMILARITIES_TABLE = "experiment3_similarities.csv"
FACTORS_TABLE = "experiment3_factors.csv"
MAP_TABLE = "experiment3_map.csv"
KEYS = ("dataset", "arm", "profile", "seed")
MIN_PEOPLE = 24  # in a dataset some of whose people are kept unseen
UNSEEN = 0.25  # share of the people who are never trained on

# What is changed in the profile; nothing else is. Smoothed targets would be a second change.
_BASE = {"normalised": True, "label_smoothing": 0.0}
ARMS = {
    "linear": {**_BASE, "normalised": False},  # the thesis's plain cross-entropy
    "normalised": _BASE,
    **{f"cosface_{s}": {**_BASE, "margin": Margin("cosface", 0.2, s)} for s in (8, 16, 32)},
    **{f"arcface_{s}": {**_BASE, "margin": Margin("arcface", 17.2, s)} for s in (8, 16, 32)},
    **{f"dim{d}": {**_BASE, "embedding_dim": d} for d in (64, 128, 256)},
    "roi": {**_BASE, "embedding_source": "roi"},
}
GAINS = ("map_at_r", "precision_at_1", "dprime")  # measures in which arms are compared
MAIN_ARM = tables_thesislib.MAIN_ARM  # of which the controls, curves and maps are shown
DRAWS = 200  # of the bootstrap over people
_BINS = np.round(np.linspace(-1, 1, 41), 2)  # of similarities
_CURVE_POINTS = 200
_MAP_PHOTOS, _MAP_SEEDS, _NEIGHBOURS = 600, (0, 1), 15
_YAW_EDGES = np.array([0, 5, 10, 15, 20, 30, 40, 60, 120], float)
_LIGHT_EDGES = np.array([0, 10, 20, 30, 45, 60, 90, 180], float)
_CODE = [module_hash(f"{name}.py") for name in ("embedding_metrics", "experiment3", "inference")]


@dataclasses.dataclass(frozen=True)
class Group:
    """Faces of known people whose embeddings are measured together.

    Attributes:
        dataset: where the photos lie.
        photos: their annotations, in the dataset's order.
        rows: annotation rows of the faces, in the order of their embeddings.
    """

    dataset: Dataset
    photos: list[Photo]
    rows: pd.DataFrame

    @classmethod
    def of(cls, dataset: Dataset) -> "Group":
        """All photos of a dataset that show exactly one face, of a known person."""
        table = dataset.table[dataset.table["x1"].notna()]
        alone = table.groupby("photo")["photo"].transform("size") == 1
        rows = table[alone & (table["identity"] != "")]
        dataset = subset(dataset, set(rows["photo"]))
        rows = dataset.table.reset_index(drop=True)
        return cls(dataset, list_photos(dataset, dataset.identities), rows)

    @property
    def identities(self) -> np.ndarray:
        """Names, one a face."""
        return self.rows["identity"].to_numpy(object)

    @property
    def sessions(self) -> np.ndarray:
        """Sessions, one a face; empty where there are none."""
        return self.rows["session"].fillna("").astype(str).to_numpy(object)


@dataclasses.dataclass(frozen=True)
class EmbeddingExperiment(Experiment):
    """An :class:`Experiment` of one arm, on a split with parts ``train``, ``seen``, ``unseen``.

    Attributes:
        arm: a name in ``ARMS``; changes the profile.
    """

    split_kind: str = "identity"
    profile: Profile = dataclasses.field(default_factory=lambda: get_profile("quick"))
    arm: str = MAIN_ARM

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise ValueError(f"arm {self.arm!r} is unknown; choose one of {', '.join(ARMS)}")
        object.__setattr__(self, "profile", dataclasses.replace(self.profile, **ARMS[self.arm]))

    @functools.cached_property
    def split(self) -> pd.DataFrame:
        """Table ``photo, part``: people never seen; of the others, photos kept from training.

        With ``holdout`` the people never seen are divided off the training part of the true split,
        whose own unseen people and kept photos are not read.
        """
        dataset = self.dataset
        for _ in range(1 + self.holdout):
            people = make_split(dataset, "identity", self.seed, UNSEEN)
            known = subset(dataset, set(people["photo"][people["part"] == "train"]))
            kept = make_split(known, "photo", self.seed)
            kept = set(kept["photo"][kept["part"] == "test"])
            parts = [
                "unseen" if part == "test" else "seen" if photo in kept else "train"
                for photo, part in zip(people["photo"], people["part"], strict=True)
            ]
            split = people.assign(part=parts)
            dataset = subset(dataset, set(split["photo"][split["part"] == "train"]))
        with storage.atomic_write(self.folder / "split.csv") as aside:
            split.to_csv(aside, index=False)
        return split

    def group(self, part: str) -> Group:
        """Faces of the part ``seen`` or ``unseen``."""
        return Group.of(self.part(part))

    def command(self) -> str:
        """The command that gives these results."""
        words = super().command().replace("thesislib.experiment1", "thesislib.experiment3")
        return f"{words.replace(' --split identity', '')} --arms {self.arm}"

    def columns(self) -> dict:
        """What every row of a results table carries."""
        columns = super().columns() | {"arm": self.arm}
        del columns["split"]
        return columns


# Embeddings, kept on disk


def embeddings(
    experiment: EmbeddingExperiment, group: Group, system: str = "joint", trained: bool = True
) -> np.ndarray:
    """Embeddings of a group's faces; asked again they are read.

    Args:
        experiment: whose net.
        group: faces.
        system: ``joint`` or ``two_stage_face``.
        trained: or the untrained net, as a control.

    Returns:
        float32 [F, E].
    """
    run = experiment.run_folder(system)
    key = f"{group.dataset.content_hash} {trained} {code_hash(['model.py'])} {_CODE[2]}"
    kept = run / f"embeddings-{storage.text_hash(key)[:8]}.npy"
    if not kept.exists():
        net = experiment.trained(system)[0] if trained else experiment.new_net(system)
        found = predict.embed(
            net,
            group.dataset,
            group.photos,
            experiment.profile.input_px,
            experiment.progress,
        )
        with storage.atomic_write(kept) as aside, open(aside, "wb") as file:
            np.save(file, found, allow_pickle=False)
    return np.load(kept, allow_pickle=False)


# Measures


def enrolled(identities: np.ndarray, sessions: np.ndarray, seed: int) -> np.ndarray:
    """Which photos make the gallery: of half of the people, drawn, half of their sittings.

    The first sittings, whole, so that no probe is from a sitting that is enrolled; where no
    sittings are known, half of the photos. Drawn are people who have at least two.

    Args:
        identities: [n] names.
        sessions: [n] names of sittings, in the order in which they are enrolled; "" if unknown.
        seed: of the drawing.

    Returns:
        bool [n].

    >>> names = np.array(["ann"] * 4 + ["bob"] * 4, object)
    >>> enrolled(names, np.array(["1", "1", "2", "2"] * 2, object), seed=0).astype(int)
    array([0, 0, 0, 0, 1, 1, 0, 0])
    """
    sittings = sessions.astype(str)
    if (sittings == "").any():
        sittings = np.arange(len(identities))  # every photo by itself
    rows = pd.DataFrame({"person": identities.astype(str), "sitting": sittings})
    of_person = rows.groupby("person")["sitting"].unique().map(sorted)
    several = of_person[of_person.map(len) >= 2]
    drawn = seeds.generator(seed, "enrolled").permutation(several.index.to_numpy(str))
    gallery = np.zeros(len(identities), dtype=bool)
    for person in drawn[: len(drawn) // 2]:
        first = several[person][: len(several[person]) // 2]
        gallery |= (rows["person"] == person) & rows["sitting"].isin(first)
    return np.asarray(gallery)


def _each(
    embeddings, identities, copies, gallery, names: Sequence[str], seed: int, least: float
) -> list[float]:
    """The named measures; each that the data cannot support raises."""
    measures = _Measures(embeddings, identities, copies, gallery, seed, least)
    return [getattr(measures, name)() for name in names]


class _Measures:
    """Measures by the names they have in ``experiment3.csv``; what they share is computed once."""

    def __init__(self, embeddings, identities, copies, gallery, seed, least) -> None:
        self.data = (embeddings, identities)
        self.copies = {"copies": copies}
        self.gallery, self.seed, self.least = gallery, seed, least

    @functools.cached_property
    def _roc(self):
        return verification.roc(*self.data, **self.copies)

    @functools.cached_property
    def _retrieval(self):
        return retrieval.retrieval(*self.data, **self.copies)

    @functools.cached_property
    def _open(self):
        found = identification.open_set(*self.data, self.gallery, **self.copies)
        _need_mated(found.mated_probes, self.least)
        return found

    def _point(self, name: str) -> verification.TarAtFar | identification.FnirAtFpir:
        """What a measure at a stated rate is a part of: the rate achieved, and of how many."""
        if name in _FAR:
            return verification.tar_at_far(self._roc, _FAR[name], self.least)
        return identification.fnir_at_fpir(self._open, _FPIR[name], self.least)

    def verification_accuracy(self):
        return verification.verification_accuracy(*self.data, seed=self.seed, **self.copies).mean

    def tar_at_far_1e2(self):
        return self._point("tar_at_far_1e2").tar

    def tar_at_far_1e3(self):
        return self._point("tar_at_far_1e3").tar

    def equal_error_rate(self):
        return verification.equal_error_rate(self._roc)

    def precision_at_1(self):
        return self._retrieval.precision_at_1

    def r_precision(self):
        return self._retrieval.r_precision

    def map_at_r(self):
        return self._retrieval.map_at_r

    def rank_one(self):
        return self._open.rank_one

    def fnir_at_fpir_1e2(self):
        return self._point("fnir_at_fpir_1e2").fnir

    def fnir_at_fpir_1e1(self):
        return self._point("fnir_at_fpir_1e1").fnir

    def dprime(self):
        return compactness.dprime(*self.data, **self.copies)

    def compactness_ratio(self):
        return compactness.compactness_ratio(*self.data, **self.copies)

    def silhouette(self):
        return compactness.silhouette(*self.data, **self.copies)

    def davies_bouldin(self):
        return compactness.davies_bouldin(*self.data, **self.copies)

    def alignment(self):
        return compactness.alignment(*self.data, **self.copies)

    def uniformity(self):
        return compactness.uniformity(*self.data, **self.copies)


def _need_mated(probes: int, least: float = MIN_EXPECTED_ERRORS) -> None:
    if probes < least:
        raise NotSupportedError(
            f"gallery: {probes} probes of people enrolled, and at least {least} are needed"
        )


# Measures at a stated rate of errors
_FAR = {"tar_at_far_1e2": 0.01, "tar_at_far_1e3": 0.001}
_FPIR = {"fnir_at_fpir_1e2": 0.01, "fnir_at_fpir_1e1": 0.1}
MEASURES = tuple(name for name in vars(_Measures) if not name.startswith("_"))
# Shares, whose bootstrap's ends may be moved beyond 0 or 1.
_SHARES = MEASURES[: MEASURES.index("dprime")]
# With few people a draw may hold too few of them to enrol, or to deal to folds; then only these
# measures lose their interval.
_FAMILIES = (
    ("verification_accuracy",),
    ("rank_one", "fnir_at_fpir_1e2", "fnir_at_fpir_1e1"),
)


def measure(
    embeddings: np.ndarray, identities: np.ndarray, gallery: np.ndarray, seed: int, draws: int
) -> pd.DataFrame:
    """All measures of one group's embeddings that it can support.

    Args:
        embeddings: [n, d]; rows with NaN (the grid had no place for the face) are left out.
        identities: [n] names.
        gallery: bool [n], see :func:`enrolled`.
        seed: of folds and bootstrap.
        draws: of the bootstrap over people; 0 gives no intervals.

    Returns:
        rows ``metric, value, low, high, n, achieved, trials``; n is the number of photos. Where a
        rate of errors is stated, ``achieved`` is the rate reached, of ``trials`` impostor pairs or
        strangers' photos. A measure that these data cannot support has no row. Where there are
        too few people to draw from, the interval of the verification accuracy is Student's t over
        its folds.
    """
    there = ~np.isnan(embeddings).any(axis=1)
    embeddings, identities, gallery = embeddings[there], identities[there], gallery[there]
    once = np.zeros(len(identities), dtype=np.int64)
    measures = _Measures(embeddings, identities, once, gallery, seed, MIN_EXPECTED_ERRORS)
    value, points = {}, {}
    for name in MEASURES:
        try:
            value[name] = getattr(measures, name)()
        except NotSupportedError:
            continue
        if name in _FAR or name in _FPIR:
            points[name] = measures._point(name)
    table = pd.DataFrame({"metric": list(value), "value": list(value.values())})
    table = table.assign(low=np.nan, high=np.nan, n=len(identities))
    table["achieved"] = [points[name][1] if name in points else np.nan for name in value]
    table["trials"] = [points[name][-1] if name in points else np.nan for name in value]
    apart = {name for family in _FAMILIES for name in family}
    for family in (*_FAMILIES, [name for name in value if name not in apart]):
        names = [name for name in family if name in value]
        if not draws or not names:
            continue
        try:
            ends = statistics.person_bootstrap(
                functools.partial(_each, names=names, seed=seed, least=0),
                embeddings,
                identities,
                seed=seed,
                draws=draws,
                gallery=gallery,
            )
        except NotSupportedError:
            if "verification_accuracy" not in names:
                continue
            folds = verification.verification_accuracy(embeddings, identities, seed=seed)
            half = stats.t.ppf(0.975, len(folds.accuracies) - 1) * folds.standard_error
            ends = ([folds.mean - half], [folds.mean + half])
        table.loc[table["metric"].isin(names), ["low", "high"]] = np.stack(ends, axis=1)
    shares = table["metric"].isin(_SHARES)
    table.loc[shares, ["low", "high"]] = table.loc[shares, ["low", "high"]].clip(0, 1)
    return table


def gains(
    embeddings: np.ndarray, reference: np.ndarray, identities: np.ndarray, seed: int, draws: int
) -> pd.DataFrame:
    """How much better one net's embeddings are than another's of the same photos.

    Both nets see the same people in every draw of the bootstrap, so that what makes a draw easy
    for both takes nothing from the comparison; intervals of each alone may overlap all the same.

    Args:
        embeddings: [n, d]; photos with NaN here or in ``reference`` are left out.
        reference: [n, e], of the net that is compared with.
        identities: [n] names.
        seed: of the bootstrap over people.
        draws: of it.

    Returns:
        rows ``metric, value, low, high, n``: differences in the measures ``GAINS``, named
        ``<measure>_gain``; none if the data cannot support them.
    """
    there = ~(np.isnan(embeddings).any(axis=1) | np.isnan(reference).any(axis=1))
    both, identities = np.concatenate([embeddings, reference], axis=1)[there], identities[there]
    width = embeddings.shape[1]

    def difference(pair, identities, copies):
        nobody = np.zeros(len(pair), dtype=bool)
        mine, other = (
            np.array(_each(part, identities, copies, nobody, GAINS, seed, 0))
            for part in (pair[:, :width], pair[:, width:])
        )
        return mine - other

    once = np.zeros(len(identities), dtype=np.int64)
    try:
        value = difference(both, identities, once)
        low, high = statistics.person_bootstrap(
            difference, both, identities, seed=seed, draws=draws
        )
    except NotSupportedError:
        return pd.DataFrame(columns=["metric", "value", "low", "high", "n"])
    names = [f"{name}_gain" for name in GAINS]
    columns = {"metric": names, "value": value, "low": low, "high": high}
    return pd.DataFrame(columns).assign(n=len(identities))


def curves(embeddings: np.ndarray, identities: np.ndarray, gallery: np.ndarray) -> pd.DataFrame:
    """ROC, FNIR against FPIR, and CMC of one group.

    Returns:
        rows ``curve, x, y, supported``: the least x at which ten errors are to be expected.
    """
    tables = []
    try:
        roc = verification.roc(embeddings, identities)
        least = MIN_EXPECTED_ERRORS / roc.impostor_pairs
        tables.append(_curve("roc", roc.far, roc.tar, least))
        found = identification.open_set(embeddings, identities, gallery)
        _need_mated(found.mated_probes)
        least = MIN_EXPECTED_ERRORS / found.non_mated_probes
        tables.append(_curve("open_set", found.fpir, found.fnir, least))
        closed = np.isin(identities, np.unique(identities[gallery]))
        cmc = identification.cumulative_match(
            embeddings[closed], identities[closed], gallery[closed]
        )
        tables.append(_curve("cmc", np.arange(1, len(cmc) + 1), cmc, np.nan))
    except NotSupportedError:
        if not tables:
            return pd.DataFrame(columns=["curve", "x", "y", "supported"])
    return pd.concat(tables, ignore_index=True)


def _curve(name: str, x: np.ndarray, y: np.ndarray, supported: float) -> pd.DataFrame:
    """Thinned to what a page shows: points evenly spread along the logarithm of x, and the ends."""
    floor = x[x > 0].min() if (x > 0).any() else 1.0
    along = np.log(np.maximum(x, floor))
    wanted = np.linspace(along[0], along[-1], _CURVE_POINTS)
    at = np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))
    return pd.DataFrame({"curve": name, "x": x[at], "y": y[at], "supported": supported})


def similarities(embeddings: np.ndarray, identities: np.ndarray) -> pd.DataFrame:
    """Histogram of the cosines of genuine (``intra``) and impostor (``inter``) pairs.

    Returns:
        rows ``pairs, low, high, share``; shares of a kind of pairs sum to 1.
    """
    tables = []
    kinds = zip(("intra", "inter"), pair_similarities(embeddings, identities), strict=True)
    for name, values in kinds:
        counts, _ = np.histogram(values, _BINS)
        tables.append(
            pd.DataFrame(
                {
                    "pairs": name,
                    "low": _BINS[:-1],
                    "high": _BINS[1:],
                    "share": counts / max(1, len(values)),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


# Whole photos: found, and known or unknown


def open_set_detections(group: Group, found: list[dict], gallery: np.ndarray) -> pd.DataFrame:
    """What :func:`thesislib.embedding_metrics.joint_open_set` needs, from a net's detections.

    People are enrolled with the embedding of the detection that lies on their annotated face;
    probes are the group's other photos, as the net sees them.

    Args:
        group: photos of one face each.
        found: of :func:`thesislib.inference.detect`, one a photo.
        gallery: bool [n], which photos are enrolled.

    Returns:
        rows ``photo, score, predicted_identity, iou, identity, person``; ``identity`` is empty for
        people who are not enrolled; ``person`` is whose photo it is.
    """
    truth = group.rows[["x1", "y1", "x2", "y2"]].to_numpy(float)
    names = group.identities
    templates, owners = [], []
    for at in np.flatnonzero(gallery):
        if len(found[at]["boxes"]):
            overlap = box_iou(found[at]["boxes"], truth[at : at + 1])[:, 0]
            if overlap.max() >= identification.MIN_IOU:
                templates.append(found[at]["embeddings"][overlap.argmax()])
                owners.append(names[at])
    if not templates:
        raise NotSupportedError("gallery: the net finds no face to enrol")
    templates, owners = np.stack(templates), np.array(owners, object)
    known = set(owners) | set(names[gallery])
    rows = []
    for at in np.flatnonzero(~gallery):
        boxes = found[at]["boxes"]
        if not len(boxes):
            continue
        similarity = found[at]["embeddings"] @ templates.T
        best = similarity.argmax(axis=1)
        _, overlap = matching.match_greedy(boxes, found[at]["scores"], truth[at : at + 1])
        for one, person in enumerate(owners[best]):
            iou = float(overlap[one])
            is_known = names[at] in known and iou >= identification.MIN_IOU
            rows.append(
                (
                    group.rows["photo"].iloc[at],
                    float(similarity[one, best[one]]),
                    person,
                    iou,
                    names[at] if is_known else "",
                    names[at],
                )
            )
    columns = ["photo", "score", "predicted_identity", "iou", "identity", "person"]
    return pd.DataFrame(rows, columns=columns)


def joint_open_set(
    group: Group, found: list[dict], gallery: np.ndarray, seed: int, draws: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """TPIR against FPIPI in whole photos.

    Args:
        group, found, gallery: as for :func:`open_set_detections`.
        seed: of the bootstrap over people.
        draws: of it.

    Returns:
        rows ``metric, value, low, high, n, achieved, trials`` (none if the rate is not supported)
        and rows of the curve.

    Raises:
        NotSupportedError: fewer than ten probes of people enrolled.
    """
    detections = open_set_detections(group, found, gallery)
    probes = group.rows.assign(known=np.isin(group.identities, group.identities[gallery]))[~gallery]
    mated = int(probes["known"].sum())
    _need_mated(mated)
    curve = identification.joint_open_set(detections, mated, len(probes))
    drawn_curve = _curve(
        "joint_open_set", curve.fpipi, curve.tpir, MIN_EXPECTED_ERRORS / len(probes)
    )
    try:
        point = identification.tpir_at_fpipi(curve, 0.1)
    except NotSupportedError:
        return pd.DataFrame(columns=["metric", "value", "low", "high", "n"]), drawn_curve
    people = probes["identity"].unique()
    by_person = dict(list(detections.groupby("person")))
    size = probes.groupby("identity")["known"].agg(["sum", "size"])
    values = []
    rng = seeds.generator(seed, "joint open set")
    for _ in range(draws):
        chosen = rng.choice(people, len(people))
        parts = [
            by_person[person].assign(photo=f"{copy} " + by_person[person]["photo"])
            for copy, person in enumerate(chosen)
            if person in by_person
        ]
        known, photos = size.loc[chosen].sum()
        if known and parts:
            drawn = identification.joint_open_set(pd.concat(parts), int(known), int(photos))
            at = identification.tpir_at_fpipi(drawn, 0.1, min_expected_errors=0)
            values.append((at.tpir, at.taken_for_another))
    value = np.array([point.tpir, point.taken_for_another])
    low = high = np.full(2, np.nan)
    if values:  # moved as in person_bootstrap, and for the same reason
        ends = np.quantile(values, [0.025, 0.975], axis=0) + value - np.mean(values, axis=0)
        low, high = np.clip(ends, 0, 1)
    names = ["tpir_at_fpipi_1e1", "taken_for_another_at_fpipi_1e1"]
    columns = {"metric": names, "value": value, "low": low, "high": high}
    rates = {"achieved": point.fpipi, "trials": len(probes)}
    return pd.DataFrame(columns).assign(n=len(probes), **rates), drawn_curve


# Nuisance factors


def _light_directions(rows: pd.DataFrame) -> np.ndarray:
    azimuth, elevation = (
        np.radians(rows[f"{FACTOR}light_{name}"].to_numpy(float))
        for name in ("azimuth", "elevation")
    )
    return np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ],
        axis=1,
    )


def factor_differences(rows: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How much two photos differ in each factor that is known, and the bins it is shown in.

    Args:
        rows: annotation rows [n].

    Returns:
        by factor: differences [n, n] (``yaw`` and ``light`` in degrees; ``session`` 0 for one
        sitting, 1 for two) and the edges of the bins.
    """
    found = {}
    if f"{FACTOR}yaw" in rows:
        yaw = rows[f"{FACTOR}yaw"].to_numpy(float)
        found["yaw"] = (np.abs(yaw[:, None] - yaw), _YAW_EDGES)
    if f"{FACTOR}light_azimuth" in rows:
        light = _light_directions(rows)
        angle = np.degrees(np.arccos(np.clip(light @ light.T, -1, 1)))
        found["light"] = (angle, _LIGHT_EDGES)
    session = rows["session"].fillna("").astype(str).to_numpy()
    if (session != "").all():
        found["session"] = ((session[:, None] != session).astype(float), np.array([0.0, 1, 2]))
    return found


def factors(embeddings: np.ndarray, rows: pd.DataFrame, seed: int, draws: int) -> pd.DataFrame:
    """Mean cosine of two photos against how much they differ in one factor.

    Args:
        embeddings: [n, d].
        rows: their annotation rows.
        seed: of the bootstrap over people.
        draws: of it.

    Returns:
        rows ``factor, pairs, low, high, mean, interval_low, interval_high, n``; the interval of
        inter-person pairs is not drawn, as they are very many.
    """
    unit = normalise(embeddings)
    similarity = unit @ unit.T
    person = np.unique(rows["identity"].to_numpy(str), return_inverse=True)[1]
    pair = np.triu(np.ones_like(similarity, dtype=bool), 1)
    same = person[:, None] == person
    table = []
    for factor, (difference, edges) in factor_differences(rows).items():
        for low, high in itertools.pairwise(edges):
            within = pair & (difference >= low) & (difference < high)
            # What two people call their sittings does not make them one.
            others = pair & ~same if factor == "session" else within & ~same
            for kind, chosen in (("intra", within & same), ("inter", others)):
                if not chosen.any():
                    continue
                values = similarity[chosen]
                interval = (np.nan, np.nan)
                if kind == "intra":
                    owner = np.broadcast_to(person[:, None], chosen.shape)[chosen]
                    interval = statistics.bootstrap_interval(
                        values, groups=owner.astype(str), seed=seed, draws=max(1, draws)
                    )
                table.append((factor, kind, low, high, values.mean(), *interval, len(values)))
    columns = ["factor", "pairs", "low", "high", "mean", "interval_low", "interval_high", "n"]
    return pd.DataFrame(table, columns=columns)


# Maps


def maps(
    embeddings: np.ndarray, rows: pd.DataFrame, map_seeds: Iterable[int] = _MAP_SEEDS
) -> pd.DataFrame:
    """UMAP and t-SNE maps of embeddings: illustrations, each with how faithful it is.

    Args:
        embeddings: [n, d].
        rows: [n] annotation rows with a column ``people``.
        map_seeds: each gives a map of either method.

    Returns:
        rows ``method, map_seed, photo, identity, session, people, x, y, trustworthiness,
        continuity`` and the factors' columns.

    UMAP: McInnes et al. 2018; t-SNE: van der Maaten & Hinton 2008, as openTSNE computes it (Poličar
    et al. 2019), which gives the same map with any number of threads.
    """
    # Seconds to import, and the measures need neither.
    from openTSNE import TSNE
    from umap import UMAP

    unit = normalise(embeddings)
    n = len(unit)
    neighbours = min(_NEIGHBOURS, (n - 1) // 2)
    known = ["photo", "identity", "session", "people"]
    known += [name for name in rows.columns if name.startswith(FACTOR)]
    tables = []
    threads = torch.get_num_threads()
    for seed in map_seeds:
        umap = UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
        tsne = TSNE(perplexity=min(30, (n - 1) / 3), metric="cosine", random_state=seed, n_jobs=1)
        for method, draw in (("umap", umap.fit_transform), ("tsne", tsne.fit)):
            at = np.asarray(draw(unit), dtype=np.float64)
            trust, continuity = projection.trustworthiness_and_continuity(unit, at, neighbours)
            tables.append(
                rows[known].assign(
                    method=method,
                    map_seed=seed,
                    x=at[:, 0],
                    y=at[:, 1],
                    trustworthiness=trust,
                    continuity=continuity,
                )
            )
    # UMAP's compiled code raises the threads of every library that shares its OpenMP, PyTorch's
    # among them; a training after it would round otherwise, and on a busy machine crawl.
    torch.set_num_threads(threads)
    return pd.concat(tables, ignore_index=True)


# The experiment


@dataclasses.dataclass(frozen=True)
class _Part:
    """One group of people as one net sees it."""

    people: str
    group: Group
    embeddings: np.ndarray
    joint: bool = False  # whether whole photos are asked too
    drawn: bool = True  # curves and similarities too, not numbers alone


def _one_a_session(group: Group) -> Group:
    """The first photo of every sitting: pairs of one person are always of two sittings."""
    first = group.rows.drop_duplicates(["identity", "session"])
    return Group.of(subset(group.dataset, set(first["photo"])))


def _as_few(experiment: EmbeddingExperiment, group: Group) -> Group:
    """As many photos a person as were kept of the people seen, drawn alike.

    Retrieval asks whether *the* other photo of a person is found, or one of eleven, most of them
    of one clip: groups with more photos a person look better.
    """
    split = make_split(group.dataset, "photo", experiment.seed)
    return Group.of(subset(group.dataset, set(split["photo"][split["part"] == "test"])))


def _parts(experiment: EmbeddingExperiment, others: Sequence[Path]) -> list[_Part]:
    """Groups of the arm, and, for the main arm, its controls."""
    seen, unseen = experiment.group("seen"), experiment.group("unseen")
    parts = [
        _Part("seen", seen, embeddings(experiment, seen), joint=True),
        _Part("unseen", unseen, embeddings(experiment, unseen), joint=True),
    ]
    few = _as_few(experiment, unseen)
    parts.append(_Part("unseen_matched", few, embeddings(experiment, few)))
    apart = _one_a_session(unseen) if (unseen.sessions != "").all() else None
    if apart is not None:
        parts.append(_Part("unseen_apart", apart, embeddings(experiment, apart)))
    if experiment.arm == MAIN_ARM:
        for folder in others:
            other = Group.of(read_dataset(folder))
            parts.append(_Part(Path(folder).name, other, embeddings(experiment, other)))
        untrained = embeddings(experiment, unseen, trained=False)
        two_stage = embeddings(experiment, unseen, system="two_stage_face")
        names = statistics.shuffled(unseen.identities, seed=experiment.seed)
        mixed = dataclasses.replace(unseen, rows=unseen.rows.assign(identity=names))
        parts += [
            _Part("untrained", unseen, untrained),
            _Part("two_stage", unseen, two_stage),
            _Part("shuffled", mixed, parts[1].embeddings),
        ]
        if apart is not None:
            blank = embeddings(experiment, apart, trained=False)
            cut_out = embeddings(experiment, apart, system="two_stage_face")
            parts += [
                _Part("untrained_apart", apart, blank, drawn=False),
                _Part("two_stage_apart", apart, cut_out, drawn=False),
            ]
    return parts


def _measure_part(
    experiment: EmbeddingExperiment, part: _Part, draws: int, reference: np.ndarray | None = None
) -> dict:
    """Tables of one group by the name of their file.

    Args:
        experiment: the arm.
        part: the group.
        draws: of the bootstrap.
        reference: the main arm's embeddings of the group, in its ``embeddings``; None if this is
            the main arm or the group is not compared.
    """
    there = ~np.isnan(part.embeddings).any(axis=1)
    group, vectors = part.group, part.embeddings[there]
    rows = group.rows[there]
    gallery = enrolled(group.identities, group.sessions, experiment.seed)
    found = {
        RESULTS_TABLE: [measure(part.embeddings, group.identities, gallery, experiment.seed, draws)]
    }
    if reference is not None:
        found[RESULTS_TABLE].append(
            gains(part.embeddings, reference, group.identities, experiment.seed, draws)
        )
    if experiment.arm == MAIN_ARM and part.drawn:  # of the others only numbers are shown
        found[CURVES_TABLE] = [curves(vectors, group.identities[there], gallery[there])]
        found[SIMILARITIES_TABLE] = [similarities(vectors, group.identities[there])]
        if part.people in ("seen", "unseen"):
            found[FACTORS_TABLE] = [factors(vectors, rows, experiment.seed, draws)]
    if part.joint:
        net, _ = experiment.trained("joint")
        answers = predict.detect(
            net, group.dataset, group.photos, experiment.profile.input_px, experiment.progress
        )
        try:
            numbers, curve = joint_open_set(group, answers, gallery, experiment.seed, draws)
            found[RESULTS_TABLE].append(numbers)
            if CURVES_TABLE in found:
                found[CURVES_TABLE].append(curve)
        except NotSupportedError:
            pass
    return {
        file: pd.concat([table for table in tables if len(table)]).assign(people=part.people)
        for file, tables in found.items()
        if any(len(table) for table in tables)
    }


def _reference(experiment: EmbeddingExperiment, part: _Part) -> np.ndarray | None:
    """The main arm's embeddings of people never seen, whom arms are compared on."""
    if experiment.arm == MAIN_ARM or part.people not in ("unseen", "unseen_apart"):
        return None
    usual = get_profile(experiment.profile.name)
    plain = {name: getattr(usual, name) for name in ARMS[experiment.arm]}
    profile = dataclasses.replace(experiment.profile, **plain)
    main = dataclasses.replace(experiment, arm=MAIN_ARM, profile=profile)
    return embeddings(main, part.group)


def _map_part(experiment: EmbeddingExperiment, parts: list[_Part]) -> dict:
    """Maps of people seen and unseen, as many of each, and their faithfulness as results."""
    rows, vectors = [], []
    for part in parts[:2]:
        there = np.flatnonzero(~np.isnan(part.embeddings).any(axis=1))
        people = np.unique(part.group.identities[there].astype(str))
        order = seeds.generator(experiment.seed, "map").permutation(people)
        rank = {person: at for at, person in enumerate(order)}
        there = np.array(sorted(there, key=lambda at: (rank[part.group.identities[at]], at)))
        there = there[: _MAP_PHOTOS // 2]
        rows.append(part.group.rows.iloc[there].assign(people=part.people))
        vectors.append(part.embeddings[there])
    table = maps(np.concatenate(vectors), pd.concat(rows, ignore_index=True))
    numbers = [
        {
            "metric": f"{measure}_{method}",
            "value": group[measure].mean(),
            "low": group[measure].min(),
            "high": group[measure].max(),
            "n": len(table) // table[["method", "map_seed"]].drop_duplicates().shape[0],
            "people": "seen and unseen",
        }
        for method, group in table.groupby("method")
        for measure in ("trustworthiness", "continuity")
    ]
    return {MAP_TABLE: table, RESULTS_TABLE: pd.DataFrame(numbers)}


def run_arm(
    experiment: EmbeddingExperiment, others: Sequence[Path] = (), draws: int = DRAWS
) -> dict[str, pd.DataFrame]:
    """Train an arm if need be, measure it, and merge its rows into ``figures/tables``.

    Asked again with nothing changed, what was measured is read.

    Args:
        experiment: the arm; its dataset must be there.
        others: further datasets whose people were never seen; of the main arm alone.
        draws: of the bootstrap over people.

    Returns:
        the arm's tables, by the name of their file.

    Raises:
        DatasetError: somebody of ``others`` is in the experiment's dataset too.
    """
    hashes = []
    for folder in others:
        other = read_dataset(folder)
        known = set(other.identities) & set(experiment.dataset.identities)
        if known:
            raise DatasetError(
                f"{folder}: {sorted(known)[0]!r} is in {experiment.data} too; these people must "
                "be new"
            )
        hashes.append(other.content_hash)
    words = [experiment.run_folder("joint").name, *map(str, hashes), str(draws), *_CODE]
    if experiment.arm == MAIN_ARM:
        words.append(experiment.run_folder("two_stage_face").name)
    kept = experiment.run_folder("joint") / f"measured-{storage.text_hash(' '.join(words))[:8]}"
    done = kept / "done"
    if not done.exists():
        parts = _parts(experiment, others)
        found = [
            _measure_part(experiment, part, draws, _reference(experiment, part)) for part in parts
        ]
        if experiment.arm == MAIN_ARM:
            found.append(_map_part(experiment, parts))
        for file in sorted({name for tables in found for name in tables}):
            table = pd.concat([tables[file] for tables in found if file in tables])
            storage.write_text(kept / file, table.to_csv(index=False, float_format="%.6g"))
        storage.write_text(done, "")
    columns = experiment.columns()
    if experiment.arm == MAIN_ARM and others:
        columns["command"] += f" --others {' '.join(Path(folder).name for folder in others)}"
    tables = {
        file.name: pd.read_csv(file, keep_default_na=True, dtype={"session": str}).assign(**columns)
        for file in sorted(kept.glob("*.csv"))
    }
    if not experiment.holdout:  # nothing is published from a tuning run
        for file, table in tables.items():
            merge_table(paths.TABLES / file, table, KEYS)
    return tables


def arms_of(profile: Profile) -> list[str]:
    """Arms that a profile has time for."""
    return (
        list(ARMS)
        if profile.name in ("laptop", "thesis")
        else ["linear", MAIN_ARM, "arcface_16", "roi"]
    )


def prepare(profile: Profile, progress: bool = True) -> Path:
    """Make the synthetic people of Experiment 3 unless they are there; returns their folder."""
    folder = paths.synthetic(profile.many_people)
    sets.make(folder, SETS[profile.many_people], progress=progress)
    return folder


def from_environment(arm: str = MAIN_ARM) -> EmbeddingExperiment:
    """The arm that ``make figures`` asks for, see :func:`thesislib.experiment1.from_environment`.

    Learned from DATA if it has ``MIN_PEOPLE``, so that some can be kept unseen; else from
    synthetic people, which are made if need be.
    """
    asked = baseline_comparison.from_environment()
    enough = not asked.is_default and len(asked.dataset.identities) >= MIN_PEOPLE
    data = asked.data if enough else prepare(asked.profile, asked.progress)
    return EmbeddingExperiment(
        data, profile=asked.profile, seed=asked.seed, progress=asked.progress, arm=arm
    )


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.experiment3", description=__doc__)
    parser.add_argument("--data", type=Path, help="dataset folder; else synthetic people")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more people unseen")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--epochs", type=int, help="in place of the profile's")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--holdout", action="store_true", help="tune on part of the training part")
    arguments = parser.parse_args(argv)
    progress = "TQDM_DISABLE" not in os.environ
    profile = get_profile(arguments.profile)
    if arguments.epochs:
        profile = dataclasses.replace(profile, epochs=arguments.epochs)
    data = arguments.data or prepare(profile, progress)
    for arm in arguments.arms or arms_of(profile):
        experiment = EmbeddingExperiment(
            data,
            profile=profile,
            seed=arguments.seed,
            holdout=arguments.holdout,
            progress=progress,
            arm=arm,
        )
        table = run_arm(experiment, arguments.others)[RESULTS_TABLE]
        shown = table[["people", "arm", "metric", "value", "low", "high", "n"]]
        print(shown.round(4).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
