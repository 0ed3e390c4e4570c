"""Experiment 2: new people for a trained joint net, by retraining more or less of it.

A net that has learned the people of one dataset (the *source*) is given those of another (the
*target*), from a few photos per person: by class means of embeddings or by the nearest photo,
without any training; by training the classifier alone; the classifier and the embedding head;
everything; and, to compare, a new net from random weights. Trainings are as long as each other
(*equal*), and as long as photos of the new people that are neither trained on nor tested say
(*converged*). What the net still knows of its old people is measured too. A net that starts from
dlib's recogniser has no random weights to compare with: those of the others are. On the command
line::

    python -m thesislib experiment2 --source <folder> --target <folder> --profile laptop
"""

import contextlib
import copy
import dataclasses
import functools
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from thesislib import cache, paths, storage
from thesislib.data.schema import Dataset
from thesislib.engine.evaluate import Report, evaluate
from thesislib.engine.face_features import FaceFeatures
from thesislib.engine.found import FoundFaces, NamedBy
from thesislib.engine.processes import this_process
from thesislib.engine.transfer import (
    enrol_class_means,
    enrol_nearest,
    fine_tune,
    new_faces,
    train_classifier,
    train_from_scratch,
)
from thesislib.environment import commit
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config
from thesislib.experiments.new_people import NewPeople, few_photos, new_people
from thesislib.experiments.paired import LEAST_SEEDS, difference, tested
from thesislib.experiments.references import BY_DLIB, MEASURED, is_measured, reference
from thesislib.experiments.systems import calibration, net_folder, trained_joint
from thesislib.models.joint import JointNet
from thesislib.tables import REFERENCES, merge_table

RESULTS_TABLE = "experiment2.csv"
UNTRAINED = ("class_mean", "nearest")
TRAINED = ("classifier", "classifier_embedding", "all", "scratch")
VARIANTS = (*UNTRAINED, *TRAINED)
PAIRS_TABLE = "experiment2_pairs.csv"
# Nothing of the backbone is trained: the old people and their faces are found as before.
_SAME_FEATURES = (*UNTRAINED, "classifier")
_SAME_FACES = (*_SAME_FEATURES, "classifier_embedding")  # at least the boxes are as before
_ON_FEATURES = ("classifier", "classifier_embedding")
PHOTOS_PER_PERSON = (1, 2, 4, 8)
AT_LEAST = max(PHOTOS_PER_PERSON) + 1  # one photo more of everybody says when to stop
BUDGETS = ("none", "equal", "converged")
LONGEST = 32  # times the equal budget
_NEW = ("accuracy", "mean_iou", "joint_accuracy_50")  # measured on the new people
_OLD = ("joint_accuracy_50", "mean_iou", "ap50")  # and on the old ones
_KEPT = ("rows.csv", "faces.csv", "photos.csv")


# --- what is compared -------------------------------------------------------------------------


def variants_of(source: Config) -> tuple[str, ...]:
    """Variants that a source's profile has time for.

    In ``quick`` those whose backbone stays, of a net from scratch and of one that starts from
    dlib's recogniser alike.
    """
    if source.profile.name == "quick":
        return (*UNTRAINED, "classifier", "classifier_embedding")
    return tuple(one for one in VARIANTS if one != "scratch" or not source.is_started)


def adapted(
    net: JointNet,
    photos: Dataset,
    variant: str,
    source: Config,
    steps: int,
    seed: int,
    out: Path,
    faces: FaceFeatures | None = None,
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
        faces: of the photos, for variants whose backbone stays; None to compute them.

    Returns:
        the net, and the seconds that it took from photo files, or from the faces, to it.
    """
    profile, head = source.profile, variant == "classifier_embedding"
    about: dict[str, Any] = {"steps": steps, "seed": seed}
    began = time.perf_counter()
    match variant:
        case "class_mean":
            new = enrol_class_means(net, photos)
        case "nearest":
            new = enrol_nearest(net, photos)
        case "classifier" | "classifier_embedding":
            new = train_classifier(net, photos, profile, **about, embedding_head=head, faces=faces)
        case "all":
            new = fine_tune(net, photos, profile, out, **about, progress=False)
        case _:
            new = train_from_scratch(photos, profile, out, **about, progress=False)
    return new, time.perf_counter() - began


def run(
    source: Config,
    target: Path | str,
    steps: int | None = None,
    photos_per_person: Iterable[int] = PHOTOS_PER_PERSON,
    run_seeds: Sequence[int] = (),
    variants: Iterable[str] = (),
    at_least: int = AT_LEAST,
) -> pd.DataFrame:
    """Every variant at every number of photos and seed, merged into ``experiment2.csv``; what
    they differ by, of three seeds or more, into ``experiment2_pairs.csv``.

    Interrupted it goes on; asked again it reads what was found.

    Args:
        source: of the net that is given new people; it is trained if that was not done yet, once
            for each seed.
        target: dataset folder of the new people, or the name of one in ``data/``.
        steps: optimiser steps of each training of the equal budget; None for the profile's
            ``transfer_steps``.
        photos_per_person: numbers of photos, below ``at_least``.
        run_seeds: of the source's net, the photos chosen and the trainings; none for the source's
            own.
        variants: names in :data:`VARIANTS`; none for those of :func:`variants_of`.
        at_least: see :func:`thesislib.experiments.new_people.new_people`.

    Returns:
        their rows of ``experiment2.csv``.

    Raises:
        DatasetError: see :func:`thesislib.experiments.new_people.new_people`.
        ValueError: unknown variant, or as many photos per person as everybody has.
    """
    target, counts = configs.data_folder(target), list(photos_per_person)
    asked = list(variants)
    variants = asked or list(variants_of(source))
    steps = steps or source.profile.transfer_steps
    run_seeds = run_seeds or [source.seed]
    if unknown := sorted(set(variants) - set(VARIANTS)):
        raise ValueError(f"unknown variants {', '.join(unknown)}; choose of {', '.join(VARIANTS)}")
    if max(counts) >= at_least:
        raise ValueError(
            f"{max(counts)} photos per person, but everybody has only {at_least}, and one must be "
            "left to say when to stop"
        )
    about = _columns(source, target, steps, run_seeds, at_least, asked)
    names = [*variants, *REFERENCES]
    jobs = [(seed, count, name) for seed in run_seeds for count in counts for name in names]
    shown = this_process().is_main_process and configs.shows_progress()
    arms: dict[Arm, dict[int, Adapted]] = {}
    transfer = None
    for seed, count, name in tqdm(jobs, desc="transfer", unit="run", disable=not shown):
        if transfer is None or transfer.source.seed != seed:
            own = dataclasses.replace(source, seed=seed)
            transfer = Transfer(own, new_people(own, target, at_least), steps, max(counts))
        for budget, found in transfer.found(name, count).items():
            arms.setdefault(Arm(name, budget, count), {})[seed] = found
    rows = [found.rows for by_seed in arms.values() for found in by_seed.values()]
    table = configs.with_columns(pd.concat(rows, ignore_index=True), about)
    # Of fewer seeds nothing could be claimed, and those of several would be lost.
    pairs = differences(arms, source.seed) if len(run_seeds) >= LEAST_SEEDS else pd.DataFrame()
    if this_process().is_main_process:
        merge_table(paths.TABLES / RESULTS_TABLE, table)
        if len(pairs):
            told = about | {"seed": source.seed, "commit": commit()}
            merge_table(paths.TABLES / PAIRS_TABLE, configs.with_columns(pairs, told))
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
        seeds=None if list(run_seeds) == [source.seed] else list(run_seeds),
        at_least=None if at_least == AT_LEAST else at_least,
        variants=list(variants) or None,
    )
    about = configs.columns(source, run, told)
    about |= {"source": about.pop("dataset"), "target": target.name}
    del about["split"], about["seed"]  # rows have the seed of their training
    return about


# --- what is measured -------------------------------------------------------------------------


class Arm(NamedTuple):
    """A variant, or a reference, as long as it was trained, with photos of each new person."""

    variant: str
    budget: str
    photos_per_person: int


class Adapted(NamedTuple):
    """What was found of an :class:`Arm`.

    Attributes:
        rows: ``metric, value, low, high, n, variant, budget, photos_per_person, seed, seconds,
            steps, device, commit``.
        faces, photos: of the new people's test, see :class:`thesislib.engine.evaluate.Report`.
    """

    rows: pd.DataFrame
    faces: pd.DataFrame
    photos: pd.DataFrame

    def named(self, budget: str) -> "Adapted":
        """The same, as what another budget gave."""
        return self._replace(rows=self.rows.assign(budget=budget))


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A trained net and the people that it is given.

    Attributes:
        source: of the net; its seed is that of everything random.
        people: who is new.
        steps: optimiser steps of each training of the equal budget.
        most: photos of a person that are ever trained on; the others say when to stop.
    """

    source: Config
    people: NewPeople
    steps: int
    most: int

    @functools.cached_property
    def net(self) -> JointNet:
        """The source's net."""
        return trained_joint(self.source)

    @functools.cached_property
    def folder(self) -> Path:
        """Where what was found is kept."""
        return cache.folder(
            "transfer",
            f"{self.source.data.name}-{self.people.dataset.name}-seed{self.source.seed}",
            net=net_folder(self.source, "joint").name,
            old_people=configs.parts(self.source).test.content_hash,
            target=self.people.dataset.content_hash,
            people=self.people.identities,
            steps=self.steps,
            most=self.most,
        )

    @functools.cached_property
    def references_folder(self) -> Path:
        """Where that of references is kept, which is the same whatever net is given new people."""
        return cache.folder(
            "transfer",
            f"{self.people.dataset.name}-references-seed{self.source.seed}",
            target=self.people.dataset.content_hash,
            test=self.people.test.content_hash,
            people=self.people.identities,
            seed=self.source.seed,
        )

    def found(self, variant: str, photos_per_person: int) -> dict[str, Adapted]:
        """What was found of a variant, or a reference, by budget; asked again it is read."""
        budgets = BUDGETS[1:] if variant in TRAINED else BUDGETS[:1]
        kept = self.references_folder if variant in REFERENCES else self.folder
        folders = {budget: kept / f"{variant}-{photos_per_person}-{budget}" for budget in budgets}
        main = this_process().is_main_process
        with storage.folder_lock(kept) if main else contextlib.nullcontext():
            there = all((path / _KEPT[0]).exists() for path in folders.values())
            this_process().wait_for_everyone()
            if not there:
                measured = self._measured(variant, photos_per_person)
                for budget, tables in measured.items() if main else ():
                    # The rows last: where they are, all is there.
                    for file, table in reversed(list(zip(_KEPT, tables, strict=True))):
                        text = table.to_csv(index=False, lineterminator="\n")
                        storage.write_text(folders[budget] / file, text)
            this_process().wait_for_everyone()
        return {
            budget: Adapted(*(cache.table(path / file, pd.DataFrame) for file in _KEPT))
            for budget, path in folders.items()
        }

    def _measured(self, variant: str, photos_per_person: int) -> dict[str, Adapted]:
        photos = few_photos(self.people.train, photos_per_person, self.source.seed)
        if variant in REFERENCES:
            return {"none": self._of_reference(variant, photos, photos_per_person)}
        if variant in UNTRAINED:
            new, seconds = self._adapted(photos, variant, 0, photos_per_person)
            return {"none": self._tested(new, variant, "none", photos_per_person, seconds, 0)}
        equal, seconds = self._adapted(photos, variant, self.steps, photos_per_person)
        tested = self._tested(equal, variant, "equal", photos_per_person, seconds, self.steps)
        best, most = (equal, seconds, self.steps), self._right(equal, variant)
        steps = self.steps
        while steps < LONGEST * self.steps:
            steps *= 2
            longer, seconds = self._adapted(photos, variant, steps, photos_per_person)
            if (right := self._right(longer, variant)) <= most:
                break
            best, most = (longer, seconds, steps), right
        if best[0] is equal:
            return {"equal": tested, "converged": tested.named("converged")}
        converged = self._tested(best[0], variant, "converged", photos_per_person, *best[1:])
        return {"equal": tested, "converged": converged}

    def _of_reference(self, name: str, photos: Dataset, photos_per_person: int) -> Adapted:
        target = Config(self.people.dataset.folder, self.source.profile, seed=self.source.seed)
        began = time.perf_counter()
        if name == "chance":
            share, faces = 1 / len(self.people.identities), len(self.people.test.table)
            rows = pd.DataFrame(
                [(metric, share, np.nan, np.nan, faces) for metric in MEASURED["chance"]],
                columns=["metric", "value", "low", "high", "n"],
            )
            report = None
        else:
            system = reference(target, name, photos)
            framing = calibration(target) if name in BY_DLIB else None
            report = evaluate(system, self.people.test, framing)
            rows = _rows(report, (*_NEW, "oracle_box_accuracy"), self.source.seed)
            rows = rows[[is_measured(name, metric) for metric in rows["metric"]]]
        rows = rows.assign(
            variant=name,
            budget="none",
            photos_per_person=photos_per_person,
            seed=self.source.seed,
            seconds=time.perf_counter() - began,
            steps=0,
            device="cpu",
            commit=commit(),
        )
        nothing = pd.DataFrame(columns=["photo"])
        return Adapted(rows, *((report.faces, report.photos) if report else (nothing, nothing)))

    def _adapted(
        self, photos: Dataset, variant: str, steps: int, photos_per_person: int
    ) -> tuple[JointNet, float]:
        out = self.folder / f"{variant}-{photos_per_person}-{steps}-training"
        seed, faces, before = self.source.seed, None, 0.0
        if variant in _ON_FEATURES:
            faces, before = self._faces(photos)
        new, seconds = adapted(self.net, photos, variant, self.source, steps, seed, out, faces)
        if this_process().is_main_process:
            shutil.rmtree(out, ignore_errors=True)
        return new, before + seconds

    def _faces(self, photos: Dataset) -> tuple[FaceFeatures, float]:
        """Features of faces, which trainings of all lengths share, and the seconds they took."""
        if photos.content_hash not in self._kept_faces:
            self._kept_faces.clear()
            began = time.perf_counter()
            most = {"steps": LONGEST * self.steps, "seed": self.source.seed}
            faces = new_faces(self.net, photos, self.source.profile, **most)
            self._kept_faces[photos.content_hash] = faces, time.perf_counter() - began
        return self._kept_faces[photos.content_hash]

    @functools.cached_property
    def _kept_faces(self) -> dict[str, tuple[FaceFeatures, float]]:
        return {}

    @functools.cached_property
    def _left(self) -> Dataset:
        """Photos of the new people that no training is given."""
        given = few_photos(self.people.train, self.most, self.source.seed)
        return self.people.without(given.photos)

    def _right(self, net: JointNet, variant: str) -> float:
        """Share of the photos that are left that are named rightly."""
        return evaluate(_FindsAndNames(self._asked(net, variant)), self._left).accuracy()

    def _tested(
        self,
        net: JointNet,
        variant: str,
        budget: str,
        photos_per_person: int,
        seconds: float,
        steps: int,
    ) -> Adapted:
        report = evaluate(_FindsAndNames(self._asked(net, variant)), self.people.test)
        rows = [_rows(report, _NEW, self.source.seed)]
        if photos_per_person == self.most:
            rows.append(self._before if variant in _SAME_FEATURES else self._old(net, variant))
        about = {
            "variant": variant,
            "budget": budget,
            "photos_per_person": photos_per_person,
            "seed": self.source.seed,
            "seconds": seconds,
            "steps": steps,
            "device": torch.cuda.get_device_name() if net.device.type == "cuda" else "cpu",
            "commit": commit(),
        }
        found = pd.concat(rows, ignore_index=True).assign(**about)
        return Adapted(found, report.faces, report.photos)

    @functools.cached_property
    def _found(self) -> FoundFaces:
        return FoundFaces(self.net)

    def _asked(self, net: JointNet, variant: str) -> JointNet | NamedBy:
        """The net; or what the old one finds, where it would find the same."""
        kept = variant in _SAME_FACES and net.embedding_source == "landmarks"
        return NamedBy(self._found, net) if kept else net

    def _old(self, net: JointNet, variant: str) -> pd.DataFrame:
        """What is left of the old people: with the classifier they had, and, of names alone, with
        class means of their training photos as the net embeds them now."""
        old, seed = configs.parts(self.source), self.source.seed
        back = copy.deepcopy(net)
        back.identities = self.net.identities
        back.classifier = copy.deepcopy(self.net.classifier)
        rows = []
        if variant != "scratch":  # it never knew the old people's names; faces it may find
            asked = self._asked(back.to(net.device), variant)
            rows.append(_rows(evaluate(_FindsAndNames(asked), old.test), _OLD, seed))
        else:
            report = evaluate(_FindsAndNames(net), old.test)
            rows.append(_rows(report, _OLD[1:], seed))
        enrolled = self._asked(enrol_class_means(net, old.train), variant)
        again = _rows(evaluate(_FindsAndNames(enrolled), old.test), ("accuracy",), seed)
        rows.append(again.assign(metric="accuracy_enrolled"))
        table = pd.concat(rows, ignore_index=True)
        return table.assign(metric="old_" + table["metric"])

    @functools.cached_property
    def _before(self) -> pd.DataFrame:
        return self._old(self.net, "class_mean")


def differences(arms: Mapping[Arm, Mapping[int, Adapted]], seed: int) -> pd.DataFrame:
    """What may be said of variants: with the fewest and the most photos of a person, each less
    class means, and the converged classifier less all others that converged.

    Args:
        arms: by seed, what was found.
        seed: of bootstrap and sign flips.

    Returns:
        rows ``metric, photos_per_person, variant, budget, against, against_budget`` with what
        :func:`thesislib.experiments.paired.tested` tells of them.
    """
    counts = sorted({arm.photos_per_person for arm in arms})
    pairs = []
    for count in dict.fromkeys([counts[0], counts[-1]]):
        own = [arm for arm in arms if arm.photos_per_person == count and arm.variant != "chance"]
        means, classifier = Arm("class_mean", "none", count), Arm("classifier", "converged", count)
        pairs += [(one, means) for one in own if one != means and means in arms]
        pairs += [
            (classifier, one)
            for one in own
            if classifier in arms and one.budget == "converged" and one != classifier
        ]
    told = []
    for one, other in pairs:
        for metric in ("joint_accuracy_50", "accuracy"):
            if is_measured(one.variant, metric) and is_measured(other.variant, metric):
                pair = {"metric": metric, **one._asdict()}
                pair |= {"against": other.variant, "against_budget": other.budget}
                told.append((pair, difference(arms[one], arms[other], metric)))
    return tested(told, seed)


def _rows(report: Report, metrics: Sequence[str], seed: int) -> pd.DataFrame:
    """Rows ``metric, value, low, high, n``."""
    return report.table(seed, metrics=metrics)


class _FindsAndNames:
    """A net that is not asked for names at the annotated boxes as well, which doubles the time."""

    def __init__(self, net: JointNet | NamedBy) -> None:
        self.predict_arrays = net.predict_arrays
