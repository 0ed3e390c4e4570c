"""Experiment 2: new people for a trained joint net, by retraining more or less of it.

A net that has learned the people of one dataset (the *source*) is given those of another (the
*target*), from a few photos per person: by class means of embeddings, without any training; by
training the classifier alone; the classifier and the embedding head; everything; and, to compare,
a new net from random weights. All trainings take the same number of optimiser steps. What the net
still knows of its old people is measured too. A net that starts from dlib's recogniser has no
random weights to compare with: those of the others are. On the command line::

    python -m thesislib experiment2 --source <folder> --target <folder> --profile laptop
"""

import contextlib
import copy
import dataclasses
import functools
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from thesislib import cache, paths, storage
from thesislib.data.schema import Dataset
from thesislib.engine.evaluate import evaluate
from thesislib.engine.found import FoundFaces, NamedBy
from thesislib.engine.processes import this_process
from thesislib.engine.transfer import (
    enrol_class_means,
    fine_tune,
    train_classifier,
    train_from_scratch,
)
from thesislib.environment import commit
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config
from thesislib.experiments.new_people import NewPeople, few_photos, new_people
from thesislib.experiments.systems import net_folder, trained_joint
from thesislib.models.joint import JointNet
from thesislib.tables import merge_table

RESULTS_TABLE = "experiment2.csv"
VARIANTS = ("class_mean", "classifier", "classifier_embedding", "all", "scratch")
# Nothing of the backbone is trained: the old people and their faces are found as before.
_SAME_FEATURES = ("class_mean", "classifier")
_SAME_FACES = (*_SAME_FEATURES, "classifier_embedding")  # at least the boxes are as before
PHOTOS_PER_PERSON = (1, 2, 4, 8)
_NEW = ("accuracy", "mean_iou", "joint_accuracy_50")  # measured on the new people
_OLD = ("joint_accuracy_50", "mean_iou", "ap50")  # and on the old ones


# --- what is compared -------------------------------------------------------------------------


def variants_of(source: Config) -> tuple[str, ...]:
    """Variants that a source's profile has time for.

    In ``quick`` those whose backbone stays, of a net from scratch and of one that starts from
    dlib's recogniser alike.
    """
    if source.profile.name == "quick":
        return ("class_mean", "classifier", "classifier_embedding")
    return tuple(one for one in VARIANTS if one != "scratch" or not source.is_started)


def usual_seeds(source: Config) -> tuple[int, ...]:
    """Seeds of the trainings, as many as the source's profile asks for."""
    return tuple(range(source.profile.trainings))


def adapted(
    net: JointNet, photos: Dataset, variant: str, source: Config, steps: int, seed: int, out: Path
) -> tuple[JointNet, float]:
    """A net that knows new people.

    Args:
        net: trained on the source; left as it is.
        photos: of the new people.
        variant: one of :data:`VARIANTS`.
        source: whose profile says how to train.
        steps: optimiser steps.
        seed: of everything random.
        out: folder in which a training of everything is kept while it lasts.

    Returns:
        the net, and the seconds that it took from photo files to it.
    """
    profile, head = source.profile, variant == "classifier_embedding"
    began = time.perf_counter()
    match variant:
        case "class_mean":
            new = enrol_class_means(net, photos)
        case "classifier" | "classifier_embedding":
            new = train_classifier(
                net, photos, profile, steps=steps, seed=seed, embedding_head=head
            )
        case "all":
            new = fine_tune(net, photos, profile, out, steps=steps, seed=seed, progress=False)
        case _:
            new = train_from_scratch(photos, profile, out, steps=steps, seed=seed, progress=False)
    return new, time.perf_counter() - began


def run(
    source: Config,
    target: Path | str,
    steps: int | None = None,
    photos_per_person: Iterable[int] = PHOTOS_PER_PERSON,
    run_seeds: Sequence[int] = (),
    variants: Iterable[str] = (),
    at_least: int = max(PHOTOS_PER_PERSON),
) -> pd.DataFrame:
    """Every variant at every number of photos and seed, merged into ``experiment2.csv``.

    Interrupted it goes on; asked again it reads what was found.

    Args:
        source: of the net that is given new people; it is trained if that was not done yet.
        target: dataset folder of the new people, or the name of one in ``data/``.
        steps: optimiser steps of each training; None for the profile's ``transfer_steps``.
        photos_per_person: numbers of photos, at most ``at_least``.
        run_seeds: of the trainings; the source's own net is the same for all; none for those
            of :func:`usual_seeds`.
        variants: names in :data:`VARIANTS`; none for those of :func:`variants_of`.
        at_least: see :func:`thesislib.experiments.new_people.new_people`.

    Returns:
        their rows of ``experiment2.csv``.

    Raises:
        DatasetError: see :func:`thesislib.experiments.new_people.new_people`.
        ValueError: unknown variant, or more photos per person than everybody has.
    """
    target, counts = configs.data_folder(target), list(photos_per_person)
    asked = list(variants)
    variants = asked or list(variants_of(source))
    steps = steps or source.profile.transfer_steps
    run_seeds = run_seeds or usual_seeds(source)
    if unknown := sorted(set(variants) - set(VARIANTS)):
        raise ValueError(f"unknown variants {', '.join(unknown)}; choose of {', '.join(VARIANTS)}")
    if max(counts) > at_least:
        raise ValueError(f"{max(counts)} photos per person, but everybody has only {at_least}")
    people = new_people(source, target, at_least)
    transfer = Transfer(source, trained_joint(source), people, steps)
    about = _columns(source, target, steps, run_seeds, at_least, asked)
    folder = cache.folder(
        "transfer",
        f"{source.data.name}-{target.name}",
        net=net_folder(source, "joint").name,
        old_people=configs.parts(source).test.content_hash,
        target=people.dataset.content_hash,
        steps=steps,
        at_least=at_least,
    )
    jobs = [(one, count, seed) for seed in run_seeds for count in counts for one in variants]
    main = this_process().is_main_process
    shown = main and configs.shows_progress()
    tables = []
    with storage.folder_lock(folder) if main else contextlib.nullcontext():
        for variant, count, seed in tqdm(jobs, desc="transfer", unit="run", disable=not shown):
            name = f"{variant}-{count}-{seed}"
            measure = functools.partial(transfer.rows, variant, count, seed, folder / name)
            tables.append(cache.table(folder / f"{name}.csv", measure))
    table = configs.with_columns(pd.concat(tables, ignore_index=True), about)
    if main:
        merge_table(paths.TABLES / RESULTS_TABLE, table)
    this_process().wait_for_everyone()
    return table


def _columns(
    source: Config,
    target: Path,
    steps: int,
    run_seeds: Sequence[int],
    at_least: int,
    variants: Sequence[str] = (),
) -> dict[str, Any]:
    """What every row of a transfer carries; variants are those that were asked for by name."""
    run = configs.key(
        source, target=configs.read(target).content_hash, transfer_steps=steps, at_least=at_least
    )
    told = configs.command(
        source,
        "experiment2",
        data=None,
        source=source.data.name,
        target=target.name,
        steps=steps,
        seeds=None if tuple(run_seeds) == usual_seeds(source) else list(run_seeds),
        at_least=None if at_least == max(PHOTOS_PER_PERSON) else at_least,
        variants=list(variants) or None,
    )
    about = configs.columns(source, run, told)
    about |= {"source": about.pop("dataset"), "target": target.name}
    del about["split"], about["seed"]  # rows have the seed of their training
    return about


# --- what is measured -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A trained net and the people that it is given.

    Attributes:
        source: of the net.
        net: trained on the source.
        people: who is new.
        steps: optimiser steps of each training.
    """

    source: Config
    net: JointNet
    people: NewPeople
    steps: int

    def rows(self, variant: str, photos_per_person: int, seed: int, out: Path) -> pd.DataFrame:
        """Adapt the net and measure it.

        Args:
            variant, seed, out: see :func:`adapted`; ``out`` is taken away in the end.
            photos_per_person: of the new people.

        Returns:
            rows ``metric, value, low, high, n, variant, photos_per_person, seed, seconds, steps,
            commit``.
        """
        photos = few_photos(self.people.train, photos_per_person, seed)
        new, seconds = adapted(self.net, photos, variant, self.source, self.steps, seed, out)
        found = _measures(self._asked(new, variant), self.people.test, _NEW, seed)
        old = self._before if variant in _SAME_FEATURES else self._old(new, variant, seed)
        if variant == "scratch":  # it never knew the old people's names; faces it may find
            old = old[old["metric"] != "old_joint_accuracy_50"]
        if this_process().is_main_process:
            shutil.rmtree(out, ignore_errors=True)
        return pd.concat([found, old], ignore_index=True).assign(
            variant=variant,
            photos_per_person=photos_per_person,
            seed=seed,
            seconds=seconds,
            steps=0 if variant == "class_mean" else self.steps,
            commit=commit(),
        )

    @functools.cached_property
    def _found(self) -> FoundFaces:
        return FoundFaces(self.net)

    def _asked(self, net: JointNet, variant: str) -> JointNet | NamedBy:
        """The net; or what the old one finds, where it would find the same."""
        kept = variant in _SAME_FACES and net.embedding_source == "landmarks"
        return NamedBy(self._found, net) if kept else net

    def _old(self, net: JointNet, variant: str, seed: int) -> pd.DataFrame:
        """What is left of the old people, with the classifier they had."""
        back = copy.deepcopy(net)
        back.identities = self.net.identities
        back.classifier = copy.deepcopy(self.net.classifier)
        asked = self._asked(back.to(net.device), variant)
        rows = _measures(asked, configs.parts(self.source).test, _OLD, seed)
        return rows.assign(metric="old_" + rows["metric"])

    @functools.cached_property
    def _before(self) -> pd.DataFrame:
        return self._old(self.net, "class_mean", self.source.seed)


def _measures(
    net: JointNet | NamedBy, test: Dataset, metrics: Sequence[str], seed: int
) -> pd.DataFrame:
    """Rows ``metric, value, low, high, n``."""
    table = evaluate(_FindsAndNames(net), test).table(seed)
    return table[table["metric"].isin(metrics)]


class _FindsAndNames:
    """A net that is not asked for names at the annotated boxes as well, which doubles the time."""

    def __init__(self, net: JointNet | NamedBy) -> None:
        self.predict_arrays = net.predict_arrays
