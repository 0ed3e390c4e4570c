"""What a system gives of a group of people: embeddings, measures and maps, each computed once.

Under ``torchrun`` the processes embed and search photos together; the main one alone measures.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import cache, seeds, storage
from thesislib.engine.embed import Embedder, embed
from thesislib.engine.evaluate import SCORE_THRESHOLD
from thesislib.engine.predict import predict
from thesislib.engine.processes import this_process
from thesislib.environment import commit
from thesislib.experiments.config import Config, shows_progress
from thesislib.experiments.embedding_measures import curves, enrolled, gains, measure, similarities
from thesislib.experiments.factors import factors
from thesislib.experiments.groups import Group, people
from thesislib.experiments.maps import MAP_SEEDS, faithfulness, maps
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
SYSTEMS = ("joint", "untrained", "two_stage_face", "two_stage_aligned")
MAP_FACES = 600  # half of them of people seen
_DONE = "done"


# --- embeddings -------------------------------------------------------------------------------


def embeddings_of(config: Config, group: Group, system: str = "joint") -> NDArray[np.float32]:
    """Embeddings of a group's faces at their annotated boxes; asked again they are read.

    Args:
        config: whose training part the system has learned, see
            :func:`thesislib.experiments.groups.people`.
        group: faces.
        system: ``joint``, trained if need be; ``untrained``, the same net before; or
            ``two_stage_face`` or ``two_stage_aligned``, the last layer but one of the pipeline's
            classifier.

    Returns:
        float32 [n, E], not normalised; NaN where the net's grid has no place for a face.

    Raises:
        ValueError: unknown system.
    """
    if system not in SYSTEMS:
        raise ValueError(f"system {system!r} is unknown; choose one of {', '.join(SYSTEMS)}")
    data = group.dataset
    folder = cache.folder(
        "embeddings",
        f"{data.name}-{system}",
        net=_net(config, system),
        trained=system != "untrained",
        data=data.content_hash,
    )
    kept = folder / "embeddings.npy"
    if not _is_there(kept):
        found = embed(_embedder(config, system), data, shows_progress())
        if this_process().is_main_process:
            with storage.atomic_write(kept) as aside, open(aside, "wb") as file:
                np.save(file, found, allow_pickle=False)
        this_process().wait_for_everyone()
    return np.load(kept, allow_pickle=False)[group.place]


def _embedder(config: Config, system: str) -> Embedder:
    train = people(config).train
    if system.startswith("two_stage_"):
        return two_stage(config, system.removeprefix("two_stage_"), train)
    return new_joint(config, train) if system == "untrained" else trained_joint(config, train)


def _net(config: Config, system: str = "joint") -> str:
    """Name of a training, which tells it from all others; that of an untrained net, too, is the
    joint net's."""
    system = "joint" if system == "untrained" else system
    return net_folder(config, system, people(config).train).name


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
        in_photos: whether whole photos are searched too.
        drawn: whether curves and similarities are kept, not numbers alone.
    """

    people: str
    group: Group
    system: str
    embeddings: NDArray
    in_photos: bool = False
    drawn: bool = True

    def select(self, chosen: NDArray[np.bool_], people: str, drawn: bool = True) -> "Part":
        """Some of the faces, bool [n], under another name."""
        group, embeddings = self.group.select(chosen), self.embeddings[chosen]
        return Part(people, group, self.system, embeddings, drawn=drawn and self.drawn)


def part_of(
    config: Config,
    people: str,
    group: Group,
    system: str = "joint",
    in_photos: bool = False,
    drawn: bool = True,
) -> Part:
    """A group of people as a system sees it, see :class:`Part`."""
    return Part(people, group, system, embeddings_of(config, group, system), in_photos, drawn)


def measured(
    config: Config, part: Part, draws: int, reference: Config | None = None
) -> dict[str, pd.DataFrame]:
    """Tables of one group; asked again they are read.

    Args:
        config: whose systems these are.
        part: the group.
        draws: of the bootstraps over people, at least 1.
        reference: of the joint net whose embeddings of the group these are compared with; None
            for no comparison.

    Returns:
        tables by the name of their file, with ``people`` and the ``commit`` that measured them.
    """
    folder = cache.folder(
        "embedding-measures",
        f"{part.group.dataset.name}-{part.people}",
        net=_net(config, part.system),
        reference=_net(reference) if reference is not None else None,
        system=part.system,
        people=part.people,
        data=part.group.dataset.content_hash,
        in_photos=part.in_photos,
        drawn=part.drawn,
        seed=config.seed,
        draws=draws,
    )
    if not _is_there(folder / _DONE):
        others = embeddings_of(reference, part.group) if reference is not None else None
        found = None
        if part.in_photos:
            data = part.group.dataset
            files = [data.folder / name for name in data.photos]
            net = trained_joint(config, people(config).train)
            found = predict(net, files, SCORE_THRESHOLD, progress=shows_progress())
        if this_process().is_main_process:
            tables = measure_part(part, config.seed, draws, others, found)
            _keep(folder, {file: rows.assign(people=part.people) for file, rows in tables.items()})
    return _kept(folder)


def measure_part(
    part: Part,
    seed: int,
    draws: int,
    reference: NDArray | None = None,
    found: list[list[Face]] | None = None,
) -> dict[str, pd.DataFrame]:
    """Measure one group.

    Args:
        part: the group.
        seed: of galleries, folds and bootstraps.
        draws: of the bootstraps.
        reference: embeddings of the same faces to compare with; None for no comparison.
        found: faces found in the group's photos; None where whole photos are not searched.

    Returns:
        tables by the name of their file; those without rows are left out.
    """
    names, embedded = part.group.identities, ~np.isnan(part.embeddings).any(axis=1)
    vectors, faces = part.embeddings[embedded], part.group.faces[embedded]
    gallery = enrolled(names, part.group.sessions, seed)
    tables: dict[str, list[pd.DataFrame]] = {
        RESULTS_TABLE: [measure(part.embeddings, names, gallery, seed, draws)]
    }
    if reference is not None:
        tables[RESULTS_TABLE].append(gains(part.embeddings, reference, names, seed, draws))
    if part.drawn:
        tables[CURVES_TABLE] = [curves(vectors, names[embedded], gallery[embedded])]
        tables[SIMILARITIES_TABLE] = [similarities(vectors, names[embedded])]
    if part.drawn and part.in_photos:  # of the two whole groups, not of parts and controls
        tables[FACTORS_TABLE] = [factors(vectors, faces, seed, draws)]
    if found is not None:
        try:
            numbers, curve = open_set_in_photos(part.group, found, gallery, seed, draws)
            tables[RESULTS_TABLE].append(numbers)
            if part.drawn:
                tables[CURVES_TABLE].append(curve)
        except NotSupportedError:
            pass  # too few people or photos: there is no such row
    filled = {file: [table for table in some if len(table)] for file, some in tables.items()}
    return {file: pd.concat(some, ignore_index=True) for file, some in filled.items() if some}


# --- maps -------------------------------------------------------------------------------------


def mapped(config: Config, seen: Part, unseen: Part) -> dict[str, pd.DataFrame]:
    """Maps of people seen and unseen, as many faces of each; asked again they are read.

    Returns:
        the map's points and, as results, its faithfulness, by the name of their file.
    """
    folder = cache.folder(
        "embedding-maps",
        config.data.name,
        net=_net(config),
        data=[part.group.dataset.content_hash for part in (seen, unseen)],
        seed=config.seed,
        map_seeds=MAP_SEEDS,
        faces=MAP_FACES,
    )
    if not _is_there(folder / _DONE) and this_process().is_main_process:
        faces, vectors = [], []
        for part in (seen, unseen):
            chosen = _whole_people(part, MAP_FACES // 2, config.seed)
            faces.append(part.group.faces.iloc[chosen].assign(people=part.people))
            vectors.append(part.embeddings[chosen])
        points = maps(np.concatenate(vectors), pd.concat(faces, ignore_index=True), MAP_SEEDS)
        numbers = faithfulness(points).assign(people="seen and unseen")
        _keep(folder, {MAP_TABLE: points, RESULTS_TABLE: numbers})
    return _kept(folder)


def _whole_people(part: Part, most: int, seed: int) -> NDArray[np.int64]:
    """Places of the faces shown: all of one person, then of another, in an order drawn."""
    embedded = np.flatnonzero(~np.isnan(part.embeddings).any(axis=1))
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
