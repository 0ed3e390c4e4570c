"""Experiment 1: joint detection and identification against the two-stage pipeline.

One :class:`Experiment` is a dataset, a split, a profile and a seed. It trains each system once,
keeps what it did under ``runs/``, and writes the results tables that figures are drawn from. Asked
again it loads; interrupted it goes on; after a change of code, data or settings it does again
what depends on the change, beside what was there.

Command line::

    python -m thesislib.experiment1 --data <folder> --split photo --profile laptop
"""

import argparse
import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from thesislib import cache, paths, seeds, storage
from thesislib.baselines.two_stage import FaceStore, TwoStage, calibrate
from thesislib.benchmarks.limits import peak_flops, training_flops
from thesislib.cache import RESULTS_VERSION
from thesislib.data.detector import detections_table
from thesislib.data.images import read_photo
from thesislib.data.loading import Crops, PhotoStore, list_photos
from thesislib.data.schema import read_dataset, subset
from thesislib.data.splits import make_split
from thesislib.data.transforms import Augmentation
from thesislib.engine.checkpoint import load_checkpoint, load_model, save_checkpoint, start_from
from thesislib.engine.systems import Joint, System
from thesislib.engine.train import CHECKPOINT, settings, train
from thesislib.metrics import matching, statistics
from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    average_precision,
    box_iou,
)
from thesislib.models.anchors import fit_anchors
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import JointLoss
from thesislib.profiles import Profile, get_profile
from thesislib.synthetic import sets
from thesislib.synthetic.sets import SETS
from thesislib.tables import merge_results, merge_table, read_table

SYSTEMS = ("joint", "two_stage_photo", "two_stage_face")
PHOTOS_TABLE = "experiment1_photos.csv"
FACES_TABLE = "experiment1_faces.csv"
TRAINING_TABLE = "training.csv"
STAGES_TABLE = "stages.csv"
MODEL = "model.safetensors"
WARM_UPS, TIMED_PHOTOS = 5, 40
# Modules whose code decides what a test of a trained net gives.
_TESTING_CODE = ("baseline.py", "experiment1.py", "metrics.py", "model.py", "systems.py")
# Modules whose code decides what a trained net is.
_TRAINING_CODE = (
    "anchors.py",
    "loss.py",
    "margin.py",
    "model.py",
    "seeds.py",
    "train.py",
    "data/dataset.py",
    "data/loader.py",
    "data/photos.py",
)


def module_hash(name: str) -> str:
    """The results' version; see :mod:`thesislib.cache`."""
    return str(RESULTS_VERSION)


def code_hash(files: Iterable[str]) -> str:
    """The results' version; see :mod:`thesislib.cache`."""
    return storage.text_hash(str(RESULTS_VERSION))


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One dataset, split, profile and seed.

    Attributes:
        data: dataset folder.
        split_kind: ``photo`` or ``session``.
        profile: settings.
        seed: of everything random.
        start: checkpoint to begin training from, or None for random weights. The same backbone
            weights are given to all systems.
        holdout: tune on a validation part of the training split; the test split is not read.
        progress: show bars.
    """

    data: Path
    split_kind: str
    profile: Profile
    seed: int = 0
    start: Path | None = None
    holdout: bool = False
    progress: bool = True

    # --- data -------------------------------------------------------------------------------

    @property
    def is_default(self) -> bool:
        """Whether this is the default dataset of synthetic people."""
        return Path(self.data).resolve() == paths.synthetic(self.profile.people).resolve()

    def prepare(self) -> None:
        """Make the default dataset of synthetic people, unless it is there or another was given."""
        if self.is_default:
            sets.make(self.data, SETS[self.profile.people], progress=self.progress)

    @functools.cached_property
    def dataset(self):
        """The checked dataset."""
        return read_dataset(self.data)

    @functools.cached_property
    def split(self) -> pd.DataFrame:
        """Table ``photo, part``; saved beside the run."""
        split = make_split(self.dataset, self.split_kind, self.seed)
        if self.holdout:
            train_photos = set(split["photo"][split["part"] == "train"])
            split = make_split(subset(self.dataset, train_photos), self.split_kind, self.seed)
        with storage.atomic_write(self.folder / "split.csv") as aside:
            split.to_csv(aside, index=False)
        return split

    def part(self, name: str):
        """The ``train`` or the ``test`` part as a dataset."""
        return subset(self.dataset, set(self.split["photo"][self.split["part"] == name]))

    @functools.cached_property
    def identities(self) -> list[str]:
        """People of the training part, in the classifiers' order."""
        return self.part("train").identities

    @functools.cached_property
    def train_photos(self) -> list:
        """Annotations of the training part."""
        return list_photos(self.part("train"), self.identities)

    @functools.cached_property
    def test_photos(self) -> list:
        """Annotations of the test part."""
        return list_photos(self.part("test"), self.identities)

    @property
    def folder(self) -> Path:
        """Where this experiment keeps what it did."""
        kind = f"{self.split_kind}-holdout" if self.holdout else self.split_kind
        return paths.RUNS / f"{self.data.name}-{kind}-{self.profile.name}-seed{self.seed}"

    @functools.cached_property
    def anchors(self) -> np.ndarray:
        """Anchors [A, 2] in pixels of the network's input, from the training boxes."""
        sizes = [
            (photo.boxes[:, 2:] - photo.boxes[:, :2]).numpy()
            * (self.profile.input_px / min(photo.size))
            for photo in self.train_photos
        ]
        return fit_anchors(np.concatenate(sizes), self.profile.anchors, self.seed)

    @functools.cached_property
    def detections(self) -> pd.DataFrame:
        """dlib's detections in all photos of the split."""
        data, upsampling = self.dataset, self.profile.upsampling
        kept = cache.folder("dlib", data.name, data=data.content_hash, upsampling=upsampling)
        return cache.table(
            kept / "detections.csv",
            lambda: detections_table(data.folder, data.photos, upsampling, self.progress),
        )

    @functools.cached_property
    def calibration(self) -> BoxCalibration:
        """Four numbers from dlib's boxes to the dataset's, fitted on the training part."""
        return calibrate(self.detections, self.train_photos)

    # --- training ---------------------------------------------------------------------------

    def _about(self, system: str) -> dict:
        """What a trained net depends on; a checkpoint of anything else is never used."""
        files = list(_TRAINING_CODE)
        if system != "joint":
            files += ["baseline.py", "metrics.py"]
        return {
            "system": system,
            "data": self.dataset.content_hash,
            "split": self.split_kind,
            "holdout": self.holdout,
            "seed": self.seed,
            "start": storage.bytes_hash(self.start) if self.start else None,
            "settings": settings(self.profile),
            "code": code_hash(files),
        }

    def run_folder(self, system: str) -> Path:
        """Folder of a system's training; its name holds a hash of all that the net depends on."""
        about = json.dumps(self._about(system), sort_keys=True)
        return self.folder / f"{system}-{storage.text_hash(about)[:8]}"

    def new_net(self, system: str) -> torch.nn.Module:
        """An untrained net, the same for the same seed."""
        p = self.profile
        torch.manual_seed(seeds.torch_seed(self.seed, "weights"))
        common = {
            "backbone": p.backbone,
            "embedding_dim": p.embedding_dim,
            "normalised": p.normalised,
        }
        if system == "joint":
            loss = JointLoss(
                p.lambda_box,
                p.lambda_no_object,
                p.lambda_identity,
                label_smoothing=p.label_smoothing,
                learned=p.learned_balance,
            )
            return JointNet(
                self.identities,
                self.anchors,
                pooling=p.pooling,
                loss=loss,
                margin=p.margin,
                embedding_source=p.embedding_source,
                **common,
            )
        return FaceClassifier(self.identities, label_smoothing=p.label_smoothing, **common)

    def _crops(self, system: str) -> Crops:
        p = self.profile
        # Crops of less than the whole photo are enlarged: keep the pixels for it.
        stored_px = round(p.input_px / min(1.0, p.crop_scale[0]))
        photos = self.train_photos
        if system == "two_stage_face":
            store = FaceStore(
                self.dataset.folder,
                photos,
                self.detections,
                self.calibration,
                stored_px,
                self.progress,
            )
            photos = store.photos
        else:
            store = PhotoStore(self.dataset, photos, stored_px, self.progress)
        augmentation = Augmentation(p.crop_scale, p.flip, p.colour)
        return Crops(photos, store, p.input_px, augmentation, self.seed)

    def trained(self, system: str) -> tuple[torch.nn.Module, pd.DataFrame]:
        """The trained net of a system and its history; trains it if that was not done yet.

        Returns:
            the net in evaluation mode, and one row an epoch (see :func:`thesislib.train.train`).
        """
        net = self.new_net(system)
        folder = self.run_folder(system)
        about = self._about(system)
        done = folder / MODEL
        if done.exists():
            tensors, saved = load_checkpoint(done)
            load_model(net, tensors, done)
            return net.eval(), pd.DataFrame(saved["history"])
        if self.start:
            start_from(net, self.start)
        history = train(
            net, self._crops(system), self.profile, self.seed, folder, about, self.progress
        )
        save_checkpoint(done, net, {"run": about, "history": history})
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return net.eval(), pd.DataFrame(history)

    def system(self, name: str) -> System:
        """A trained system, ready to be called with a photo."""
        net, _ = self.trained(name)
        if torch.cuda.is_available():
            net = net.cuda()
        if name == "joint":
            return Joint(net, self.profile.input_px)
        return TwoStage(
            net,
            name.removeprefix("two_stage_"),
            self.profile.input_px,
            self.profile.upsampling,
            self.calibration,
        )

    # --- results ----------------------------------------------------------------------------

    def command(self) -> str:
        """The command that gives these results."""
        words = ["python -m thesislib.experiment1", f"--data {self.data.name}"]
        words += [f"--split {self.split_kind}", f"--profile {self.profile.name}"]
        usual = get_profile(self.profile.name)
        words += [
            f"--{name} {getattr(self.profile, name)}"
            for name in ("epochs", "batch")
            if getattr(self.profile, name) != getattr(usual, name)
        ]
        words += [f"--seed {self.seed}"]
        if self.start:
            words += [f"--start {self.start.name}"]
        return " ".join(words)

    def columns(self) -> dict:
        """What every row of a results table carries."""
        return {
            "dataset": self.data.name,
            "split": self.split_kind,
            "profile": self.profile.name,
            "seed": self.seed,
            "backbone": self.profile.backbone,
            "input_px": self.profile.input_px,
            "command": self.command(),
        }

    def training_table(self, names: Iterable[str] = SYSTEMS) -> pd.DataFrame:
        """Long form: ``system, epoch, metric, value`` of every epoch."""
        tables = []
        for name in names:
            _, history = self.trained(name)
            long = history.melt("epoch", var_name="metric", value_name="value")
            tables.append(long.assign(system=name, **self.columns()))
        return pd.concat(tables, ignore_index=True)

    def evaluate(self, name: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Run a trained system over the test part, once; asked again it reads what was kept.

        Returns:
            results rows (``experiment1.csv`` without speed), one row a photo, one row a face.
        """
        kept = self.run_folder(name) / f"test-{code_hash(_TESTING_CODE)[:8]}"
        files = [kept / f"{part}.csv" for part in ("results", "photos", "faces")]
        if not all(file.exists() for file in files):
            for file, table in zip(files, self._evaluate(name), strict=True):
                storage.write_text(file, table.to_csv(index=False))
        keys = {"system": name, **self.columns()}
        return tuple(read_table(file).assign(**keys) for file in files)

    def _evaluate(self, name: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        system = self.system(name)
        names, predictions, truths, bounds = [], [], [], []
        for photo in tqdm(
            self.test_photos, desc=f"testing {name}", unit="photo", disable=not self.progress
        ):
            pixels = read_photo(self.dataset.folder / photo.name)
            people = [self.identities[at] if at >= 0 else "" for at in photo.identities.tolist()]
            boxes = photo.boxes.numpy()
            names.append(photo.name)
            predictions.append(system(pixels))
            truths.append({"boxes": boxes, "identities": people})
            bounds += system.identify_at(pixels, boxes) if len(boxes) else []
        faces = matching.faces_table(names, predictions, truths)
        with_face = [at for at, truth in enumerate(truths) if len(truth["boxes"])]
        photos = matching.photos_table(
            *([values[at] for at in with_face] for values in (names, predictions, truths))
        )
        faces["oracle_identity"] = bounds
        faces["iou_calibrated"] = self._calibrated_iou(name, faces)
        return self._rows(photos, faces, predictions, truths), photos, faces

    def _calibrated_iou(self, name: str, faces: pd.DataFrame) -> np.ndarray:
        if name == "joint":  # it learned the dataset's boxes; there is nothing to calibrate
            return faces["iou"].to_numpy()
        iou = np.zeros(len(faces))
        found = faces["found"].to_numpy()
        predicted = faces.loc[found, ["x1", "y1", "x2", "y2"]].to_numpy()
        truth = faces.loc[found, [f"true_{side}" for side in ("x1", "y1", "x2", "y2")]].to_numpy()
        calibrated = apply_box_calibration(predicted, self.calibration)
        iou[found] = [
            box_iou(a[None], b[None])[0, 0] for a, b in zip(calibrated, truth, strict=True)
        ]
        return iou

    def _rows(self, photos, faces, predictions, truths) -> pd.DataFrame:
        of_photo = faces["photo"].to_numpy()
        known = faces["identity"].to_numpy() != ""
        calibrated = faces.assign(iou=faces["iou_calibrated"])
        bound = (faces["oracle_identity"] == faces["identity"]).to_numpy()[known]
        # name, value a photo or a face, photo of each for the bootstrap
        shares = [
            ("accuracy", photos["correct"][photos["known"]].to_numpy(float), None),
            ("mean_iou", photos["iou"].to_numpy(), None),
            ("mean_iou_found", photos["iou"].to_numpy()[photos["iou"] > 0], None),
            ("mean_iou_calibrated", faces["iou_calibrated"].to_numpy(), of_photo),
            ("oracle_box_accuracy", bound.astype(float), of_photo[known]),
        ]
        for threshold, metric in ((0.5, "joint_accuracy_50"), (0.75, "joint_accuracy_75")):
            # Calibrated boxes, or a detector's idea of a face would be held against the pipeline.
            right = matching.jointly_correct(calibrated, threshold)
            shares.append((metric, right.astype(float)[known], of_photo[known]))
        rows = []
        for metric, values, groups in shares:
            if not len(values):
                continue
            low, high = statistics.bootstrap_interval(values, groups=groups, seed=self.seed)
            rows.append((metric, float(values.mean()), low, high, len(values)))
        rows += [
            (metric, value, np.nan, np.nan, len(predictions))
            for metric, value in average_precision(predictions, truths).items()
        ]
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])

    def time(self, names: Iterable[str] = SYSTEMS) -> tuple[pd.DataFrame, pd.DataFrame]:
        """FPS of the systems, photo in memory to answer, batch 1, timed turn by turn.

        Returns:
            results rows with metric ``fps``, and one row a system, stage and turn in
            milliseconds.
        """
        names = list(names)
        hashed = " ".join(self.run_folder(name).name for name in names) + code_hash(_TESTING_CODE)
        kept = self.folder / f"time-{storage.text_hash(hashed)[:8]}.csv"
        if not kept.exists():
            storage.write_text(kept, self._time(names).to_csv(index=False))
        table = pd.read_csv(kept).assign(**self.columns())
        totals = table.groupby(["system", "turn"])["ms"].sum().unstack("system")
        rows = []
        for name in totals:
            ms = totals[name].to_numpy()
            low, high = statistics.bootstrap_interval(ms, np.median, seed=self.seed)
            rows.append((name, "fps", 1000 / np.median(ms), 1000 / high, 1000 / low, len(ms)))
        rows = pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n"])
        return rows.assign(**self.columns()), table

    def _time(self, names: list[str]) -> pd.DataFrame:
        systems = [self.system(name) for name in names]
        chosen = seeds.generator(self.seed, "timing").integers(
            len(self.test_photos), size=WARM_UPS + TIMED_PHOTOS
        )
        turns = []
        for turn, at in enumerate(chosen):
            photo = read_photo(self.dataset.folder / self.test_photos[at].name)
            for system in systems:
                value = photo
                for stage, work in system.stages:
                    value, seconds = _timed(work, value)
                    turns.append((system.name, stage, turn, 1000 * seconds))
        table = pd.DataFrame(turns, columns=["system", "stage", "turn", "ms"])
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return table[table["turn"] >= WARM_UPS].assign(
            threads=torch.get_num_threads(), device=device
        )

    def run(self, names: Iterable[str] = SYSTEMS) -> pd.DataFrame:
        """Train, test and time the systems; merge everything into ``figures/tables``.

        Returns:
            this experiment's rows of ``experiment1.csv``.
        """
        names = list(names)
        results_rows, photo_tables, face_tables = [], [], []
        for name in names:
            rows, photos, faces = self.evaluate(name)
            results_rows.append(rows)
            photo_tables.append(photos)
            face_tables.append(faces)
        speed, stages = self.time(names)
        results_rows.append(speed)
        if "joint" in names:
            for name, photos in zip(names, photo_tables, strict=True):
                if name != "joint":
                    joint = photo_tables[names.index("joint")]
                    p = statistics.mcnemar_exact(
                        joint["correct"].to_numpy(bool), photos["correct"].to_numpy(bool)
                    )
                    row = {"metric": "mcnemar_p", "value": p, "n": len(photos), "system": name}
                    results_rows.append(pd.DataFrame([row]).assign(**self.columns()))
        rows = pd.concat(results_rows, ignore_index=True)
        tables = {
            PHOTOS_TABLE: pd.concat(photo_tables),
            FACES_TABLE: pd.concat(face_tables),
            TRAINING_TABLE: self.training_table(names),
            STAGES_TABLE: stages,
        }
        for file, table in tables.items():
            merge_table(paths.TABLES / file, table)
        merge_results(paths.TABLES / "experiment1.csv", rows)
        return rows

    def faces_table(self) -> pd.DataFrame:
        """One row a face and system, of all that were evaluated by :meth:`run`."""
        return self._own(FACES_TABLE)

    def stages_table(self) -> pd.DataFrame:
        """One row a system, stage and turn, in milliseconds, as :meth:`run` measured it."""
        return self._own(STAGES_TABLE)

    def _own(self, file: str) -> pd.DataFrame:
        table = read_table(paths.TABLES / file)
        mine = self.columns()
        return table[
            (
                table[["dataset", "split", "profile", "seed"]]
                == pd.Series(mine)[["dataset", "split", "profile", "seed"]]
            ).all(axis=1)
        ]

    def figure_about(self, notebook: str) -> dict:
        """What :func:`thesislib.figures.save` writes down about a figure of this experiment."""
        return {
            "notebook": f"{notebook}.ipynb",
            "dataset": self.data.name,
            "split": self.split_kind,
            "data_hash": self.dataset.content_hash,
            "profile": self.profile.name,
            "seed": self.seed,
        }

    def training_speed(self, name: str = "joint") -> dict:
        """Photos/s (median over epochs), share of measured peak FLOP/s, share spent waiting."""
        net, history = self.trained(name)
        photos = float(history["photos_per_second"].median())
        device = "cuda" if torch.cuda.is_available() else "cpu"
        flops = training_flops(net, self.profile.input_px)
        return {
            "photos_per_second": photos,
            "share_of_peak": photos * flops / peak_flops(device),
            "data_wait_share": float(history["data_wait_share"].median()),
        }


def _timed(work: Callable, value) -> tuple[object, float]:
    began = time.perf_counter()
    value = work(value)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return value, time.perf_counter() - began


def from_environment() -> Experiment:
    """The experiment that ``make figures`` asks for: PROFILE, DATA, SPLIT, SEED, EPOCHS, BATCH.

    Without DATA it is the default dataset of synthetic people; a relative DATA is meant from the
    project's folder, wherever the notebook runs. Without EPOCHS or BATCH it is the profile's.
    """
    profile = get_profile(os.environ.get("PROFILE") or "quick")
    for name in ("EPOCHS", "BATCH"):
        asked = os.environ.get(name)
        if asked:
            if not asked.isdecimal() or int(asked) < 1:
                raise ValueError(f"{name}={asked} is no whole number above 0")
            profile = dataclasses.replace(profile, **{name.lower(): int(asked)})
    data = os.environ.get("DATA")
    return Experiment(
        (paths.ROOT / data).resolve() if data else paths.synthetic(profile.people),
        os.environ.get("SPLIT") or "photo",
        profile,
        int(os.environ.get("SEED") or 0),
        progress="TQDM_DISABLE" not in os.environ,
    )


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.experiment1", description=__doc__)
    parser.add_argument("--data", type=Path, help="dataset folder; else synthetic people")
    parser.add_argument("--split", choices=("photo", "session"), default="photo")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--epochs", type=int, help="in place of the profile's")
    parser.add_argument("--batch", type=int, help="in place of the profile's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="checkpoint to begin from")
    parser.add_argument("--holdout", action="store_true", help="tune on part of the training split")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    arguments = parser.parse_args(argv)
    profile = get_profile(arguments.profile)
    changed = {"epochs": arguments.epochs, "batch": arguments.batch}
    profile = dataclasses.replace(profile, **{k: v for k, v in changed.items() if v is not None})
    experiment = Experiment(
        arguments.data or paths.synthetic(profile.people),
        arguments.split,
        profile,
        arguments.seed,
        arguments.start,
        arguments.holdout,
        progress="TQDM_DISABLE" not in os.environ,
    )
    experiment.prepare()
    if arguments.holdout:  # nothing is published from a tuning run
        rows = pd.concat([experiment.evaluate(name)[0] for name in arguments.systems])
    else:
        rows = experiment.run(arguments.systems)
    print(rows[["system", "metric", "value", "low", "high", "n"]].to_string(index=False))


if __name__ == "__main__":
    main()
