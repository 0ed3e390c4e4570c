"""What a process does that draws photos of a set; it imports that and no more.

Such processes are started for each set. Without pandas and torchvision one starts a second sooner,
a tenth of the time that a small set takes.
"""

import contextlib
import multiprocessing
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from PIL import Image

from thesislib import storage
from thesislib.data.columns import BOX, FACTOR, LANDMARKS
from thesislib.environment import end_with_parent
from thesislib.synthetic import scene
from thesislib.synthetic.scene import Composition, DrawnFace
from thesislib.synthetic.spec import (
    PhotoNumbers,
    SyntheticSet,
    identity_name,
    photo_name,
    session_name,
)

_EMPTY_QUALITY = 90  # of the JPEG of a photo of nobody
_P = ParamSpec("_P")
_T = TypeVar("_T")


def make_photos(
    folder: Path, spec: SyntheticSet, photos: list[PhotoNumbers]
) -> list[dict[str, Any]]:
    """Write those photos that are not there whole.

    Args:
        folder: of the dataset.
        spec: the set.
        photos: some of its photos.

    Returns:
        Annotation rows of all of them, in order.
    """
    rows = []
    for numbers in photos:
        composition = _compose(spec, numbers)
        path = folder / photo_name(numbers)
        if not is_whole_jpeg(path):
            faces = composition.faces
            quality = faces[0].factors["jpeg_quality"] if faces else _EMPTY_QUALITY
            image = Image.fromarray(scene.draw(composition))
            with storage.atomic_write(path) as aside:
                image.save(aside, quality=int(quality))
        rows += _rows(numbers, composition)
    return rows


def _compose(spec: SyntheticSet, numbers: PhotoNumbers) -> Composition:
    if spec.sessions:
        identity, session, shot = numbers
        return scene.compose_photo(
            identity, session, shot, spec.seed, spec.size, camera=spec.camera
        )
    people = (spec.identities.start, spec.identities.stop)
    return scene.compose_scene(numbers[0], people, spec.seed, spec.size)


def _rows(numbers: PhotoNumbers, composition: Composition) -> list[dict[str, Any]]:
    """Annotation rows of a photo: one per face, or one without a box."""
    height, width = composition.shape
    about = {"photo": photo_name(numbers), "width": width, "height": height}
    session = session_name(numbers)
    if not composition.faces:
        return [{**about, "identity": "", "session": session}]
    return [{**about, "session": session, **_columns(face)} for face in composition.faces]


def _columns(face: DrawnFace) -> dict[str, str | float]:
    return {
        "identity": "" if face.stranger else identity_name(face.identity),
        **dict(zip(BOX, face.box.tolist(), strict=True)),
        **dict(zip(LANDMARKS, face.landmarks.ravel().tolist(), strict=True)),
        **{FACTOR + name: round(value, 4) for name, value in face.factors.items()},
    }


def is_whole_jpeg(path: Path) -> bool:
    """Whether a JPEG is there from its first bytes to its last."""
    try:
        with open(path, "rb") as file:
            start = file.read(2)
            file.seek(-2, 2)
            return start == b"\xff\xd8" and file.read(2) == b"\xff\xd9"
    except OSError:  # absent, or shorter than two bytes
        return False


class DrawingPool(ProcessPoolExecutor):
    """Processes that draw, one thread each; they start when the first photo is asked for.

    They are spawned, as a forked PyTorch may hang on its parent's thread pool, and do not import
    the script that asks for them: it may import much that drawing does not need, or, unguarded,
    ask for processes again.

    Args:
        workers: how many processes.
    """

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, context, initializer=_begin)

    def submit(
        self, function: Callable[_P, _T], /, *args: _P.args, **options: _P.kwargs
    ) -> Future[_T]:
        """As of any executor."""
        with _without_main():
            return super().submit(function, *args, **options)


def _begin() -> None:
    """What a process does before its first photo."""
    torch.set_num_threads(1)
    end_with_parent()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
