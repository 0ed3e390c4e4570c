"""What a set of synthetic people holds, and what its people and photos are called."""

import dataclasses

from thesislib.synthetic import parameters

# Numbers of a photo: (identity, session, shot) of a portrait, (scene,) of a scene.
PhotoNumbers = tuple[int, ...]
_TASK_SCENES = 4  # drawn in one go


@dataclasses.dataclass(frozen=True)
class SyntheticSet:
    """What a set of synthetic people holds; its bytes follow from these numbers alone.

    Attributes:
        people: how many, 1 or more, numbered from ``first_identity``.
        photos: how many in all, 1 or more, shared out as evenly as they go.
        sessions: of each person, 1 or more; 0 is scenes instead: photos of 0 to 32 people, each
            drawn from ``people`` or a stranger (empty identity).
        size: shorter side of a photo in pixels, 32 or more; photos are landscape, 4:3.
        seed: of everything drawn.
        first_identity: number of the first person; sets of one seed with disjoint ranges of
            numbers share nobody.
        camera: as for :func:`~thesislib.synthetic.scene.compose_photo`; of portraits, not of
            scenes.

    Raises:
        ValueError: a number is out of its range, there are fewer photos than sessions of all
            people, the camera is unknown, or it is not ``"camera"`` for scenes.
    """

    people: int
    photos: int
    sessions: int
    size: int = 320
    seed: int = 0
    first_identity: int = 0
    camera: str = "camera"

    def __post_init__(self) -> None:
        least = {"people": 1, "photos": 1, "sessions": 0, "seed": 0, "first_identity": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}, must be {lowest} or more")
        parameters.check_size(self.size)
        parameters.check_camera(self.camera)
        if self.sessions and self.photos < self.people * self.sessions:
            raise ValueError(
                f"{self.photos} photos are too few for {self.people} people with "
                f"{self.sessions} sessions each"
            )
        if self.camera != "camera" and not self.sessions:
            raise ValueError(f"scenes are taken by camera, not by {self.camera}")
        if self.first_identity + self.people > parameters.SCENE_PLACES:
            raise ValueError(f"identities end before {parameters.SCENE_PLACES}")

    @property
    def identities(self) -> range:
        """Numbers of the people."""
        return range(self.first_identity, self.first_identity + self.people)

    def tasks(self) -> list[list[PhotoNumbers]]:
        """The numbers of all photos, in parts to be drawn in one go: a session, or some scenes."""
        if not self.sessions:
            scenes: list[PhotoNumbers] = [(scene,) for scene in range(self.photos)]
            return [scenes[at : at + _TASK_SCENES] for at in range(0, len(scenes), _TASK_SCENES)]
        tasks: list[list[PhotoNumbers]] = []
        for identity, photos in zip(self.identities, shares(self.photos, self.people), strict=True):
            for session, shots in enumerate(shares(photos, self.sessions)):
                tasks.append([(identity, session, shot) for shot in range(shots)])
        return tasks


def shares(total: int, parts: int) -> list[int]:
    """``total`` shared out as evenly as it goes; the first parts get one more.

    >>> shares(8, 3)
    [3, 3, 2]
    """
    return [total // parts + (part < total % parts) for part in range(parts)]


def identity_name(identity: int) -> str:
    """What a person of this number is called in a dataset."""
    return f"p{identity:04d}"


def session_name(numbers: PhotoNumbers) -> str:
    """What the session of a photo is called in a dataset; a scene is its own session."""
    return f"s{numbers[1] + 1}" if len(numbers) == 3 else f"scene_{numbers[0]:05d}"


def photo_name(numbers: PhotoNumbers) -> str:
    """Path of a photo below its dataset's folder; sessions and shots count from 1 in it."""
    if len(numbers) == 3:
        identity, _, shot = numbers
        return f"photos/{identity_name(identity)}/{session_name(numbers)}_{shot + 1:02d}.jpg"
    return f"photos/{session_name(numbers)}.jpg"
