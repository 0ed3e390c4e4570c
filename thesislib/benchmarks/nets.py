"""What the benchmark works with: photos of synthetic people, and nets trained on them.

A net begins where that of smaller photos, or of a smaller ResNet, ended, so that minutes are
enough. Nets of portraits are trained for a minute or so: their accuracy shows what an engine costs,
not what the method can do. Nets of scenes are trained for longer, since they are compared by what
they find.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from thesislib import cache, paths, storage
from thesislib.data.columns import BOX
from thesislib.data.loading import list_photos
from thesislib.data.schema import ANNOTATIONS, COLUMNS, Dataset, read_dataset, write_annotations
from thesislib.engine.timing import RUNS
from thesislib.engine.train import joint_loss, provenance, train_net, training_crops
from thesislib.experiments import systems
from thesislib.experiments.config import Config, parts
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.profiles import Profile
from thesislib.synthetic import sets
from thesislib.synthetic.parameters import VERSION
from thesislib.synthetic.scene import render_photo, render_scene
from thesislib.synthetic.spec import PhotoNumbers, SyntheticSet, identity_name
from thesislib.synthetic.worker import DrawingPool


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done: the numbers that decide how long it takes."""

    people: int = 20
    portraits: int = 520
    scenes: int = 200
    scenes_a_count: int = 100  # photos for each number of faces
    face_counts: tuple[int, ...] = (1, 4, 16)
    small_px: int = 160  # people are learned at this size first, where a photo costs a quarter
    small_epochs: int = 10
    epochs: int = 2  # at the full size, from there
    small_scene_epochs: int = 40
    scene_epochs: int = 6  # at the full size, from there
    face_epochs: int = 4  # of the pipeline's classifier of faces cut out
    input_px: int = 320
    face_px: int = 160  # of a face cut out for the pipeline's classifier, where there are many
    photo_px: tuple[int, ...] = (160, 640)
    backbones: tuple[str, ...] = ("resnet34", "resnet18")
    grids: tuple[int, ...] = (5, 10, 20)
    batches: tuple[int, ...] = (2, 4, 8)
    identities: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000)
    calibration: int = 100
    checks: int = 520  # photos of the gate, one face each
    runs: int = RUNS


SIZES = {
    "benchmark": Size(),
    # Seconds, to see that everything runs; its numbers mean nothing.
    "smoke": Size(
        people=3,
        portraits=24,
        scenes=16,
        scenes_a_count=1,
        face_counts=(1, 4),
        small_px=64,
        small_epochs=1,
        epochs=1,
        small_scene_epochs=1,
        scene_epochs=1,
        face_epochs=1,
        input_px=128,
        face_px=64,
        photo_px=(160,),
        backbones=("resnet18",),
        grids=(8,),
        batches=(2,),
        identities=(10, 1000),
        calibration=8,
        checks=6,
        runs=2,
    ),
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """One benchmark: how much is done, with what, and what is said meanwhile.

    Attributes:
        name: a name in ``SIZES``.
        seed: of everything random.
        progress: say what is being done.
    """

    name: str = "benchmark"
    seed: int = 0
    progress: bool = True
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def size(self) -> Size:
        """How much is done."""
        return SIZES[self.name]

    @property
    def threads(self) -> int:
        """Threads that every system may use."""
        return torch.get_num_threads()

    def say(self, what: str) -> None:
        """Print what is being done, and the seconds so far."""
        if self.progress:
            print(f"{time.monotonic() - self.began:6.0f} s  {what}", flush=True)


# --- photos -----------------------------------------------------------------------------------


def portraits(bench: Bench) -> Path:
    """Dataset folder of portraits, made if it is not there."""
    size = bench.size
    spec = SyntheticSet(size.people, size.portraits, 2, size.input_px)
    folder = paths.DATA / f"synthetic-{bench.name}-portraits"
    if not (folder / ANNOTATIONS).exists():
        bench.say(f"drawing {spec.photos} portraits")
    sets.make(folder, spec, progress=False)
    return folder


def scenes(bench: Bench) -> Path:
    """Dataset folder of scenes to learn from, as many of each number of people, made if it is not
    there."""
    counts = bench.size.face_counts
    numbered = [(number, counts[number % len(counts)]) for number in range(bench.size.scenes)]
    return _drawn(bench, "scenes", render_scene, _of_scenes(bench, numbered)).folder


def _of_scenes(bench: Bench, numbered: list[tuple[int, int]]) -> list[tuple]:
    """What ``render_scene`` takes to draw scenes of these numbers, each of so many people."""
    size = bench.size
    people = (0, size.people)
    return [(number, people, bench.seed, size.input_px, count) for number, count in numbered]


def gate_numbers(size: Size) -> list[PhotoNumbers]:
    """Numbers of the gate's photos: further ones of the same people and sittings.

    None is of the portraits, whose shots are numbered from 0.
    """
    first, shots = size.portraits, size.checks // (2 * size.people)
    return [
        (person, sitting, first + shot)
        for person in range(size.people)
        for sitting in range(2)
        for shot in range(shots)
    ]


def gate(bench: Bench) -> Dataset:
    """Photos on which engines are judged: no net was trained, calibrated or tested on them."""
    tasks = [(*numbers, bench.seed, bench.size.input_px) for numbers in gate_numbers(bench.size)]
    return _drawn(bench, "gate", render_photo, tasks)


def crowds(bench: Bench, count: int) -> Dataset:
    """Photos of exactly ``count`` people each that no net was trained on."""
    numbered = [(10**6 + at, count) for at in range(bench.size.scenes_a_count)]
    return _drawn(bench, f"crowds-{count}", render_scene, _of_scenes(bench, numbered))


def _drawn(bench: Bench, name: str, draw: Callable, tasks: list[tuple]) -> Dataset:
    """A dataset of the photos that ``draw`` gives for some arguments, drawn once."""
    folder = cache.folder("benchmark", name, drawing=VERSION, tasks=cache.key(tasks=tasks))
    if not (folder / ANNOTATIONS).exists():
        bench.say(f"drawing {len(tasks)} photos, {name}")
        rows = []
        drawn = _workers().map(draw, *zip(*tasks, strict=True))
        for at, (photo, faces) in enumerate(drawn):
            file = f"photos/{at:04}.png"
            with storage.atomic_write(folder / file) as aside:
                Image.fromarray(photo).save(aside)
            height, width = photo.shape[:2]
            about_photo = {"photo": file, "width": width, "height": height, "session": ""}
            for face in faces:
                box = dict(zip(BOX, face.box.tolist(), strict=True))
                identity = "" if face.stranger else identity_name(face.identity)
                rows.append({**about_photo, "identity": identity, **box})
        write_annotations(folder, pd.DataFrame(rows)[COLUMNS])
    return read_dataset(folder)


@functools.cache
def _workers() -> DrawingPool:
    """Processes that draw; they take seconds to start, and sleep while something is timed."""
    return DrawingPool(2)


# --- nets -------------------------------------------------------------------------------------


def profile(bench: Bench, backbone: str, **other: Any) -> Profile:
    """Settings of the benchmark's nets."""
    settings = {
        "name": bench.name,
        "backbone": backbone,
        "input_px": bench.size.input_px,
        "pooling": 2,
        "anchors": 1,
        "normalised": True,
        "epochs": bench.size.epochs,
        "batch": 16,
        "learning_rate": 1e-3,
        "crop_scale": (0.9, 1.1),
        "label_smoothing": 0.1,
    }
    return Profile(**settings | other)  # type: ignore[arg-type]


def portrait_config(bench: Bench, backbone: str, **other: Any) -> Config:
    """Portraits, split by photo."""
    return Config(portraits(bench), profile(bench, backbone, **other), "photo", bench.seed)


def scene_config(bench: Bench, **other: Any) -> Config:
    """Scenes, split by photo."""
    # Three boxes a cell, so that a cell that holds several faces is not the limit at once; small
    # batches, since confidences need many steps.
    settings = {"anchors": 3, "batch": 8} | other
    config = profile(bench, bench.size.backbones[-1], **settings)
    return Config(scenes(bench), config, "photo", bench.seed)


def joint_net(bench: Bench, backbone: str) -> JointNet:
    """A joint net of portraits.

    The last of the backbones has learned small photos first; the others begin as it.
    """
    last = bench.size.backbones[-1]
    first = small_net(bench) if backbone == last else joint_net(bench, last)
    bench.say(f"training {backbone}, {bench.size.input_px} px")
    return _continued(portrait_config(bench, backbone), first, f"{backbone} from another net")


def small_net(bench: Bench) -> JointNet:
    """The last backbone's joint net of small portraits."""
    size, backbone = bench.size, bench.size.backbones[-1]
    bench.say(f"training {backbone}, {size.small_px} px")
    settings = {"input_px": size.small_px, "pooling": 1, "epochs": size.small_epochs}
    return systems.trained_joint(portrait_config(bench, backbone, **settings))


def scene_net(bench: Bench, grid: int) -> JointNet:
    """A joint net of scenes with ``grid`` x ``grid`` cells, begun as that of small scenes."""
    size, cell = bench.size, bench.size.input_px // grid
    stride = min(cell, 32)
    settings = {"stride": stride, "pooling": cell // stride, "epochs": size.scene_epochs}
    config, first = scene_config(bench, **settings), small_scene_net(bench, stride)
    bench.say(f"training {grid} x {grid} cells, scenes")
    return _continued(config, first, f"{grid} x {grid}")


def small_scene_net(bench: Bench, stride: int = 32) -> JointNet:
    """A joint net of small scenes that reads the ResNet at a stride, begun as that of small
    portraits."""
    size = bench.size
    settings = {"input_px": size.small_px, "pooling": 1, "epochs": size.small_scene_epochs}
    first = small_net(bench)
    bench.say(f"training stride {stride}, scenes, {size.small_px} px")
    return _continued(scene_config(bench, stride=stride, **settings), first, "small scenes")


def _continued(config: Config, first: JointNet, label: str) -> JointNet:
    """Train on where another net ended: its weights wherever they fit, its people where equal."""
    net = systems.new_joint(config)
    train = parts(config).train
    photos = list_photos(train, train.identities)
    about = provenance(train.content_hash, config.profile, config.seed, begun_as=_weights(first))
    key = {name: value for name, value in about.items() if name != "commit"}
    _begin_as(net, first)
    return train_net(
        net,
        joint_loss(config.profile),
        lambda: training_crops(train, photos, config.profile, config.seed, progress=False),
        config.profile,
        cache.folder("nets", f"{config.data.name}-{config.profile.backbone}", **key),
        about,
        progress=False,
        label=label,
    )


def _weights(net: JointNet) -> str:
    return cache.key(embeddings=net.fingerprint, identities=net.identities)


def _begin_as(net: JointNet, first: JointNet) -> None:
    """Copy what fits; residual blocks that ``first`` lacks begin as the identity.

    So both give the same before the first step (Net2Net, Chen et al. 2016).
    """
    theirs, own = first.state_dict(), net.state_dict()
    people = net.identities == first.identities
    fits = {
        name: value
        for name, value in theirs.items()
        if name in own
        and own[name].shape == value.shape
        and name != "anchors"
        and (people or not name.startswith("classifier."))
    }
    net.load_state_dict(fits, strict=False)
    for stage in (1, 2, 3, 4):
        layer = getattr(net.backbone, f"layer{stage}")
        count = len(list(getattr(first.backbone, f"layer{stage}").children()))
        for block in list(layer.children())[count:]:
            nn.init.zeros_(block.bn2.weight)


def classifier(bench: Bench) -> FaceClassifier:
    """The pipeline's classifier of photos, begun with the joint net's backbone."""
    backbone = bench.size.backbones[0]
    start = _saved(joint_net(bench, backbone))
    bench.say("training the classifier")
    config = dataclasses.replace(portrait_config(bench, backbone), start=start)
    return systems.trained_classifier(config, "photo")


def face_classifier(bench: Bench) -> FaceClassifier:
    """The pipeline's classifier of faces cut out of scenes, begun with the backbone with which the
    joint nets of scenes begin."""
    size = bench.size
    start = _saved(small_scene_net(bench))
    bench.say("training the classifier of faces")
    config = scene_config(bench, input_px=size.face_px, epochs=size.face_epochs)
    return systems.trained_classifier(dataclasses.replace(config, start=start), "face")


def _saved(net: JointNet) -> Path:
    """A net's folder, for those that start from it."""
    folder = cache.folder("benchmark", "start", net=_weights(net))
    net.save(folder)
    return folder


def read_photos(dataset: Dataset) -> list[np.ndarray]:
    """All photos of a dataset, decoded."""
    from thesislib.data.images import read_photo

    return [read_photo(dataset.folder / name) for name in dataset.photos]
