"""How fast, how accurate, and how close to the limit: every number of ``benchmark.csv`` in one run.

Systems take turns photo by photo, so that what else the machine does hits all alike; what is
quoted is a ratio, to the thesis's own pipeline (dlib with upsampling 1, then the classifier of the
photo in plain PyTorch) on the same photo and threads. Command line::

    python -m thesislib.benchmark [--small] [--peers <folder with the peers' weights>]

What is trained, once, and kept under ``runs/``: ResNet34 and ResNet18 joint nets and the ResNet34
classifier on portraits of synthetic people at 320 pixels, and a ResNet18 joint net for each grid
on scenes of 0 to 32 of them. All are trained briefly: their accuracy shows what an engine costs,
not what the method can do.
"""

import argparse
import dataclasses
import functools
import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from thesislib import paths, seeds, storage
from thesislib.baseline import detect_faces
from thesislib.data import synthetic_sets
from thesislib.data.photos import read_photo
from thesislib.data.synthetic import VERSION, render_scene
from thesislib.data.synthetic_sets import SyntheticSet
from thesislib.experiment1 import MODEL, Experiment
from thesislib.export import (
    ABOUT,
    INT8,
    OPENVINO,
    PhotosToFaces,
    accuracy,
    accuracy_check,
    build,
    export,
    read_about,
    within_limits,
)
from thesislib.loss import JointLoss
from thesislib.metrics import apply_box_calibration
from thesislib.model import IdentityClassifier, JointNet
from thesislib.profiles import Profile
from thesislib.recogniser import (
    ENGINES,
    EngineClassifier,
    Recogniser,
    machine,
    missing,
    open_engine,
)
from thesislib.systems import TwoStage

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
    "recall_50",
    "grid",
    "profile",
    "seed",
    "backbone",
    "input_px",
    "command",
)
WARM_UPS, RUNS = 5, 30
REFERENCE = ("two_stage_up1", "torch")
# Precisions that must prove themselves against fp32 before they are offered.
_LOWERED = ("openvino_int8", "openvino_bf16")


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done; the numbers that decide how long it takes."""

    people: int = 20
    portraits: int = 300
    scenes: int = 150
    scenes_a_count: int = 4  # photos for each number of faces
    face_counts: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    epochs: int = 8
    scene_epochs: int = 12
    input_px: int = 320
    photo_px: tuple[int, ...] = (160, 640)
    backbones: tuple[str, ...] = ("resnet34", "resnet18")
    grids: tuple[int, ...] = (5, 10, 20)
    batches: tuple[int, ...] = (2, 4, 8)
    identities: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000)
    gallery: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    calibration: int = 100
    runs: int = RUNS


SIZES = {
    "benchmark": Size(),
    # For notebooks and tests: the same questions, minutes or seconds, rougher answers.
    "small": Size(
        people=4,
        portraits=32,
        scenes=16,
        scenes_a_count=1,
        face_counts=(1, 4),
        epochs=2,
        scene_epochs=1,
        input_px=128,
        photo_px=(),
        backbones=("resnet18",),
        grids=(2, 4),
        batches=(2,),
        identities=(10, 1000),
        gallery=(1000,),
        calibration=8,
        runs=5,
    ),
}


class EarlyStageNet(JointNet):
    """A joint net on the ResNet's third stage: stride 16, so a 20 x 20 grid at 320 pixels."""

    def __init__(self, identities, anchors, backbone, embedding_dim, normalised, loss) -> None:
        super().__init__(identities, anchors, backbone, None, 1, embedding_dim, normalised, loss)
        self.cell = 16
        self.backbone.layer4 = nn.Identity()
        for name in ("regression_head", "embedding_head"):
            head = getattr(self, name)
            fine = nn.Conv2d(256, head.out_channels, kernel_size=1)
            with torch.no_grad():
                fine.bias.copy_(head.bias)
                if name == "regression_head":
                    fine.weight.normal_(std=0.01)
            setattr(self, name, fine)


@dataclasses.dataclass(frozen=True)
class GridExperiment(Experiment):
    """Training on scenes with a grid of ``grid`` x ``grid`` cells at the input's size."""

    grid: int = 5

    def new_net(self, system: str) -> nn.Module:
        p = self.profile
        stride = p.input_px // self.grid
        if stride != 16:
            pooled = dataclasses.replace(p, pooling=stride // 32)
            return Experiment.new_net(dataclasses.replace(self, profile=pooled), system)
        torch.manual_seed(seeds.torch_seed(self.seed, "weights"))
        loss = JointLoss(label_smoothing=p.label_smoothing)
        return EarlyStageNet(
            self.identities, self.anchors, p.backbone, p.embedding_dim, p.normalised, loss
        )

    def _about(self, system: str) -> dict:
        return {**super()._about(system), "grid": self.grid}


def _profile(size: Size, backbone: str, scenes: bool) -> Profile:
    return Profile(
        name="benchmark" if size == SIZES["benchmark"] else "benchmark-small",
        backbone=backbone,
        input_px=size.input_px,
        pooling=2,
        # Three boxes a cell, so that a cell that holds several faces is not the limit at once.
        anchors=3 if scenes else 1,
        normalised=True,
        epochs=size.scene_epochs if scenes else size.epochs,
        batch=16,
        learning_rate=1e-3,
        crop_scale=(0.9, 1.1),
        label_smoothing=0.1,
    )


# --- timing ---------------------------------------------------------------------------------------


def take_turns(
    systems: dict, photos: Sequence, runs: int = RUNS, warm_ups: int = WARM_UPS
) -> dict[object, np.ndarray]:
    """Time systems on the same photos, one after the other on each.

    Args:
        systems: callables of one photo, by name.
        photos: taken in turn, from the first again after the last.
        runs: timed calls of each system.
        warm_ups: calls before those.

    Returns:
        milliseconds [runs] of each system.
    """
    times: dict[object, list[float]] = {name: [] for name in systems}
    for turn in range(warm_ups + runs):
        photo = photos[turn % len(photos)]
        for name, system in systems.items():
            began = time.perf_counter()
            system(photo)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: np.array(values[warm_ups:]) for name, values in times.items()}


def stage_times(folder: Path, engine: str, photo: np.ndarray, runs: int) -> dict:
    """Milliseconds (median) of an engine's preprocess, network and postprocess stages.

    OpenVINO's own counters, node by node: before the first convolution, up to the last, and what
    remains of the whole call, conversion to NumPy included.
    """
    import openvino as ov

    file = folder / (INT8 if engine == "openvino_int8" else OPENVINO)
    settings = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
    settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    if engine == "openvino":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = ov.Core().compile_model(file, "CPU", settings).create_infer_request()
    rows = []
    for _ in range(WARM_UPS + runs):
        began = time.perf_counter()
        answer = request.infer([photo[None]])
        _ = [value.copy() for value in answer.values()]
        whole = 1000 * (time.perf_counter() - began)
        nodes = [(n.node_type, n.real_time.total_seconds() * 1000) for n in request.profiling_info]
        convolutions = [at for at, (kind, _) in enumerate(nodes) if kind == "Convolution"]
        before = sum(ms for _, ms in nodes[: convolutions[0]])
        network = sum(ms for _, ms in nodes[convolutions[0] : convolutions[-1] + 1])
        rows.append((before, network, whole - before - network))
    median = np.median(np.array(rows[WARM_UPS:]), axis=0)
    return dict(zip(("preprocess", "network", "postprocess"), median.tolist(), strict=True))


def torch_stage_times(net: JointNet, input_px: int, photo: np.ndarray, runs: int) -> dict:
    """As :func:`stage_times`, of plain PyTorch."""
    graph, rows = PhotosToFaces(net, input_px), []
    with torch.inference_mode():
        for _ in range(WARM_UPS + runs):
            marks = [time.perf_counter()]
            batch, scaled = graph.scale(torch.from_numpy(photo[None]))
            marks.append(time.perf_counter())
            outputs = net.heads(batch)
            marks.append(time.perf_counter())
            _ = [value.numpy() for value in graph.answer(*outputs, scaled, photo.shape[:2])]
            marks.append(time.perf_counter())
            rows.append(1000 * np.diff(marks))
    median = np.median(np.array(rows[WARM_UPS:]), axis=0)
    return dict(zip(("preprocess", "network", "postprocess"), median.tolist(), strict=True))


def peak_memory(folder: Path, engine: str, photo_px: int) -> float:
    """Most resident memory in MB of a process that opens a net and answers ten photos."""
    words = [sys.executable, "-m", "thesislib.benchmark", "--peak", str(folder), engine]
    done = subprocess.run(
        [*words, str(photo_px)], capture_output=True, text=True, check=True, env=os.environ
    )
    return float(done.stdout.split()[-1])


def _print_peak(folder: str, engine: str, photo_px: str) -> None:
    recognise = Recogniser(folder, engine)
    side = int(photo_px)
    photo = np.zeros((side, side * 4 // 3, 3), np.uint8)
    for _ in range(10):
        recognise(photo)
    # Linux counts kilobytes, macOS bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


# --- the limit ------------------------------------------------------------------------------------


def best_seconds(work: Callable, seconds: float = 0.7) -> float:
    """Shortest of the calls that fit into that time."""
    best, end = np.inf, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def machine_limits() -> pd.DataFrame:
    """Peaks measured on this machine: ``limit, value``, in operations or bytes a second.

    Matrix products in ``fp32``, ``bf16`` and ``int8`` (a multiplication and an addition are two
    operations), the best of three sizes; ``memory`` is a copy of 256 MB, read and written.
    """
    rows = {}
    for name, dtype in (
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("int8", torch.int8),
    ):
        rates = []
        for n in (1024, 1536, 2048):
            if name == "int8":
                a = torch.randint(-127, 127, (n, n), dtype=dtype)
                multiply = functools.partial(torch._int_mm, a, a)
            else:
                a = torch.randn(n, n).to(dtype)
                multiply = functools.partial(torch.matmul, a, a)
            rates.append(2 * n**3 / best_seconds(multiply))
        rows[name] = max(rates)
    source = torch.zeros(64 * 2**20, dtype=torch.float32)
    target = torch.empty_like(source)
    rows["memory"] = 2 * source.nbytes / best_seconds(lambda: target.copy_(source))
    return pd.DataFrame({"limit": rows.keys(), "value": rows.values()})


def work_of(net: JointNet, photo: np.ndarray) -> tuple[float, float]:
    """Operations of one photo, and numbers moved if each layer reads and writes memory once.

    Args:
        net: in evaluation mode.
        photo: uint8 [H, W, 3] in the network's scale.

    Returns:
        operations as PyTorch's FlopCounterMode counts them, and the sizes of the inputs, weights
        and outputs of all convolutions, in numbers.
    """
    moved = 0

    def count(module, inputs, output):
        nonlocal moved
        moved += inputs[0].numel() + module.weight.numel() + output.numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    try:
        batch, _ = net.batch([torch.from_numpy(photo).permute(2, 0, 1)])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net.heads(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return float(counter.get_total_flops()), float(moved)


# --- peers ----------------------------------------------------------------------------------------


def peers(folder: Path | None) -> dict[str, Callable]:
    """What users would pick instead, as far as it is installed and its weights are at hand.

    Args:
        folder: with OpenCV's ``face_detection_yunet*.onnx`` and ``face_recognition_sface*.onnx``;
            None for no peers. Of each peer that is left out it is printed why.

    Returns:
        functions from a photo uint8 [H, W, 3] to an answer with ``boxes`` and ``scores``.
    """
    if folder is None:
        return {}
    found: dict[str, Callable] = {}
    if importlib.util.find_spec("cv2") is None:
        print("peer yunet_sface: opencv-python is not installed; left out")
    else:
        files = [sorted(folder.glob(f"{n}*.onnx")) for n in ("face_detection_yunet", "face_reco")]
        if all(files):
            found["yunet_sface"] = _yunet_sface(*(matching[0] for matching in files))
        else:
            print(
                f"peer yunet_sface: no face_detection_yunet*.onnx and sface in {folder}; left out"
            )
    if importlib.util.find_spec("facenet_pytorch") is None:
        print("peer mtcnn: facenet-pytorch is not installed; left out")
    else:
        found["mtcnn"] = _mtcnn()
    return found


def _yunet_sface(detector_file: Path, recogniser_file: Path) -> Callable:
    import cv2

    detector = cv2.FaceDetectorYN.create(str(detector_file), "", (320, 320))
    recogniser = cv2.FaceRecognizerSF.create(str(recogniser_file), "")

    def system(photo: np.ndarray) -> dict:
        bgr = np.ascontiguousarray(photo[:, :, ::-1])
        detector.setInputSize(photo.shape[1::-1])
        _, faces = detector.detect(bgr)
        faces = np.zeros((0, 15), np.float32) if faces is None else faces
        for face in faces:
            recogniser.feature(recogniser.alignCrop(bgr, face))
        boxes = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1)
        return {"boxes": boxes, "scores": faces[:, 14], "identities": [""] * len(faces)}

    return system


def _mtcnn() -> Callable:
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True)

    def system(photo: np.ndarray) -> dict:
        boxes, scores = detector.detect(photo)
        boxes = np.zeros((0, 4)) if boxes is None else boxes
        scores = np.zeros(0) if len(boxes) == 0 else scores
        return {"boxes": boxes, "scores": scores, "identities": [""] * len(boxes)}

    return system


# --- the run --------------------------------------------------------------------------------------


class Benchmark:
    """One run: trains what is missing, measures everything, keeps the rows.

    Args:
        name: a name in ``SIZES``.
        seed: of everything random.
        peers_folder: see :func:`peers`.
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
        self.threads = torch.get_num_threads()
        self.began = time.monotonic()

    def say(self, what: str) -> None:
        if self.progress:
            print(f"{time.monotonic() - self.began:6.0f} s  {what}", flush=True)

    # --- what is measured -------------------------------------------------------------------

    def experiment(self, backbone: str, start: Path | None = None) -> Experiment:
        """Portraits of ``size.people`` synthetic people, photo split."""
        profile = _profile(self.size, backbone, scenes=False)
        data = paths.DATA / f"synthetic-{profile.name}"
        spec = SyntheticSet(self.size.people, self.size.portraits, 2, self.size.input_px)
        synthetic_sets.make(data, spec, progress=False)
        return Experiment(data, "photo", profile, self.seed, start, progress=False)

    def grid_experiment(self, grid: int) -> GridExperiment:
        """Scenes of the same people, learned from where the portraits' net ended."""
        backbone = self.size.backbones[-1]
        portraits = self.experiment(backbone)
        profile = _profile(self.size, backbone, scenes=True)
        data = paths.DATA / f"synthetic-{profile.name}-scenes"
        spec = SyntheticSet(self.size.people, self.size.scenes, 0, self.size.input_px)
        synthetic_sets.make(data, spec, progress=False)
        start = portraits.run_folder("joint") / MODEL
        return GridExperiment(data, "photo", profile, self.seed, start, progress=False, grid=grid)

    def exported(self, experiment: Experiment, system: str, input_px: int | None = None) -> Path:
        """Folder of a trained net's export, made once."""
        px = input_px or experiment.profile.input_px
        run = experiment.run_folder(system)
        folder = run / f"export-{px}-{storage.text_hash(_EXPORT_CODE)[:8]}"
        if (folder / ABOUT).exists():
            return folder
        net, _ = experiment.trained(system)
        self.say(f"exporting {system}, {experiment.profile.backbone}, {px} px")
        read = functools.partial(_read, experiment)
        train = experiment.train_photos
        order = seeds.generator(self.seed, "calibration").permutation(len(train))
        learnt = [train[at] for at in order[: self.size.calibration]]
        checked = [train[at] for at in order[self.size.calibration :][: self.size.calibration]]
        photos = [read(photo) for photo in learnt]
        if system == "joint":
            truths = [_truth(experiment, photo) for photo in checked]
            pixels = [read(photo) for photo in checked]
            check = accuracy_check(pixels, truths, net.identities) if pixels else None
        else:
            photos = [np.ascontiguousarray(photo.transpose(2, 0, 1)) for photo in photos]
            check = None
        export(net, px, folder, photos, check)
        return folder

    def engines(self, folder: Path) -> list[str]:
        """Engines that this net can have here."""
        about = read_about(folder)
        return [name for name in ENGINES if not missing(about, name)]

    def two_stage(self, folder: Path, engine: str, sees: str, upsampling: int, px: int) -> TwoStage:
        """The pipeline with its classifier on an engine."""
        experiment = self.experiment(self.size.backbones[0])
        classifier = EngineClassifier(folder, engine, self.threads)
        return TwoStage(classifier, sees, px, upsampling, self.calibration(experiment, upsampling))

    @functools.cache  # noqa: B019 (one Benchmark lives as long as its process)
    def calibration(self, experiment: Experiment, upsampling: int):
        """dlib's boxes to the dataset's, for this upsampling."""
        profile = dataclasses.replace(experiment.profile, upsampling=upsampling)
        return dataclasses.replace(experiment, profile=profile).calibration

    def classifier(self) -> tuple[Experiment, Path]:
        """The two-stage classifier of the first backbone, begun from the joint net's backbone."""
        backbone = self.size.backbones[0]
        joint = self.experiment(backbone)
        joint.trained("joint")
        experiment = self.experiment(backbone, joint.run_folder("joint") / MODEL)
        profile = dataclasses.replace(experiment.profile, epochs=max(1, self.size.epochs // 2))
        experiment = dataclasses.replace(experiment, profile=profile)
        return experiment, self.exported(experiment, "two_stage_photo")

    # --- rows -------------------------------------------------------------------------------

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

    def _add_turns(self, times: dict, reference, backbones: dict, **other) -> None:
        for key, ms in times.items():
            own = {name: values[key] for name, values in other.items() if isinstance(values, dict)}
            same = {name: value for name, value in other.items() if not isinstance(value, dict)}
            # Turn by turn: what disturbed the machine disturbed both.
            ratio = float(np.median(times[reference] / ms)) if reference in times else np.nan
            self.add(*key[:2], ms, backbones[key], ratio_to_thesis_pipeline=ratio, **same, **own)

    def headline(self) -> None:
        """Engines and backbones on portraits: time, ratio, accuracy, stages, memory."""
        size, systems, backbones, people, grid = self.size, {}, {}, {}, {}
        classifier, named = self.classifier()
        test = classifier.test_photos
        photos = [_read(classifier, photo) for photo in test]
        truths = [_truth(classifier, photo) for photo in test]
        folders = {}
        for backbone in size.backbones:
            experiment = self.experiment(backbone)
            experiment.trained("joint")
            folder = folders[backbone] = self.exported(experiment, "joint")
            for engine in self.engines(folder):
                key = ("joint", engine, backbone)
                systems[key] = Recogniser(folder, engine, self.threads)
                grid[key] = size.input_px // 64
        for upsampling in (1, 0):
            for engine in self.engines(named):
                key = (f"two_stage_up{upsampling}", engine, size.backbones[0])
                systems[key] = self.two_stage(named, engine, "photo", upsampling, size.input_px)
                grid[key] = np.nan
        for name, system in self.peers.items():
            systems[name, "own", "own"] = system
            grid[name, "own", "own"] = np.nan
        self.say(f"accuracy of {len(systems)} systems on {len(photos)} test photos")
        found = {key: self._accuracy(system, photos, truths) for key, system in systems.items()}
        for key in list(systems):
            full = found.get((key[0], "openvino", key[2]))
            refused = (
                key[0] == "joint" and key[1] in _LOWERED and not within_limits(found[key], full)
            )
            if refused:
                self.say(f"{key[1]}, {key[2]}: costs too much accuracy on test photos, not offered")
                del systems[key]
        backbones = {key: key[2] for key in systems}
        people = dict.fromkeys(systems, size.people)
        self.say("timing engines, turn by turn")
        times = take_turns(systems, photos, size.runs)
        memory = {
            key: peak_memory(folders[key[2]], key[1], size.input_px)
            if key[0] == "joint" and key[1] != "torch_compile"  # would compile all over again
            else np.nan
            for key in systems
        }
        self._add_turns(
            times,
            (*REFERENCE, size.backbones[0]),
            backbones,
            people=people,
            grid={key: grid[key] for key in systems},
            peak_mb=memory,
            joint_accuracy_50={key: found[key]["joint_accuracy_50"] for key in systems},
            recall_50={key: found[key]["recall_50"] for key in systems},
        )
        self.say("stages")
        for key in systems:
            if key[0] != "joint":
                continue
            stages = self._stages(folders[key[2]], key[1], photos[0])
            for stage, ms in stages.items():
                self.add("joint", key[1], ms, key[2], stage=stage, grid=grid[key])
        for upsampling in (0, 1):
            detector = functools.partial(detect_faces, upsampling=upsampling)
            ms = take_turns({"detector": detector}, photos, size.runs)["detector"]
            self.add(f"two_stage_up{upsampling}", "dlib", ms, size.backbones[0], stage="detector")

    def _stages(self, folder: Path, engine: str, photo: np.ndarray) -> dict:
        about = read_about(folder)
        if engine.startswith("openvino"):
            return stage_times(folder, engine, photo, self.size.runs)
        if engine == "torch":
            net = build(about, folder)
            return torch_stage_times(net, about["input_px"], photo, self.size.runs)
        return {}

    def _accuracy(self, system: Callable, photos, truths) -> dict:
        predictions = [self._calibrated(system, system(photo)) for photo in photos]
        return accuracy(predictions, truths)

    def _calibrated(self, system, answer: dict) -> dict:
        if not isinstance(system, TwoStage):
            return answer
        return answer | {"boxes": apply_box_calibration(answer["boxes"], system.calibration)}

    def faces(self) -> None:
        """Time and recall against the number of faces in a photo, for each grid and the pipeline.

        The pipeline names each face by itself here, as it must where there are several.
        """
        size, joint, grid = self.size, {}, {}
        for cells in size.grids:
            experiment = self.grid_experiment(cells)
            self.say(f"grid {cells} x {cells}: training, export")
            folder = self.exported(experiment, "joint")
            engine = self.engines(folder)[0]
            joint[f"joint{cells}"] = Recogniser(folder, engine, self.threads)
            grid[f"joint{cells}"] = cells
        _, named = self.classifier()
        fastest = self.engines(named)[0]
        pipelines = {
            (f"two_stage_up{up}", engine): self.two_stage(named, engine, "face", up, size.input_px)
            for up, engine in ((1, "torch"), (1, fastest), (0, fastest))
        }
        for count in size.face_counts:
            photos, truths = self.scenes(count)
            self.say(f"{count} faces")
            systems, backbones, grids = {}, {}, {}
            for name, recognise in joint.items():
                key = ("joint", recognise.engine, name)
                systems[key], grids[key] = recognise, grid[name]
                backbones[key] = size.backbones[-1]
            for (name, engine), system in pipelines.items():
                systems[name, engine, name] = system
                backbones[name, engine, name] = size.backbones[0]
                grids[name, engine, name] = np.nan
            for name, system in self.peers.items():
                systems[name, "own", name], grids[name, "own", name] = system, np.nan
                backbones[name, "own", name] = "own"
            recall = {
                key: self._accuracy(system, photos, truths)["recall_50"]
                for key, system in systems.items()
            }
            times = take_turns(systems, photos, size.runs)
            reference = (*REFERENCE, REFERENCE[0])
            self._add_turns(times, reference, backbones, faces=count, grid=grids, recall_50=recall)

    def scenes(self, count: int) -> tuple[list[np.ndarray], list[dict]]:
        """Photos of exactly ``count`` people each that no net was trained on, and their faces."""
        size = self.size
        name = f"scenes-{VERSION}-{size.input_px}-{size.scenes_a_count}-{count}-{self.seed}.npz"
        kept = paths.RUNS / "benchmark" / name
        if not kept.exists():
            numbers = range(10**6, 10**6 + size.scenes_a_count)
            # One by one: drawing sets the number of threads, which all threads share.
            drawn = [
                render_scene(number, (0, size.people), self.seed, size.input_px, count)
                for number in numbers
            ]
            photos = np.stack([photo for photo, _ in drawn])
            boxes = np.stack([[face["box"] for face in faces] for _, faces in drawn])
            with storage.written_aside(kept) as aside:
                np.savez_compressed(aside, photos=photos, boxes=boxes)
        with np.load(kept) as file:
            photos, boxes = list(file["photos"]), file["boxes"]
        return photos, [{"boxes": faces, "identities": ["?"] * len(faces)} for faces in boxes]

    def photo_sizes(self) -> None:
        """Time against the photo's size, the net taking it as it is; ``input_px`` is that size."""
        size, backbone = self.size, self.size.backbones[-1]
        experiment = self.experiment(backbone)
        _, named = self.classifier()
        test = experiment.test_photos[:4]
        for px in size.photo_px:
            self.say(f"photos of {px} px")
            photos = [_enlarged(_read(experiment, photo), px) for photo in test]
            folder = self.exported(experiment, "joint", px)
            systems = {
                ("joint", engine): Recogniser(folder, engine, self.threads)
                for engine in (self.engines(folder)[0], "torch")
            }
            for engine, up in ((self.engines(named)[0], 0), ("torch", 1)):
                system = self.two_stage(named, engine, "photo", up, px)
                systems[f"two_stage_up{up}", engine] = system
            times = take_turns(systems, photos, size.runs)
            backbones = {
                key: backbone if key[0] == "joint" else size.backbones[0] for key in systems
            }
            self._add_turns(times, REFERENCE, backbones, input_px=px)

    def batches_and_threads(self) -> None:
        """Time a photo against the batch and against threads."""
        size = self.size
        for backbone in size.backbones:
            experiment = self.experiment(backbone)
            folder = self.exported(experiment, "joint")
            about = read_about(folder)
            photo = _read(experiment, experiment.test_photos[0])
            fastest = self.engines(folder)[0]
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
        backbone = self.size.backbones[-1]
        for faces in (1, 32):
            embeddings = torch.randn(faces, 512)
            for people in self.size.identities:
                classifier = IdentityClassifier(512, people, normalised=True).eval()
                with torch.inference_mode():
                    # The product alone: normalised weights are made once, not for each photo.
                    weight = classifier._weight().flatten(1).contiguous()
                    name = {"": lambda e, w=weight: (e @ w.T).softmax(dim=1).max(dim=1)}
                    ms = take_turns(name, [embeddings], self.size.runs)[""]
                self.add(
                    "joint", "torch", ms, backbone, stage="classifier", people=people, faces=faces
                )
            for people in self.size.gallery:
                gallery = torch.randn(people, 512)
                with torch.inference_mode():
                    ms = take_turns(
                        {"": lambda e, g=gallery: (e @ g.T).max(dim=1)},
                        [embeddings],
                        self.size.runs,
                    )[""]
                self.add(
                    "gallery", "torch", ms, backbone, stage="classifier", people=people, faces=faces
                )
                self.rows[-1]["peak_mb"] = gallery.nbytes / 2**20

    def limits(self) -> pd.DataFrame:
        """Each engine's point in the roofline figure, beside the machine's measured peaks.

        Returns:
            ``backbone, engine, precision, operations, bytes, ms, operations_per_second, peak,
            memory, share_of_peak``; ``ms`` is the network stage where it is known, else the
            whole.
        """
        self.say("the machine's limits")
        peaks = machine_limits().set_index("limit")["value"]
        measured = pd.DataFrame(self.rows)
        rows = []
        for backbone in self.size.backbones:
            net, _ = self.experiment(backbone).trained("joint")
            photo = np.zeros((self.size.input_px, round(self.size.input_px * 4 / 3), 3), np.uint8)
            operations, moved = work_of(net, photo)
            joint = measured[
                (measured["system"] == "joint")
                & (measured["backbone"] == backbone)
                & (measured["threads"] == self.threads)
                & (measured["batch"] == 1)
                & (measured["input_px"] == self.size.input_px)
                & (measured["faces"] == 1)
                & measured["grid"].eq(self.size.input_px // 64)
            ]
            for engine, own in joint.groupby("engine", sort=False):
                own = own.drop_duplicates("stage").set_index("stage")["ms_min"]
                ms = own.get("network", own.get("total"))
                lowered = {"openvino_int8": "int8", "openvino_bf16": "bf16"}
                precision = lowered.get(engine, "fp32")
                rate = operations / (ms / 1000)
                rows.append(
                    {
                        "backbone": backbone,
                        "engine": engine,
                        "precision": precision,
                        "operations": operations,
                        "bytes": moved * {"int8": 1, "bf16": 2, "fp32": 4}[precision],
                        "ms": ms,
                        "operations_per_second": rate,
                        "peak": peaks[precision],
                        "memory": peaks["memory"],
                        "share_of_peak": rate / peaks[precision],
                    }
                )
        return pd.DataFrame(rows)

    def run(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Everything; tables are written to ``figures/tables``.

        Returns:
            ``benchmark.csv`` and ``benchmark_limits.csv``.
        """
        self.say(f"{machine()}, {self.threads} threads, seed {self.seed}")
        self.headline()
        limits = self.limits()
        self.batches_and_threads()
        self.photo_sizes()
        self.identities()
        self.faces()
        command = "make benchmark" if self.name == "benchmark" else "python -m thesislib.benchmark"
        command += "" if self.name == "benchmark" else f" --{self.name}"
        about = {"profile": self.name, "seed": self.seed, "command": command}
        table = pd.DataFrame(self.rows).assign(**about).reindex(columns=list(COLUMNS))
        limits = limits.assign(**about, input_px=self.size.input_px)
        for file, rows in ((TABLE, table), (LIMITS_TABLE, limits)):
            text = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")
            storage.write_text(paths.TABLES / file, text)
        self.say("done")
        return table, limits


_EXPORT_CODE = "1"  # raised when what export() writes changes


def _read(experiment: Experiment, photo) -> np.ndarray:
    return read_photo(experiment.dataset.folder / photo.name)


def _truth(experiment: Experiment, photo) -> dict:
    names = [experiment.identities[at] if at >= 0 else "" for at in photo.identities.tolist()]
    return {"boxes": photo.boxes.numpy(), "identities": names}


def _enlarged(photo: np.ndarray, px: int) -> np.ndarray:
    height, width = photo.shape[:2]
    scale = px / min(height, width)
    return np.array(Image.fromarray(photo).resize((round(width * scale), round(height * scale))))


def targets(table: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """The targets of speed beside what was measured: ``target, least, most, measured, met``."""
    single = table[
        (table["stage"] == "total")
        & (table["batch"] == 1)
        & (table["faces"] == 1)
        & (table["threads"] == table["threads"].max())
        & table["joint_accuracy_50"].notna()
    ]
    joint = single[single["system"] == "joint"]
    rows = []
    for backbone, least in (("resnet34", 5.3), ("resnet18", 10.0)):
        best = joint[joint["backbone"] == backbone]["ratio_to_thesis_pipeline"].max()
        rows.append((f"{backbone}, best engine, FPS against the thesis's pipeline", least, best))
    engine = "openvino_int8"
    same = single[(single["engine"] == engine) & (single["backbone"] == "resnet34")]
    ms = same.groupby("system")["ms_median"].min()
    if "joint" in ms:
        pipeline = ms.drop("joint").min()
        rows.append(("resnet34, against the pipeline with int8", 2.5, pipeline / ms["joint"]))
    share = limits[(limits["engine"] == engine) & (limits["backbone"] == "resnet34")]
    if len(share):
        rows.append(("resnet34, share of int8 peak", 0.5, share["share_of_peak"].iloc[0]))
    table_rows = [(what, least, np.nan, value, value >= least) for what, least, value in rows]
    crowd = table[(table["system"] == "joint") & table["recall_50"].notna()]
    for grid, own in crowd[crowd["joint_accuracy_50"].isna()].groupby("grid"):
        by_faces = own.set_index("faces")["ms_median"]
        value = by_faces.loc[by_faces.index.max()] / by_faces.loc[by_faces.index.min()]
        what = f"grid {grid:.0f}, {by_faces.index.max()} faces against {by_faces.index.min()}"
        table_rows.append((what, np.nan, 1.15, value, value <= 1.15))
    stages = table[table["stage"].isin(["preprocess", "network", "postprocess"])]
    for (backbone, engine), own in stages.groupby(["backbone", "engine"]):
        ms = own.set_index("stage")["ms_median"]
        value = 1 - ms["network"] / ms.sum()
        what = f"{backbone}, {engine}, share of pre- and postprocessing"
        table_rows.append((what, np.nan, 0.15, value, value <= 0.15))
    return pd.DataFrame(table_rows, columns=["target", "least", "most", "measured", "met"])


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.benchmark")
    parser.add_argument("--small", action="store_true", help="minutes, rougher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", type=Path, help="folder with the weights of OpenCV's models")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.peak:
        _print_peak(*arguments.peak)
        return
    name = "small" if arguments.small else "benchmark"
    table, limits = Benchmark(name, arguments.seed, arguments.peers).run()
    print(targets(table, limits).to_string(index=False, float_format="%.3g"))


if __name__ == "__main__":
    main()
