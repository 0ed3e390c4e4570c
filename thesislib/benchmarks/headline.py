"""How fast, how accurate, and how close to the limit: every number of ``benchmark.csv`` in one run.

Systems take turns photo by photo, so that what else the machine does hits all alike; what is
quoted is a ratio, to the thesis's own pipeline (dlib with upsampling 1, then the classifier of the
photo in plain PyTorch) on the same photos and threads. Command line::

    python -m thesislib.benchmark [--profile benchmark|smoke] [--peers <folder of weights>]

What is trained, once, and kept under ``runs/``, all on synthetic people at 320 pixels: a ResNet18
joint net, a ResNet34 one that begins as it, and the ResNet34 classifier on portraits; a ResNet18
joint net for each grid on scenes of 0 to 32 people. All are trained briefly: their accuracy shows
what an engine costs, not what the method can do.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from thesislib import paths, seeds, storage
from thesislib.baselines.two_stage import TwoStage
from thesislib.benchmarks.limits import machine_limits, training_flops, work_of
from thesislib.benchmarks.nets import SIZES, ContinuedExperiment, GridExperiment
from thesislib.benchmarks.peak_memory import peak_memory
from thesislib.benchmarks.peers import peers
from thesislib.benchmarks.timing import RUNS, stage_times, take_turns, torch_stage_times
from thesislib.data.detector import detect_faces
from thesislib.data.images import read_photo
from thesislib.deploy.engines import ENGINES, machine, missing, open_engine
from thesislib.deploy.export import ABOUT, build, export, read_about
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.int8 import accuracy, accuracy_check, within_limits
from thesislib.deploy.recogniser import EngineClassifier, Recogniser
from thesislib.engine.train import precision
from thesislib.experiments.baseline_comparison import MODEL, Experiment, module_hash
from thesislib.metrics.boxes import apply_box_calibration
from thesislib.models.heads import IdentityClassifier
from thesislib.profiles import Profile
from thesislib.synthetic import sets
from thesislib.synthetic.parameters import VERSION
from thesislib.synthetic.scene import render_photo, render_scene
from thesislib.synthetic.spec import SyntheticSet, identity_name
from thesislib.synthetic.worker import DrawingPool
from thesislib.tables import read_table

TABLE, LIMITS_TABLE = "benchmark.csv", "benchmark_limits.csv"
COLUMNS = (
    "system",
    "engine",
    "stage",
    "faces",
    "people",
    "batch",
    "threads",
    "ms_median",
    "ms_min",
    "ratio_to_thesis_pipeline",
    "peak_mb",
    "joint_accuracy_50",
    "mean_iou",
    "recall_50",
    "grid",
    "profile",
    "seed",
    "backbone",
    "input_px",
    "command",
)
REFERENCE = ("two_stage_up1", "torch")
# Precisions that must prove themselves against fp32 before they are offered.
_LOWERED = ("openvino_int8", "openvino_bf16")


def exported(
    experiment: Experiment,
    system: str,
    input_px: int | None = None,
    calibration: int = 200,
    check: tuple[Sequence[np.ndarray], Sequence[dict]] | None = None,
) -> Path:
    """Folder of a trained net's export, made once; int8 is calibrated on training photos.

    Args:
        experiment: that trains the net, if that was not done yet.
        system: ``joint``, or ``two_stage_photo`` for its classifier.
        input_px: shorter side that photos are scaled to; None for the profile's.
        calibration: photos to calibrate int8 on; 0 for no int8.
        check: of the joint net: photos, of neither training nor test, and their faces; layers
            are kept in fp32 until int8 is as accurate on them as it must be.
    """
    px = input_px or experiment.profile.input_px
    # A net exported otherwise is another one.
    made = f"{module_hash('export.py')} {calibration} {len(check[0]) if check else 0}"
    folder = experiment.run_folder(system) / f"export-{px}-{storage.text_hash(made)[:8]}"
    if (folder / ABOUT).exists():
        return folder
    net, _ = experiment.trained(system)
    train = experiment.train_photos
    order = seeds.generator(experiment.seed, "calibration").permutation(len(train))
    photos = [_read(experiment, train[at]) for at in order[:calibration]]
    if system != "joint":
        photos = [np.ascontiguousarray(photo.transpose(2, 0, 1)) for photo in photos]
    trial = accuracy_check(*check, net.identities) if check else None
    export(net, px, folder, photos, trial)
    return folder


def available(folder: Path) -> list[str]:
    """Engines that an exported net can have here."""
    about = read_about(folder)
    # A minute to compile, and slower than plain PyTorch, unless on a GPU.
    skipped = () if torch.cuda.is_available() else ("torch_compile",)
    return [name for name in ENGINES if name not in skipped and not missing(about, name)]


def measured_accuracy(
    systems: dict[object, Callable], photos: Sequence, truths: Sequence[dict]
) -> dict[object, dict]:
    """``joint_accuracy_50, mean_iou, recall_50`` of systems; dlib's boxes are calibrated first.

    Pipelines that differ in their classifier's engine share what the detector found.
    """
    detected: dict[int, list] = {}
    found = {}
    for key, system in systems.items():
        if isinstance(system, TwoStage):
            (_, detect), *others = system.stages
            if system.upsampling not in detected:
                detected[system.upsampling] = [detect(photo) for photo in photos]
            answers = []
            for state in detected[system.upsampling]:
                for _, stage in others:
                    state = stage(state)
                boxes = apply_box_calibration(state["boxes"], system.calibration)
                answers.append(state | {"boxes": boxes})
        else:
            answers = [system(photo) for photo in photos]
        found[key] = accuracy(answers, truths)
    return found


def _read(experiment: Experiment, photo) -> np.ndarray:
    return read_photo(experiment.dataset.folder / photo.name)


def _truth(experiment: Experiment, photo) -> dict:
    names = [experiment.identities[at] if at >= 0 else "" for at in photo.identities.tolist()]
    return {"boxes": photo.boxes.numpy(), "identities": names}


def _enlarged(photo: np.ndarray, px: int) -> np.ndarray:
    height, width = photo.shape[:2]
    scale = px / min(height, width)
    return np.array(Image.fromarray(photo).resize((round(width * scale), round(height * scale))))


def _offered(key: tuple, found: dict) -> bool:
    """Whether an engine of the joint net is as accurate on test photos as fp32."""
    full = found.get((key[0], "openvino", *key[2:]))
    lowered = key[0] == "joint" and key[1] in _LOWERED and full is not None
    return not lowered or within_limits(found[key], full)


def compare_engines(experiment: Experiment, runs: int = RUNS) -> pd.DataFrame:
    """The benchmark's headline in small: an experiment's nets, plain and on the best engine here.

    Without int8, whose calibration takes longer than all the rest.

    Args:
        experiment: whose joint net and classifier of photos are exported, at the profile's sizes.
        runs: timed calls of each.

    Returns:
        ``system, engine, ms_median, ratio`` (of frames a second, to the pipeline in plain
        PyTorch) and ``joint_accuracy_50, mean_iou, recall_50`` on the test photos.
    """
    threads, profile = torch.get_num_threads(), experiment.profile
    joint = exported(experiment, "joint", calibration=0)
    named = exported(experiment, "two_stage_photo", calibration=0)
    systems: dict[tuple[str, str], Callable] = {}
    for engine in (available(joint)[0], "torch"):
        systems["joint", engine] = Recogniser(joint, engine, threads)
    for engine in (available(named)[0], "torch"):
        systems["two_stage_photo", engine] = TwoStage(
            EngineClassifier(named, engine, threads),
            "photo",
            profile.input_px,
            profile.upsampling,
            experiment.calibration,
        )
    test = experiment.test_photos
    photos = [_read(experiment, photo) for photo in test]
    found = measured_accuracy(systems, photos, [_truth(experiment, photo) for photo in test])
    times = take_turns(systems, photos, runs)
    rows = [
        {
            "system": system,
            "engine": engine,
            "ms_median": float(np.median(ms)),
            "ratio": float(np.median(times["two_stage_photo", "torch"] / ms)),
            **found[system, engine],
        }
        for (system, engine), ms in times.items()
    ]
    return pd.DataFrame(rows)


class Benchmark:
    """One run: trains what is missing, measures everything, keeps the rows.

    Args:
        name: a name in ``SIZES``.
        seed: of everything random.
        peers_folder: see :func:`thesislib.peers.peers`.
        progress: say what is being done.
    """

    def __init__(
        self,
        name: str = "benchmark",
        seed: int = 0,
        peers_folder: Path | None = None,
        progress: bool = True,
    ) -> None:
        self.name, self.size, self.seed, self.progress = name, SIZES[name], seed, progress
        self.peers = peers(peers_folder)
        self.rows: list[dict] = []
        self._opened: dict[tuple[Path, str], EngineClassifier] = {}
        self._refused: set[tuple[str, str]] = set()  # engine, backbone: too inaccurate
        self.threads = torch.get_num_threads()
        self.began = time.monotonic()

    def say(self, what: str) -> None:
        if self.progress:
            print(f"{time.monotonic() - self.began:6.0f} s  {what}", flush=True)

    # --- what is measured -------------------------------------------------------------------

    def _profile(self, backbone: str, **other) -> Profile:
        settings = {
            "name": self.name,
            "backbone": backbone,
            "input_px": self.size.input_px,
            "pooling": 2,
            "anchors": 1,
            "normalised": True,
            "epochs": self.size.epochs,
            "batch": 16,
            "learning_rate": 1e-3,
            "crop_scale": (0.9, 1.1),
            "label_smoothing": 0.1,
        }
        return Profile(**settings | other)

    def data(self, kind: str) -> Path:
        """Dataset folder of the ``portraits`` or the ``scenes``, made if it is not there."""
        size = self.size
        folder = paths.DATA / f"synthetic-{self.name}-{kind}"
        photos, sessions = (size.portraits, 2) if kind == "portraits" else (size.scenes, 0)
        if not (folder / "annotations.csv").exists():
            self.say(f"drawing {photos} {kind}")
        spec = SyntheticSet(size.people, photos, sessions, size.input_px)
        sets.make(folder, spec, progress=False)
        return folder

    def _train(self, experiment: Experiment, system: str, what: str) -> Path:
        """The trained net's file."""
        file = experiment.run_folder(system) / MODEL
        if not file.exists():
            self.say(f"training {what}")
            experiment.trained(system)
        return file

    def experiment(self, backbone: str) -> Experiment:
        """Portraits, photo split; the last backbone learns at a small size, others begin as it."""
        data, size = self.data("portraits"), self.size
        smallest = backbone == size.backbones[-1]
        if smallest:
            profile = self._profile(
                backbone, input_px=size.small_px, pooling=1, epochs=size.small_epochs
            )
            first = Experiment(data, "photo", profile, self.seed, progress=False)
            what = f"{backbone}, {size.small_px} px"
        else:
            first, what = self.experiment(size.backbones[-1]), ""
        start = self._train(first, "joint", what)
        profile = self._profile(backbone)
        experiment = ContinuedExperiment(data, "photo", profile, self.seed, start, progress=False)
        self._train(experiment, "joint", f"{backbone}, {size.input_px} px")
        return experiment

    def grid_experiment(self, grid: int) -> GridExperiment:
        """Scenes of the same people, learned from where the portraits' net ended."""
        backbone = self.size.backbones[-1]
        start = self.experiment(backbone).run_folder("joint") / MODEL
        # Three boxes a cell, so that a cell that holds several faces is not the limit at once.
        profile = self._profile(backbone, anchors=3, epochs=self.size.scene_epochs)
        data = self.data("scenes")
        experiment = GridExperiment(data, "photo", profile, self.seed, start, False, False, grid)
        self._train(experiment, "joint", f"{backbone}, {grid} x {grid} cells, scenes")
        return experiment

    def classifier(self) -> tuple[Experiment, Path]:
        """The two-stage classifier of the first backbone, begun from the joint net's backbone."""
        joint = self.experiment(self.size.backbones[0])
        start = joint.run_folder("joint") / MODEL
        experiment = dataclasses.replace(joint, start=start)
        self._train(experiment, "two_stage_photo", f"{self.size.backbones[0]}, classifier")
        return experiment, self.exported(experiment, "two_stage_photo")

    def exported(self, experiment: Experiment, system: str, **other) -> Path:
        """See :func:`exported`."""
        self.say(f"export of {system}, {experiment.profile.backbone}")
        return exported(experiment, system, **{"calibration": self.size.calibration} | other)

    def two_stage(self, folder: Path, engine: str, sees: str, upsampling: int, px: int) -> TwoStage:
        """The pipeline with its classifier on an engine."""
        experiment = self.experiment(self.size.backbones[0])
        profile = dataclasses.replace(experiment.profile, upsampling=upsampling)
        calibration = dataclasses.replace(experiment, profile=profile).calibration
        return TwoStage(self.opened(folder, engine), sees, px, upsampling, calibration)

    def opened(self, folder: Path, engine: str) -> EngineClassifier:
        """A classifier on an engine; compiled once, whatever pipelines use it."""
        if (folder, engine) not in self._opened:
            self._opened[folder, engine] = EngineClassifier(folder, engine, self.threads)
        return self._opened[folder, engine]

    # --- rows -------------------------------------------------------------------------------

    def best_engine(self, folder: Path, backbone: str) -> str:
        """The first in ``ENGINES`` that is there and was not too inaccurate on test photos."""
        refused = self._refused
        return next(name for name in available(folder) if (name, backbone) not in refused)

    def add(self, system: str, engine: str, ms, backbone: str, **other) -> None:
        """One row; ``ms`` are the times of single photos, or one number."""
        ms = np.atleast_1d(np.asarray(ms, dtype=float))
        row = {
            "system": system,
            "engine": engine,
            "stage": "total",
            "faces": 1,
            "people": self.size.people,
            "batch": 1,
            "threads": self.threads,
            "ms_median": float(np.median(ms)),
            "ms_min": float(ms.min()),
            "input_px": self.size.input_px,
            "backbone": backbone,
        }
        self.rows.append(row | other)

    def add_turns(self, times: dict, own: dict | None = None, **same: object) -> None:
        """A row for each system that took turns.

        Args:
            times: milliseconds by ``(system, engine, backbone, ...)``.
            own: columns of each.
            **same: columns of all.
        """
        own = own or {}
        reference = next((ms for key, ms in times.items() if key[:2] == REFERENCE), np.nan)
        for key, ms in times.items():
            # Turn by turn: what disturbed the machine disturbed both.
            ratio = float(np.median(reference / ms))
            columns = {"ratio_to_thesis_pipeline": ratio} | same | own.get(key, {})
            self.add(*key[:2], ms, key[2], **columns)

    def headline(self) -> None:
        """Engines and backbones on portraits: time, ratio, accuracy, stages, memory."""
        size, first = self.size, self.size.backbones[0]
        classifier, named = self.classifier()
        test = classifier.test_photos
        photos = [_read(classifier, photo) for photo in test]
        truths = [_truth(classifier, photo) for photo in test]
        systems, folders = {}, {}
        for backbone in size.backbones:
            folder = self.exported(self.experiment(backbone), "joint", check=self.more_portraits())
            folders[backbone] = folder
            for engine in available(folder):
                key = ("joint", engine, backbone)
                systems[key] = Recogniser(folder, engine, self.threads)
        for upsampling in (1, 0):
            for engine in available(named):
                key = (f"two_stage_up{upsampling}", engine, first)
                systems[key] = self.two_stage(named, engine, "photo", upsampling, size.input_px)
        systems |= {(name, "own", "own"): system for name, system in self.peers.items()}
        self.say(f"accuracy of {len(systems)} systems on {len(photos)} test photos")
        own = measured_accuracy(systems, photos, truths)
        for key in [key for key in systems if not _offered(key, own)]:
            self.say(f"{key[1]}, {key[2]}: costs too much accuracy on test photos, not offered")
            del systems[key]
            self._refused.add((key[1], key[2]))
        for key, columns in own.items():
            columns["grid"] = size.input_px // 64 if key[0] == "joint" else np.nan
        self.say("timing, turn by turn")
        times = take_turns(systems, photos, size.runs, warm_ups=0)  # all are warm by now
        self.say("memory")
        # A compiled net would be compiled all over again.
        measured = [key for key in systems if key[0] == "joint" and key[1] != "torch_compile"]
        with ThreadPoolExecutor(self.threads) as pool:
            peaks = pool.map(
                lambda key: peak_memory(folders[key[2]], key[1], size.input_px), measured
            )
        for key, peak in zip(measured, peaks, strict=True):
            own[key]["peak_mb"] = peak
        self.add_turns(times, own)
        self.say("stages")
        for system, engine, backbone in systems:
            if system == "joint":
                stages = self._stages(folders[backbone], engine, photos[0])
                for stage, ms in stages.items():
                    grid = size.input_px // 64
                    self.add("joint", engine, ms, backbone, stage=stage, grid=grid)
        for upsampling in (0, 1):
            detector = functools.partial(detect_faces, upsampling=upsampling)
            ms = take_turns({"detector": detector}, photos, size.runs)["detector"]
            self.add(f"two_stage_up{upsampling}", "dlib", ms, first, stage="detector")

    def _stages(self, folder: Path, engine: str, photo: np.ndarray) -> dict:
        about = read_about(folder)
        if engine.startswith("openvino"):
            return stage_times(folder, engine, photo, self.threads, self.size.runs)
        if engine == "torch":
            net = build(about, folder)
            return torch_stage_times(net, about["input_px"], photo, self.size.runs)
        return {}

    def faces(self) -> None:
        """Time and recall against the number of faces in a photo, for each grid and the pipeline.

        The pipeline names each face by itself here, as it must where there are several.
        """
        size, nets, grids = self.size, {}, {}
        for grid in size.grids:
            # fp32 or bf16 for all: what int8 costs a crowd is another question.
            folder = self.exported(self.grid_experiment(grid), "joint", calibration=0)
            # The 20 x 20 net is built by this module, and has no form in plain PyTorch.
            engine = available(folder)[0]
            key = ("joint", engine, size.backbones[-1], grid)
            nets[key], grids[key] = Recogniser(folder, engine, self.threads), {"grid": grid}
        _, named = self.classifier()
        lowered = available(named)
        same = engine if engine in lowered else lowered[0]
        for upsampling, engine in ((1, "torch"), (1, same), (0, same)):
            key = (f"two_stage_up{upsampling}", engine, size.backbones[0])
            nets[key] = self.two_stage(named, engine, "face", upsampling, size.face_px)
        nets |= {(name, "own", "own"): system for name, system in self.peers.items()}
        for count in size.face_counts:
            photos, truths = self.scenes(count)
            self.say(f"{count} faces")
            found = measured_accuracy(nets, photos, truths)
            own = {key: grids.get(key, {}) | {"recall_50": found[key]["recall_50"]} for key in nets}
            times = take_turns(nets, photos, size.runs, warm_ups=0)  # all are warm by now
            self.add_turns(times, own, faces=count)

    def scenes(self, count: int) -> tuple[list[np.ndarray], list[dict]]:
        """Photos of exactly ``count`` people each that no net was trained on, and their faces."""
        size = self.size
        people, numbers = (0, size.people), range(10**6, 10**6 + size.scenes_a_count)
        tasks = [(number, people, self.seed, size.input_px, count) for number in numbers]
        photos, faces = self._drawn(f"scenes-{count}", render_scene, tasks)
        return photos, [{"boxes": boxes, "identities": ["?"] * len(boxes)} for boxes in faces]

    def more_portraits(self) -> tuple[list[np.ndarray], list[dict]]:
        """Photos of the portraits' people and sittings in neither part, and their faces."""
        size = self.size
        keys = [
            (person, sitting, 1000 + shot)
            for person in range(size.people)
            for sitting in range(2)
            for shot in range(size.checks // (2 * size.people))
        ]
        tasks = [(*key, self.seed, size.input_px) for key in keys]
        photos, faces = self._drawn("portraits", render_photo, tasks)
        truths = [
            {"boxes": boxes, "identities": [identity_name(key[0])]}
            for boxes, key in zip(faces, keys, strict=True)
        ]
        return photos, truths

    def _drawn(self, name: str, draw: Callable, tasks: list[tuple]) -> tuple[list, np.ndarray]:
        """Photos and boxes that ``draw`` gives for some arguments, as many boxes in each."""
        size = self.size
        file = f"{name}-{VERSION}-{size.people}-{size.input_px}-{len(tasks)}-{self.seed}.npz"
        kept = paths.RUNS / "benchmark" / file
        if not kept.exists():
            self.say(f"drawing {len(tasks)} {name}")
            drawn = list(self._workers.map(draw, *zip(*tasks, strict=True)))
            photos = np.stack([photo for photo, _ in drawn])
            boxes = np.stack([[face.box for face in faces] for _, faces in drawn])
            with storage.atomic_write(kept) as aside:
                np.savez_compressed(aside, photos=photos, boxes=boxes)
        with np.load(kept) as file:
            return list(file["photos"]), file["boxes"]

    @functools.cached_property
    def _workers(self) -> DrawingPool:
        """Processes that draw; they take seconds to start, and sleep while something is timed."""
        return DrawingPool(2)

    def photo_sizes(self) -> None:
        """Time against the photo's size, the net taking it as it is; ``input_px`` is that size."""
        size, backbone = self.size, self.size.backbones[-1]
        experiment = self.experiment(backbone)
        _, named = self.classifier()
        test = experiment.test_photos[:4]
        for px in size.photo_px:
            photos = [_enlarged(_read(experiment, photo), px) for photo in test]
            # For its time alone, which calibration does not change: enlarged photos show no more.
            folder = self.exported(experiment, "joint", input_px=px, calibration=8)
            self.say(f"photos of {px} px")
            systems = {
                ("joint", engine, backbone): Recogniser(folder, engine, self.threads)
                for engine in (self.best_engine(folder, backbone), "torch")
            }
            for engine, up in ((available(named)[0], 0), ("torch", 1)):
                system = self.two_stage(named, engine, "photo", up, px)
                systems[f"two_stage_up{up}", engine, size.backbones[0]] = system
            self.add_turns(take_turns(systems, photos, size.runs), input_px=px)

    def batches_and_threads(self) -> None:
        """Time a photo against the batch and against threads."""
        size = self.size
        for backbone in size.backbones:
            experiment = self.experiment(backbone)
            folder = self.exported(experiment, "joint", check=self.more_portraits())
            about = read_about(folder)
            photo = _read(experiment, experiment.test_photos[0])
            fastest = self.best_engine(folder, backbone)
            self.say(f"batches and threads, {backbone}")
            for threads in range(1, self.threads):
                for engine in (fastest, "torch"):
                    _, run = open_engine(folder, about, engine, threads)
                    ms = take_turns({engine: lambda p, r=run: r(p[None])}, [photo], size.runs)
                    self.add("joint", engine, ms[engine], backbone, threads=threads)
                torch.set_num_threads(self.threads)
            _, run = open_engine(folder, about, fastest, self.threads)
            for batch in size.batches:
                together = np.stack([photo] * batch)
                ms = take_turns({"batch": run}, [together], size.runs)["batch"] / batch
                self.add("joint", fastest, ms, backbone, batch=batch)

    def identities(self) -> None:
        """Time of the classifier, and of a search in a gallery, against the number of people."""
        self.say("identities")
        backbone, runs = self.size.backbones[-1], self.size.runs
        draws = seeds.generator(self.seed, "benchmark")
        for people in self.size.identities:
            classifier = IdentityClassifier(512, people, normalised=True).eval()
            with torch.inference_mode():
                # Normalised weights are made once, not for each photo.
                weight = classifier._weight().flatten(1).contiguous()
            gallery = Gallery(512, "made up")
            templates = draws.standard_normal((people, 512), dtype=np.float32)
            templates /= np.linalg.norm(templates, axis=1, keepdims=True)
            gallery.enrol([str(at) for at in range(people)], templates)
            for faces in (1, 32):
                probes = templates[np.arange(faces) % people]

                @torch.inference_mode()
                def classify(embeddings, weight=weight):
                    return (torch.from_numpy(embeddings) @ weight.T).softmax(dim=1).max(dim=1)

                systems = {
                    ("joint", "torch", backbone): classify,
                    ("gallery", "exact", backbone): lambda e, g=gallery: g.identify(e, 0.5),
                }
                # One after the other: NumPy's threads stay awake for longer than the pause.
                for key, system in systems.items():
                    time.sleep(0.2)
                    times = take_turns({key: system}, [probes], runs)
                    self.add_turns(times, stage="classifier", people=people, faces=faces)

    def limits(self) -> pd.DataFrame:
        """Each engine's point in the roofline figure, beside the machine's measured peaks.

        Returns:
            ``backbone, engine, precision, operations, bytes, ms, operations_per_second, peak,
            memory, share_of_peak``; ``ms`` is the network stage where it is known, else the
            whole. An engine named ``training`` is PyTorch while it trains.
        """
        self.say("the machine's limits")
        peaks = machine_limits().set_index("limit")["value"]
        measured = pd.DataFrame(self.rows)
        joint = measured[(measured["system"] == "joint") & measured["grid"].notna()]
        rows = []
        for backbone, of_net in joint.groupby("backbone", sort=False):
            experiment = self.experiment(backbone)
            net, _ = experiment.trained("joint")
            photo = _read(experiment, experiment.test_photos[0])
            operations, moved = work_of(net, photo)
            for engine, own in of_net.groupby("engine", sort=False):
                own = own.set_index("stage")["ms_median"]
                lowered = {"openvino_int8": "int8", "openvino_bf16": "bf16"}
                kind = lowered.get(engine, "fp32")
                ms = own["network"] if "network" in own else own["total"]
                rows.append((backbone, engine, kind, operations, moved, ms))
            trained = "bf16" if precision() == "bf16" else "fp32"
            # Of a crop, as it was trained on; each layer's numbers move thrice.
            operations = training_flops(net, self.size.input_px)
            ms = 1000 / experiment.training_speed()["photos_per_second"]
            rows.append((backbone, "training", trained, operations, 3 * moved, ms))
        table = pd.DataFrame(
            rows, columns=["backbone", "engine", "precision", "operations", "bytes", "ms"]
        )
        table["bytes"] *= table["precision"].map({"int8": 1, "bf16": 2, "fp32": 4})
        table["operations_per_second"] = table["operations"] / (table["ms"] / 1000)
        table["peak"], table["memory"] = table["precision"].map(peaks), peaks["memory"]
        table["share_of_peak"] = table["operations_per_second"] / table["peak"]
        return table

    def run(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Everything; tables are written to ``figures/tables``.

        Returns:
            ``benchmark.csv`` and ``benchmark_limits.csv``.
        """
        self.say(f"{machine()}, {self.threads} threads, seed {self.seed}")
        self.headline()
        limits_table = self.limits()
        self.batches_and_threads()
        self.photo_sizes()
        self.identities()
        self.faces()
        command = "python -m thesislib.benchmark"
        command += "" if self.name == "benchmark" else f" --profile {self.name}"
        about = {"profile": self.name, "seed": self.seed, "machine": machine(), "command": command}
        table = pd.DataFrame(self.rows).assign(**about)
        table = table.reindex(columns=[*COLUMNS[:-1], "machine", "command"])
        limits_table = limits_table.assign(**about, input_px=self.size.input_px)
        for file, rows in ((TABLE, table), (LIMITS_TABLE, limits_table)):
            text = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")
            storage.write_text(paths.PUBLISHED_TABLES / file, text)
        self.say("done")
        return table, limits_table


def targets(table: pd.DataFrame, limits_table: pd.DataFrame) -> pd.DataFrame:
    """The targets of speed beside what was measured.

    Args:
        table: ``benchmark.csv``.
        limits_table: ``benchmark_limits.csv``.

    Returns:
        ``target, least, most, measured, met``.
    """
    single = table[
        (table["stage"] == "total") & (table["batch"] == 1) & table["joint_accuracy_50"].notna()
    ]
    joint = single[single["system"] == "joint"]
    rows = []
    for backbone, least in (("resnet34", 5.3), ("resnet18", 10.0)):
        best = joint[joint["backbone"] == backbone]["ratio_to_thesis_pipeline"].max()
        rows.append((f"{backbone}, best engine, FPS against the thesis's pipeline", least, best))
    engine = "openvino_int8"
    same = single[(single["engine"] == engine) & (single["backbone"] == "resnet34")]
    ms = same.set_index("system")["ms_median"]
    for system in ("two_stage_up1", "two_stage_up0"):
        if {"joint", system} <= set(ms.index):
            what = f"resnet34, int8, FPS against {system} with int8"
            rows.append((what, 2.5, ms[system] / ms["joint"]))
    share = limits_table[
        (limits_table["engine"] == engine) & (limits_table["backbone"] == "resnet34")
    ]
    rows += [("resnet34, share of int8 peak", 0.5, value) for value in share["share_of_peak"]]
    judged = [(what, least, np.nan, value, value >= least) for what, least, value in rows]
    crowd = table[table["recall_50"].notna() & table["joint_accuracy_50"].isna()]
    for grid, own in crowd[crowd["system"] == "joint"].groupby("grid"):
        by_faces = own.set_index("faces")["ms_median"]
        most, least = by_faces.index.max(), by_faces.index.min()
        value = by_faces[most] / by_faces[least]
        what = f"grid {grid:.0f}, time of {most} faces against {least}"
        judged.append((what, np.nan, 1.15, value, value <= 1.15))
    stages = table[table["stage"].isin(["preprocess", "network", "postprocess"])]
    for (backbone, engine), own in stages.groupby(["backbone", "engine"]):
        ms = own.set_index("stage")["ms_median"]
        value = 1 - ms["network"] / ms.sum()
        what = f"{backbone}, {engine}, share of pre- and postprocessing"
        judged.append((what, np.nan, 0.15, value, value <= 0.15))
    return pd.DataFrame(judged, columns=["target", "least", "most", "measured", "met"])


def read_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """``benchmark.csv`` and ``benchmark_limits.csv`` as :meth:`Benchmark.run` wrote them."""
    return tuple(read_table(paths.PUBLISHED_TABLES / file) for file in (TABLE, LIMITS_TABLE))


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.benchmark")
    parser.add_argument("--profile", choices=SIZES, default="benchmark")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", type=Path, help="folder with the weights of OpenCV's models")
    arguments = parser.parse_args(argv)
    tables = Benchmark(arguments.profile, arguments.seed, arguments.peers).run()
    print(targets(*tables).to_string(index=False, float_format="%.3g"))


if __name__ == "__main__":
    main()
