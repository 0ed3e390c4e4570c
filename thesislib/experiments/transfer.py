"""Experiment 2: new people for a trained joint net, by retraining more or less of it.

A net that has learned the people of one dataset (the *source*) is given those of another (the
*target*), from a few photos a person: by class means of embeddings, without any training; by
training the classifier alone, on embeddings computed once; the classifier and the embedding head;
everything; and, to compare, a new net from random weights. All trainings take the same number of
optimiser steps. What the net still knows of its old people is measured too. Command line::

    python -m thesislib.transfer --source <folder> --target <folder> --profile laptop
"""

import argparse
import copy
import dataclasses
import functools
import json
import math
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from thesislib import paths, seeds, storage
from thesislib.data.loading import Crops, Photo, PhotoStore, collate
from thesislib.data.schema import DatasetError
from thesislib.data.transforms import Augmentation
from thesislib.engine import predict
from thesislib.engine.train import learning_rate, train
from thesislib.experiments import baseline_comparison
from thesislib.experiments.baseline_comparison import Experiment, code_hash, module_hash
from thesislib.metrics import matching, statistics
from thesislib.metrics.boxes import average_precision
from thesislib.metrics.similarity import normalise
from thesislib.models.anchors import assign, fit_anchors
from thesislib.models.backbone import feature_map
from thesislib.models.heads import IdentityClassifier
from thesislib.models.joint import JointNet
from thesislib.profiles import Profile, get_profile
from thesislib.synthetic import sets
from thesislib.tables import merge_table

TABLE = "experiment2.csv"
KEYS = ("source", "target", "profile")
VARIANTS = ("class_mean", "classifier", "classifier_embedding", "all", "scratch")
PHOTOS_PER_PERSON = (1, 2, 4, 8)
SEEDS = (0, 1, 2)
VIEWS = 4  # augmented crops of a photo whose features are computed once, at most
FROZEN_RATE = 1e-2  # learning rate of a classifier, and of a head, on features that stay
FINE_TUNING = 0.3  # share of the profile's learning rate when everything is trained further
_CODE = module_hash("transfer.py") + module_hash("inference.py")


# The variants


def for_people(net: JointNet, identities: Sequence[str], seed: int) -> JointNet:
    """A copy of a net with an untrained classifier for other people."""
    torch.manual_seed(seeds.torch_seed(seed, "new classifier"))
    new = copy.deepcopy(net)
    old = net.classifier
    new.identities = list(identities)
    new.classifier = IdentityClassifier(
        net.embedding_dim, len(identities), old.normalised, old.margin
    )
    return new.to(net.anchors.device)


def class_means(embeddings: np.ndarray, identities: np.ndarray, people: int) -> np.ndarray:
    """Mean direction of each person's embeddings.

    Args:
        embeddings: float [n, E], NaN in rows to be left out.
        identities: int [n], in 0 ... people - 1.
        people: how many.

    Returns:
        float32 [people, E] of length 1.

    Raises:
        ValueError: a person without any embedding, who is numbered; an embedding of length 0.

    The mean of embeddings of length 1, scaled to length 1 (Snell et al. 2017, prototypical
    networks, section 2.2, here with the cosine).

    >>> class_means(np.array([[2.0, 0], [0, 1], [0, 3]]), np.array([0, 0, 1]), 2).round(3)
    array([[0.707, 0.707],
           [0.   , 1.   ]], dtype=float32)
    """
    there = ~np.isnan(embeddings).any(axis=1)
    unit = normalise(embeddings[there])
    total = np.zeros((people, embeddings.shape[1]))
    np.add.at(total, identities[there], unit)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    if (length == 0).any():
        raise ValueError(f"person {int((length == 0).argmax())} has no embedding to take a mean of")
    return (total / length).astype(np.float32)


def enrolled_by_means(net: JointNet, means: np.ndarray, identities: Sequence[str]) -> JointNet:
    """A copy of a net whose classifier is the nearest class mean by cosine; nothing is trained."""
    new = copy.deepcopy(net)
    new.identities = list(identities)
    new.classifier = IdentityClassifier(net.embedding_dim, len(identities), normalised=True)
    weight = torch.from_numpy(means).view(new.classifier.conv.weight.shape)
    new.classifier.conv.weight.data = weight
    return new.to(net.anchors.device).eval()


@dataclasses.dataclass(frozen=True)
class FaceFeatures:
    """What the embedding head sees of each face, from a backbone that stays as it is.

    Attributes:
        features: float [n, C].
        anchors: int64 [n], the anchor each face was given; 0 in a net that reads regions.
        identities: int64 [n].
    """

    features: torch.Tensor
    anchors: torch.Tensor
    identities: torch.Tensor


@torch.no_grad()
def face_features(net: JointNet, crops: Crops, views: int, batch: int) -> FaceFeatures:
    """Features of the known faces in ``views`` augmented crops of each photo.

    Args:
        net: whose backbone and grid are used, in evaluation mode.
        crops: photos of the new people.
        views: crops a photo.
        batch: crops at a time.
    """
    net.eval()
    device = net.anchors.device
    keys = [(view, at) for view in range(views) for at in range(len(crops))]
    found = []
    for start in range(0, len(keys), batch):
        photos, targets = collate([crops[key] for key in keys[start : start + batch]])
        whole = feature_map(net.backbone, net.normalise(photos.to(device)))
        pooled = net.pool(whole)
        for at, target in enumerate(targets):
            known = target["identities"] >= 0
            boxes = target["boxes"][known]
            place = assign(boxes, net.anchors, pooled.shape[-2:], net.cell)
            placed = place[:, 0] >= 0
            anchor, row, column = place[placed].to(device).unbind(dim=1)
            if net.embedding_source == "grid":
                features = pooled[at, :, row, column].T
            else:
                photo = torch.full_like(anchor, at)
                features = net.pooled(whole, photo, boxes[placed].to(device)).flatten(1)
                anchor = torch.zeros_like(anchor)
            found.append((features.float(), anchor, target["identities"][known][placed].to(device)))
    return FaceFeatures(*(torch.cat(one) for one in zip(*found, strict=True)))


def embed_features(net: JointNet, features: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """The embedding head on features [n, C] of faces given to anchors [n]: embeddings [n, E]."""
    dim = net.embedding_dim
    weight = net.embedding_head.weight.flatten(1).unflatten(0, (-1, dim))  # [A or 1, E, C]
    bias = net.embedding_head.bias.unflatten(0, (-1, dim))
    every = torch.einsum("aec,nc->nae", weight, features) + bias
    return every[torch.arange(len(features)), anchors]


def train_on_features(
    net: JointNet, faces: FaceFeatures, head: bool, profile: Profile, steps: int, seed: int
) -> None:
    """Train the classifier, and with ``head`` the embedding head, on features computed once.

    Args:
        net: trained in place; left in evaluation mode.
        faces: of the new people.
        head: train the embedding head too; else embeddings are computed once.
        profile: batch, label smoothing, weight decay and warm-up.
        steps: optimiser steps.
        seed: of the order.
    """
    trained = [*net.classifier.parameters(), *(net.embedding_head.parameters() if head else [])]
    trained = [parameter for parameter in trained if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, FROZEN_RATE, weight_decay=profile.weight_decay)
    with torch.set_grad_enabled(head):
        fixed = None if head else embed_features(net, faces.features, faces.anchors)
    rng = seeds.generator(seed, "features")
    order: list[int] = []
    for step in range(steps):
        if len(order) < min(profile.batch, len(faces.features)):
            order = list(rng.permutation(len(faces.features)))
        at = torch.tensor([order.pop() for _ in range(min(profile.batch, len(order)))])
        vectors = embed_features(net, faces.features[at], faces.anchors[at]) if head else fixed[at]
        identities = faces.identities[at]
        logits = net.classifier.with_margin(net.classifier.at(vectors), identities)
        loss = F.cross_entropy(logits, identities, label_smoothing=profile.label_smoothing)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, FROZEN_RATE, profile.warm_up)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()


def transfer(
    net: JointNet,
    crops: Crops,
    identities: Sequence[str],
    trainable: str,
    profile: Profile,
    steps: int,
    seed: int,
    folder: Path,
    progress: bool = False,
) -> JointNet:
    """Teach a trained net other people by training a part of it.

    Args:
        net: trained on the source; left as it is.
        crops: photos of the new people.
        identities: their names, in the order of the crops' numbers.
        trainable: ``classifier``, ``classifier_embedding`` or ``all``.
        profile: settings of the training.
        steps: optimiser steps.
        seed: of everything random.
        folder: for the checkpoint of a training of everything, which can be interrupted.
        progress: show its bar.

    Returns:
        a new net, in evaluation mode.

    Raises:
        ValueError: unknown ``trainable``.
    """
    if trainable not in ("classifier", "classifier_embedding", "all"):
        raise ValueError(
            f"trainable={trainable!r} is unknown; choose classifier, classifier_embedding or all"
        )
    new = for_people(net, identities, seed)
    if trainable == "all":
        slower = dataclasses.replace(profile, learning_rate=FINE_TUNING * profile.learning_rate)
        train(new, crops, slower, seed, folder, {"transfer": "all"}, progress, steps=steps)
    else:
        # No more views than the steps can use: of many photos one may be enough.
        views = min(VIEWS, math.ceil(steps * profile.batch / len(crops)))
        faces = face_features(new, crops, views, profile.batch)
        head = trainable == "classifier_embedding"
        train_on_features(new, faces, head, profile, steps, seed)
    return new.eval()


# The experiment


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A source whose joint net is trained, and a target whose people are new.

    Attributes:
        source: the experiment whose net is given new people.
        target: folder of the new people.
        steps: optimiser steps of each training.
        most: photos a person must have to take part, in the training part of the target.
    """

    source: Experiment
    target: Path
    steps: int
    most: int = max(PHOTOS_PER_PERSON)

    @functools.cached_property
    def new(self) -> Experiment:
        """The target, split by photo as the source's profile and seed say."""
        source = self.source
        return Experiment(
            self.target, "photo", source.profile, source.seed, progress=source.progress
        )

    @functools.cached_property
    def identities(self) -> list[str]:
        """The new people: those with enough photos, so that they are the same for every number.

        Raises:
            DatasetError: a person is in the source too, or fewer than two have enough photos.
        """
        known = set(self.source.dataset.identities) & set(self.new.dataset.identities)
        if known:
            raise DatasetError(
                f"{self.target}: {sorted(known)[0]!r} is in {self.source.data} too; the people of "
                "a transfer must be new"
            )
        table = self.new.part("train").table
        photos = table[table["identity"] != ""].groupby("identity")["photo"].nunique()
        enough = sorted(photos.index[photos >= self.most])
        if len(enough) < 2:
            raise DatasetError(
                f"{self.target}: {len(enough)} people have {self.most} training photos, and at "
                "least 2 are needed"
            )
        return enough

    def _numbered(self, photos: Iterable[Photo]) -> list[Photo]:
        """Photos of the new people alone, numbered in their order."""
        number = {name: at for at, name in enumerate(self.identities)}
        old = [number.get(name, -1) for name in self.new.identities]
        kept = []
        for photo in photos:
            identities = torch.tensor([old[at] if at >= 0 else -1 for at in photo.identities])
            if (identities >= 0).any():
                kept.append(dataclasses.replace(photo, identities=identities))
        return kept

    @functools.cached_property
    def test_photos(self) -> list[Photo]:
        """Test photos of the new people."""
        return self._numbered(self.new.test_photos)

    def few(self, photos_per_person: int, seed: int) -> list[Photo]:
        """Training photos, so many of each person; a larger number holds those of a smaller."""
        rng = seeds.generator(seed, "few photos")
        photos = self._numbered(self.new.train_photos)
        order = rng.permutation(len(photos))
        taken: dict[int, int] = defaultdict(int)
        chosen = []
        for at in order:
            people = [who for who in photos[at].identities.tolist() if who >= 0]
            if all(taken[who] < photos_per_person for who in people):
                chosen.append(int(at))
                for who in people:
                    taken[who] += 1
        return [photos[at] for at in sorted(chosen)]

    def _crops(self, photos: list[Photo], seed: int) -> Crops:
        p = self.source.profile
        stored_px = round(p.input_px / min(1.0, p.crop_scale[0]))
        store = PhotoStore(self.new.dataset, photos, stored_px, progress=False)
        augmentation = Augmentation(p.crop_scale, p.flip, p.colour)
        return Crops(photos, store, p.input_px, augmentation, seed)

    def adapted(
        self, variant: str, photos_per_person: int, seed: int, folder: Path
    ) -> tuple[JointNet, float]:
        """The net with the new people, and the seconds it took from their photos to it."""
        net, _ = self.source.trained("joint")
        profile = self.source.profile
        photos = self.few(photos_per_person, seed)
        began = time.perf_counter()
        if variant == "class_mean":
            vectors = predict.embed(net, self.new.dataset, photos, profile.input_px, progress=False)
            who = torch.cat([photo.identities for photo in photos]).numpy()
            means = class_means(vectors[who >= 0], who[who >= 0], len(self.identities))
            new = enrolled_by_means(net, means, self.identities)
        elif variant == "scratch":
            sizes = [
                (photo.boxes[:, 2:] - photo.boxes[:, :2]).numpy()
                * (profile.input_px / min(photo.size))
                for photo in photos
            ]
            anchors = fit_anchors(np.concatenate(sizes), profile.anchors, seed)
            again = dataclasses.replace(self.source, seed=seed)
            # Cached properties: the same settings, for other people and anchors.
            again.__dict__.update(identities=self.identities, anchors=anchors)
            new = again.new_net("joint")
            crops = self._crops(photos, seed)
            train(new, crops, profile, seed, folder, {"transfer": variant}, False, steps=self.steps)
        else:
            crops = self._crops(photos, seed)
            new = transfer(net, crops, self.identities, variant, profile, self.steps, seed, folder)
        return new.eval(), time.perf_counter() - began

    def _evaluated(self, net: JointNet, dataset, photos: list[Photo], seed: int) -> pd.DataFrame:
        """Rows ``metric, value, low, high, n``."""
        input_px = self.source.profile.input_px
        predictions = predict.detect(net, dataset, photos, input_px, progress=False)
        truths = [
            {
                "boxes": photo.boxes.numpy(),
                "identities": [net.identities[at] if at >= 0 else "" for at in photo.identities],
            }
            for photo in photos
        ]
        names = [photo.name for photo in photos]
        faces = matching.faces_table(names, predictions, truths)
        with_face = matching.photos_table(names, predictions, truths)
        known = (faces["identity"] != "").to_numpy()
        shares = {
            "accuracy": with_face["correct"][with_face["known"]].to_numpy(float),
            "mean_iou": with_face["iou"].to_numpy(float),
            "joint_accuracy_50": matching.jointly_correct(faces, 0.5).astype(float)[known],
        }
        groups = {"joint_accuracy_50": faces["photo"].to_numpy()[known]}
        rows = []
        for metric, values in shares.items():
            low, high = statistics.bootstrap_interval(values, groups=groups.get(metric), seed=seed)
            rows.append((metric, values.mean(), low, high, len(values)))
        ap = average_precision(predictions, truths)["ap50"]
        rows.append(("ap50", ap, np.nan, np.nan, len(photos)))
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])

    def _old(self, net: JointNet, seed: int) -> pd.DataFrame:
        """What is left of the old people, who keep the classifier they had."""
        source, _ = self.source.trained("joint")
        back = copy.deepcopy(net)
        back.identities, back.classifier = source.identities, source.classifier
        photos = [photo for photo in self.source.test_photos if len(photo.boxes)]
        rows = self._evaluated(back, self.source.dataset, photos, seed)
        rows = rows[rows["metric"].isin(["joint_accuracy_50", "mean_iou", "ap50"])]
        return rows.assign(metric="old_" + rows["metric"])

    @functools.cached_property
    def _before(self) -> pd.DataFrame:
        return self._old(self.source.trained("joint")[0], self.source.seed)

    def _one(self, variant: str, photos_per_person: int, seed: int, kept: Path) -> pd.DataFrame:
        with storage.atomic_write(kept) as aside:
            folder = kept.with_suffix("")
            net, seconds = self.adapted(variant, photos_per_person, seed, folder)
            rows = self._evaluated(net, self.new.dataset, self.test_photos, seed)
            rows = rows[rows["metric"] != "ap50"]
            if variant == "class_mean":  # nothing was trained
                old = self._before
            else:
                old = self._old(net, seed)
                if variant == "scratch":  # it never knew the old people; faces it may find
                    old = old[old["metric"] != "old_joint_accuracy_50"]
            table = pd.concat([rows, old], ignore_index=True).assign(
                variant=variant,
                photos_per_person=photos_per_person,
                seed=seed,
                seconds=seconds,
                steps=0 if variant == "class_mean" else self.steps,
            )
            aside.write_text(table.to_csv(index=False, float_format="%.6g"))
        shutil.rmtree(folder, ignore_errors=True)
        return table

    def command(self, run_seeds: Sequence[int] = SEEDS) -> str:
        """The command that gives these results."""
        p, usual = self.source.profile, get_profile(self.source.profile.name)
        words = [f"python -m thesislib.transfer --source {self.source.data.name}"]
        words += [f"--target {self.target.name} --profile {p.name} --steps {self.steps}"]
        for name in ("epochs", "batch"):
            if getattr(p, name) != getattr(usual, name):
                words.append(f"--{name} {getattr(p, name)}")
        if tuple(run_seeds) != SEEDS:
            words.append(f"--seeds {' '.join(map(str, run_seeds))}")
        return " ".join(words)

    def run(
        self,
        photos_per_person: Iterable[int] = PHOTOS_PER_PERSON,
        run_seeds: Sequence[int] = SEEDS,
        variants: Iterable[str] = VARIANTS,
    ) -> pd.DataFrame:
        """Every variant at every number of photos and seed, merged into ``experiment2.csv``.

        Interrupted it goes on; asked again with nothing changed it reads what was found.

        Returns:
            this source's and target's rows of the table.
        """
        depends = {
            "net": self.source.run_folder("joint").name,
            "target": self.new.dataset.content_hash,
            "steps": self.steps,
            "code": _CODE + code_hash(["metrics.py", "model.py", "train.py"]),
        }
        key = storage.text_hash(json.dumps(depends, sort_keys=True))[:8]
        folder = paths.RUNS / "transfer" / f"{self.source.data.name}-{self.target.name}-{key}"
        jobs = [
            (variant, count, seed)
            for seed in run_seeds
            for count in photos_per_person
            for variant in variants
        ]
        tables = []
        with storage.folder_lock(folder):
            for variant, count, seed in tqdm(
                jobs, desc="transfer", unit="run", disable=not self.source.progress
            ):
                kept = folder / f"{variant}-{count}-{seed}.csv"
                if not kept.exists():
                    self._one(variant, count, seed, kept)
                tables.append(pd.read_csv(kept))
        p = self.source.profile
        table = pd.concat(tables, ignore_index=True).assign(
            source=self.source.data.name,
            target=self.target.name,
            profile=p.name,
            backbone=p.backbone,
            input_px=p.input_px,
            command=self.command(run_seeds),
        )
        merge_table(paths.TABLES / TABLE, table, KEYS)
        return table


def from_environment() -> Transfer:
    """The transfer that ``make figures`` asks for: from its net to the people of TARGET.

    Without TARGET they are synthetic people before another camera, made if need be; see
    :func:`thesislib.experiment1.from_environment` for the rest.
    """
    source = baseline_comparison.from_environment()
    source.prepare()
    profile = source.profile
    target = os.environ.get("TARGET")
    if target:
        folder = (paths.ROOT / target).resolve()
    else:
        folder = paths.synthetic(profile.new_people)
        sets.make(folder, sets.SETS[profile.new_people], progress=source.progress)
    return Transfer(source, folder, profile.transfer_steps)


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.transfer", description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="dataset the net has learned")
    parser.add_argument("--target", type=Path, required=True, help="dataset of the new people")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--epochs", type=int, help="of the source's net, not the profile's")
    parser.add_argument("--batch", type=int, help="in place of the profile's")
    parser.add_argument("--steps", type=int, help="of each training, not the profile's")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    arguments = parser.parse_args(argv)
    profile = get_profile(arguments.profile)
    changed = {"epochs": arguments.epochs, "batch": arguments.batch}
    profile = dataclasses.replace(profile, **{k: v for k, v in changed.items() if v is not None})
    progress = "TQDM_DISABLE" not in os.environ
    source = Experiment(arguments.source, "photo", profile, progress=progress)
    source.prepare()
    moved = Transfer(source, arguments.target, arguments.steps or profile.transfer_steps)
    table = moved.run(run_seeds=arguments.seeds)
    shown = table.groupby(["variant", "photos_per_person", "metric"])[["value", "seconds"]].mean()
    print(shown.unstack("metric")["value"].round(3).to_string())


if __name__ == "__main__":
    main()
