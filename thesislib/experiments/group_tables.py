"""What an arm gives of a group of people: embeddings, measures and maps, each computed once.

Under ``torchrun`` the processes embed and search photos together; the main one alone measures.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import cache, seeds, storage
from thesislib.baselines.dlib_pipeline import DlibPipeline
from thesislib.baselines.references import Described, hog, thumbnail
from thesislib.engine.checkpoint import best_device
from thesislib.engine.embed import Embedder, embed
from thesislib.engine.evaluate import SCORE_THRESHOLD
from thesislib.engine.predict import predict
from thesislib.engine.processes import this_process
from thesislib.environment import commit
from thesislib.experiments.arms import Arm
from thesislib.experiments.config import shows_progress
from thesislib.experiments.embedding_measures import (
    Faces,
    curves,
    enrolled,
    measure,
    similarities,
)
from thesislib.experiments.factors import factors, landmarks_from, with_factors
from thesislib.experiments.groups import Group, one_per_scene
from thesislib.experiments.maps import MAP_SEEDS, NEIGHBOURS, faithfulness, maps
from thesislib.experiments.open_set import open_set_in_photos
from thesislib.experiments.systems import net_folder, new_joint, trained_joint, two_stage
from thesislib.faces import Face
from thesislib.metrics.checks import NotSupportedError
from thesislib.tables import read_table

RESULTS_TABLE = "experiment3.csv"
CURVES_TABLE = "experiment3_curves.csv"
SIMILARITIES_TABLE = "experiment3_similarities.csv"
FACTORS_TABLE = "experiment3_factors.csv"
MAP_TABLE = "experiment3_map.csv"
TRAINED = ("joint", "untrained", "two_stage_face", "two_stage_aligned")
# What learns nothing here, by what it sees of a face.
REFERENCES: dict[str, Callable[[], Embedder]] = {
    "pixel_nn_photo": lambda: Described(thumbnail, whole_photo=True),
    "pixel_nn_face": lambda: Described(thumbnail),
    "hog_nearest": lambda: Described(hog),
    "dlib_aligned_nearest": lambda: DlibPipeline(device=best_device()),
}
MAP_FACES = 600  # half of them of people seen
_DONE = "done"


# --- embeddings -------------------------------------------------------------------------------


def embeddings_of(arm: Arm, group: Group, system: str = "joint") -> NDArray[np.float32]:
    """Embeddings of a group's faces at their annotated boxes; asked again they are read.

    Args:
        arm: what was learned.
        group: faces.
        system: ``joint``, trained if need be; ``untrained``, the same net before;
            ``two_stage_face`` or ``two_stage_aligned``, the last layer but one of the pipeline's
            classifier; or a name in :data:`REFERENCES`.

    Returns:
        float32 [n, E], not normalised; NaN where the net's grid has no place for a face.

    Raises:
        ValueError: unknown system.
    """
    if system not in (*TRAINED, *REFERENCES):
        known = ", ".join((*TRAINED, *REFERENCES))
        raise ValueError(f"system {system!r} is unknown; choose one of {known}")
    data = group.dataset
    folder = cache.folder(
        "embeddings",
        f"{data.name}-{system}",
        net=_net(arm, system),
        trained=system != "untrained",
        data=data.content_hash,
    )
    kept = folder / "embeddings.npy"
    if not _is_there(kept):
        found = embed(_embedder(arm, system), data, shows_progress())
        if this_process().is_main_process:
            with storage.atomic_write(kept) as aside, open(aside, "wb") as file:
                np.save(file, found, allow_pickle=False)
        this_process().wait_for_everyone()
    return np.load(kept, allow_pickle=False)[group.place]


def _embedder(arm: Arm, system: str) -> Embedder:
    if system in REFERENCES:
        return REFERENCES[system]()
    if system.startswith("two_stage_"):
        return two_stage(arm.config, system.removeprefix("two_stage_"), arm.train)
    if system == "untrained":
        return new_joint(arm.config, arm.train)
    return trained_joint(arm.config, arm.train)


def _net(arm: Arm, system: str = "joint") -> str:
    """What tells a training from all others; an untrained net has the joint net's."""
    if system in REFERENCES:
        return system
    system = "joint" if system == "untrained" else system
    return net_folder(arm.config, system, arm.train).name


def _is_there(path: Path) -> bool:
    """Whether a file is there, asked by all processes before one of them may write it."""
    there = path.exists()
    this_process().wait_for_everyone()
    return there


# --- measures ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Part:
    """One group of people as one system sees it.

    Attributes:
        people: what tables call it.
        group: the faces.
        system: see :func:`embeddings_of`.
        embeddings: float [n, E].
        searched: whether whole photos are searched too, and what makes faces unlike is looked at.
        drawn: whether curves and similarities are kept, not numbers alone.
    """

    people: str
    group: Group
    system: str
    embeddings: NDArray
    searched: bool = False
    drawn: bool = True

    @property
    def embedded(self) -> NDArray[np.bool_]:
        """Which faces have an embedding, bool [n]."""
        return ~np.isnan(self.embeddings).any(axis=1)

    def apart(self, seed: int) -> Faces:
        """What is measured: one face of every scene, so that no two share shirt or light.

        Args:
            seed: of galleries and folds.
        """
        return self.faces(one_per_scene(self.group, self.embedded), seed)

    def faces(self, chosen: NDArray[np.bool_], seed: int) -> Faces:
        """Some of the faces, bool [n], see :meth:`apart`."""
        group = self.group.select(chosen)
        gallery = enrolled(group.identities, group.sessions, seed)
        return Faces(self.embeddings[chosen], group.identities, gallery, seed)


def part_of(arm: Arm, people: str, group: Group, system: str = "joint", **more: bool) -> Part:
    """A group of people as a system sees it, see :class:`Part`."""
    return Part(people, group, system, embeddings_of(arm, group, system), **more)


def measured(arm: Arm, part: Part, draws: int) -> dict[str, pd.DataFrame]:
    """Tables of one group; asked again they are read.

    Args:
        arm: whose systems these are.
        part: the group.
        draws: of the bootstraps over people, at least 1.

    Returns:
        tables by the name of their file, with ``people`` and the ``commit`` that measured them.
    """
    seed = arm.config.seed
    looks_at_factors = part.searched and part.drawn
    folder = cache.folder(
        "embedding-measures",
        f"{part.group.dataset.name}-{part.people}",
        net=_net(arm, part.system),
        system=part.system,
        people=part.people,
        data=part.group.dataset.content_hash,
        searched=part.searched,
        drawn=part.drawn,
        seed=seed,
        draws=draws,
        landmarks=landmarks_from() if looks_at_factors else None,
    )
    if not _is_there(folder / _DONE):
        found = annotated = None
        if part.searched:
            data = part.group.dataset
            files = [data.folder / name for name in data.photos]
            net = trained_joint(arm.config, arm.train)
            found = predict(net, files, SCORE_THRESHOLD, progress=shows_progress())
            if looks_at_factors:
                annotated = with_factors(data.folder, part.group.faces)
        if this_process().is_main_process:
            tables = measure_part(part, seed, draws, found, annotated)
            _keep(folder, {file: rows.assign(people=part.people) for file, rows in tables.items()})
    return _kept(folder)


def measure_part(
    part: Part,
    seed: int,
    draws: int,
    found: list[list[Face]] | None = None,
    annotated: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """Measure one group.

    Args:
        part: the group.
        seed: of galleries, folds and bootstraps.
        draws: of the bootstraps.
        found: faces found in the group's photos; None where whole photos are not searched.
        annotated: the group's faces with the factors that are known; None where they are not
            looked at.

    Returns:
        tables by the name of their file; those without rows are left out.
    """
    faces = part.apart(seed)
    tables: dict[str, list[pd.DataFrame]] = {RESULTS_TABLE: [measure(faces, draws)]}
    if part.drawn and faces.are_enough:
        tables[CURVES_TABLE] = [curves(faces)]
        tables[SIMILARITIES_TABLE] = [similarities(faces)]
    there = part.embedded
    if annotated is not None and there.any():
        tables[FACTORS_TABLE] = [factors(part.embeddings[there], annotated[there], seed, draws)]
    if found is not None:
        group = part.group
        gallery = enrolled(group.identities, group.sessions, seed)
        try:
            numbers, curve = open_set_in_photos(group, found, gallery, seed, draws)
            tables[RESULTS_TABLE].append(numbers)
            if part.drawn:
                tables.setdefault(CURVES_TABLE, []).append(curve)
        except NotSupportedError:
            pass  # too few people or photos: there is no such row
    filled = {file: [table for table in some if len(table)] for file, some in tables.items()}
    return {file: pd.concat(some, ignore_index=True) for file, some in filled.items() if some}


# --- maps -------------------------------------------------------------------------------------


def mapped(arm: Arm, seen: Part, unseen: Part) -> dict[str, pd.DataFrame]:
    """Maps of people seen and unseen, as many faces of each; asked again they are read.

    Returns:
        the map's points and, as results, its faithfulness, by the name of their file; none where
        there are no more faces than a point has neighbours.
    """
    folder = cache.folder(
        "embedding-maps",
        arm.config.data.name,
        net=_net(arm),
        data=[part.group.dataset.content_hash for part in (seen, unseen)],
        seed=arm.config.seed,
        map_seeds=MAP_SEEDS,
        faces=MAP_FACES,
    )
    if not _is_there(folder / _DONE) and this_process().is_main_process:
        faces, vectors = [], []
        for part in (seen, unseen):
            chosen = _whole_people(part, MAP_FACES // 2, arm.config.seed)
            faces.append(part.group.faces.iloc[chosen].assign(people=part.people))
            vectors.append(part.embeddings[chosen])
        tables = {}
        if sum(map(len, vectors)) > NEIGHBOURS:
            points = maps(np.concatenate(vectors), pd.concat(faces, ignore_index=True), MAP_SEEDS)
            tables = {MAP_TABLE: points, RESULTS_TABLE: faithfulness(points)}
        _keep(folder, tables)
    return _kept(folder)


def _whole_people(part: Part, most: int, seed: int) -> NDArray[np.int64]:
    """Places of the faces shown: all of one person, then of another, in an order drawn."""
    embedded = np.flatnonzero(part.embedded)
    names = part.group.identities[embedded].astype(str)
    order = seeds.generator(seed, "map").permutation(np.unique(names))
    rank = {person: at for at, person in enumerate(order)}
    by_person = np.argsort([rank[name] for name in names], kind="stable")
    return embedded[by_person][:most]


# --- what was computed, on disk ---------------------------------------------------------------


def _keep(folder: Path, tables: dict[str, Any]) -> None:
    """Write tables, with the commit that computed them."""
    for file, table in tables.items():
        text = table.assign(commit=commit()).to_csv(index=False, lineterminator="\n")
        storage.write_text(folder / file, text)
    storage.write_text(folder / _DONE, "")


def _kept(folder: Path) -> dict[str, pd.DataFrame]:
    """What :func:`_keep` wrote, once the main process has."""
    this_process().wait_for_everyone()
    return {file.name: read_table(file) for file in sorted(folder.glob("*.csv"))}
