"""What a process that draws synthetic people needs, and no more: it is started for each set.

Without pandas a worker starts a second sooner, which is a tenth of the time a small set takes.
"""

import contextlib
import dataclasses
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from thesislib import storage
from thesislib.data.columns import BOX, FACTOR, LANDMARKS
from thesislib.synthetic import parameters, scene


@dataclasses.dataclass(frozen=True)
class SyntheticSet:
    """What a set of synthetic people holds; its bytes follow from these numbers alone.

    Attributes:
        people: how many, 1 or more, numbered from ``first_identity``.
        photos: how many in all, 1 or more, shared out as evenly as they go.
        sessions: sittings of each person, 1 or more; 0 is scenes instead: photos of 0 to 32
            people, each drawn from ``people`` or a stranger (empty identity).
        size: shorter side of a photo in pixels, 32 or more; photos are landscape, 4:3.
        seed: seed of everything drawn.
        first_identity: number of the first person; sets of one seed with disjoint ranges of
            numbers share nobody.
        camera: of :func:`scene.render_photo`; of portraits, not of scenes.
    """

    people: int
    photos: int
    sessions: int
    size: int = 320
    seed: int = 0
    first_identity: int = 0
    camera: str = "camera"

    def __post_init__(self) -> None:
        least = {"people": 1, "photos": 1, "sessions": 0, "size": 32, "seed": 0}
        for name, lowest in {**least, "first_identity": 0}.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}, must be {lowest} or more")
        if self.sessions and self.photos < self.people * self.sessions:
            raise ValueError(
                f"{self.photos} photos are too few for {self.people} people with "
                f"{self.sessions} sessions each"
            )
        if self.camera not in parameters.CAMERAS:
            raise ValueError(
                f"camera {self.camera!r} is unknown; choose one of {', '.join(parameters.CAMERAS)}"
            )
        if self.camera != "camera" and not self.sessions:
            raise ValueError(f"scenes are taken by camera, not by {self.camera}")
        if self.first_identity + self.people > parameters.SCENE_PLACES:
            raise ValueError(f"identities end before {parameters.SCENE_PLACES}")


def identity_name(identity: int) -> str:
    """What a person of this number is called in a dataset."""
    return f"p{identity:04d}"


def photo_name(spec: SyntheticSet, number: int, session: int = 0, shot: int = 0) -> str:
    """Path of a photo below its folder; sessions and shots are numbered from 0."""
    if not spec.sessions:
        return f"photos/scene_{number:05d}.jpg"
    return f"photos/{identity_name(number)}/s{session + 1}_{shot + 1:02d}.jpg"


def is_whole_jpeg(path: Path) -> bool:
    """Whether a JPEG is there from its first bytes to its last."""
    try:
        with open(path, "rb") as file:
            start = file.read(2)
            file.seek(-2, 2)
            return start == b"\xff\xd8" and file.read(2) == b"\xff\xd9"
    except OSError:  # absent, or shorter than two bytes
        return False


def make_photos(folder: Path, spec: SyntheticSet, keys: list[tuple]) -> list[dict]:
    """Write those of the photos that are missing; returns the annotation rows of all."""
    people = (spec.first_identity, spec.first_identity + spec.people)
    rows = []
    for key in keys:
        name = photo_name(spec, *key)
        path = folder / name
        drawn = is_whole_jpeg(path)
        if spec.sessions:
            draw = scene.lay_out_photo if drawn else scene.render_photo
            photo, faces = draw(*key, seed=spec.seed, size=spec.size, camera=spec.camera)
            session = f"s{key[1] + 1}"
        else:
            draw = scene.lay_out_scene if drawn else scene.render_scene
            photo, faces = draw(*key, people=people, seed=spec.seed, size=spec.size)
            session = f"scene_{key[0]:05d}"
        if not drawn:
            quality = faces[0]["factors"]["jpeg_quality"] if faces else 90
            with storage.atomic_write(path) as aside:
                Image.fromarray(photo).save(aside, quality=int(quality))
        about = {"photo": name, "width": photo.shape[1], "height": photo.shape[0]}
        for face in faces:
            rows.append(
                {
                    **about,
                    "identity": "" if face["stranger"] else identity_name(face["identity"]),
                    "session": session,
                    **dict(zip(BOX, face["box"].tolist(), strict=True)),
                    **dict(zip(LANDMARKS, face["landmarks"].ravel().tolist(), strict=True)),
                    **{FACTOR + name: round(v, 4) for name, v in face["factors"].items()},
                }
            )
        if not faces:
            rows.append({**about, "identity": "", "session": session})
    return rows


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Processes that are started in here do not import the script that asks for them.

    It may import much that drawing does not need, or, unguarded, ask for processes again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def start_worker() -> None:
    """One thread a process, as there is a process a core."""
    torch.set_num_threads(1)
