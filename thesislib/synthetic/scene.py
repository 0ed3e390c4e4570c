"""Photos of one person and of several: who stands where, and the drawing of it.

A photo is composed first (poses, places, boxes: quick) and then drawn (pixels). A *portrait* shows
one person of a session; a *scene* shows 0 to 32 people in one place and one light, further ones
higher up and drawn first, some of them strangers, who belong to no set.
"""

import dataclasses
import math

import numpy as np
import torch

from thesislib import seeds
from thesislib.synthetic.body import draw_body
from thesislib.synthetic.camera import (
    FAR,
    SUPERSAMPLE,
    View,
    develop,
    photo_size,
    place_head,
    pose_head,
)
from thesislib.synthetic.glasses import draw_glasses
from thesislib.synthetic.numerics import one_thread
from thesislib.synthetic.parameters import (
    FIRST_STRANGER,
    SCENE_PLACES,
    Parameters,
    by_phone,
    check_camera,
    check_size,
    identity_parameters,
    session_parameters,
    shot_parameters,
)
from thesislib.synthetic.places import background, place
from thesislib.synthetic.renderer import draw_head
from thesislib.synthetic.surface import head_surface

MIN_FACE = 24  # pixels across, in a scene of size 320
MAX_PEOPLE = 32  # in a scene, for faces of that size
EMPTY_SCENES = 0.06
STRANGERS = 0.25  # share of the people in a scene
MAX_HIDDEN = 0.5  # share of a face, if it can be helped


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnFace:
    """A face of a photo, and all that is known of it.

    Attributes:
        identity: number of the person.
        stranger: whether the person belongs to no set.
        box: float32 [x1, y1, x2, y2] in pixels, inside the photo: the projection of the head's
            surface from the brows to the chin and from ear to ear, whether hair or another head
            is over it or not.
        landmarks: float32 [5, 2] in pixels: the eyes' centres, the nose's tip and the mouth's
            corners, of each pair the one further left in the photo of a frontal face first,
            whether they can be seen or not.
        factors: how the photo came about, numbers by name: angles in degrees; ``noise`` in grey
            levels; ``blur``, the Gaussian's sigma in pixels of a photo of size 320;
            ``face_scale``, the head's width as a share of the photo's shorter side;
            ``occlusion``, the share of the box behind nearer people.
    """

    identity: int
    stranger: bool
    box: np.ndarray
    landmarks: np.ndarray
    factors: dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Composition:
    """A photo that is not drawn yet.

    Attributes:
        seed: the dataset's seed.
        size: shorter side of the photo in pixels.
        place: the numbers (identity, session) that the surroundings are drawn from.
        numbers: what names the photo among all of its seed.
        session, shot: parameters of the photo's light and place, and of its camera.
        views: the people, further ones first.
        faces: theirs, in the same order.
    """

    seed: int
    size: int
    place: tuple[int, int]
    numbers: tuple[int, ...]
    session: Parameters
    shot: Parameters
    views: list[View]
    faces: list[DrawnFace]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the photo in pixels."""
        return photo_size(self.size)


def render_photo(
    identity: int,
    session: int,
    shot: int,
    seed: int = 0,
    size: int = 320,
    changes: Parameters | None = None,
    camera: str = "camera",
) -> tuple[np.ndarray, list[DrawnFace]]:
    """Compose and draw one photo of one person.

    Args:
        identity, session, shot, seed, size, changes, camera: as for :func:`compose_photo`.

    Returns:
        The photo, uint8 sRGB [H, W, 3], before any JPEG compression, and its faces, here one.

    Raises:
        ValueError: as :func:`compose_photo`.
    """
    composition = compose_photo(identity, session, shot, seed, size, changes, camera)
    return draw(composition), composition.faces


def render_scene(
    scene: int,
    people: tuple[int, int] = (0, 100),
    seed: int = 0,
    size: int = 320,
    count: int | None = None,
) -> tuple[np.ndarray, list[DrawnFace]]:
    """Compose and draw one photo of several people, or of none.

    Args:
        scene, people, seed, size, count: as for :func:`compose_scene`.

    Returns:
        The photo, uint8 sRGB [H, W, 3], before any JPEG compression, and its faces, further
        people first.

    Raises:
        ValueError: as :func:`compose_scene`.
    """
    composition = compose_scene(scene, people, seed, size, count)
    return draw(composition), composition.faces


@one_thread()
def compose_photo(
    identity: int,
    session: int,
    shot: int,
    seed: int = 0,
    size: int = 320,
    changes: Parameters | None = None,
    camera: str = "camera",
) -> Composition:
    """Compose a photo of one person.

    Args:
        identity: number of the person, 0 or more.
        session: number of the session, 0 or more.
        shot: number of the photo in its session, 0 or more.
        seed: the dataset's seed.
        size: shorter side of the photo in pixels, at least 32; photos are landscape, 4:3.
        changes: shot parameters to replace, by name, such as ``{"yaw": 40.0}``: the same photo
            but for that.
        camera: ``"camera"``, or ``"phone"``: held near, in warm and hard lamplight, with more
            noise and blur.

    Raises:
        ValueError: ``size`` is below 32, ``changes`` names what a shot does not have, or the
            camera is unknown.
    """
    check_size(size)
    check_camera(camera)
    p = identity_parameters(identity, seed)
    s = session_parameters(identity, session, seed)
    e = shot_parameters(identity, session, shot, seed)
    changes = changes or {}
    unknown = sorted(set(changes) - set(e))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no parameter of a shot: {', '.join(e)}")
    if camera == "phone":
        s, e = by_phone(s, e)
    e = {**e, **changes}
    height, width = photo_size(size)
    pose = pose_head(p, e, e["face_scale"] * size)
    x1, y1, x2, y2 = pose.extent
    # The box stays inside with some air, more of it above for the hair.
    side, above, below = 0.06 * size, 0.16 * size, 0.06 * size

    def between(low: float, high: float, at: float) -> float:
        return (low + high) / 2 + at * max(0.0, high - low) / 2

    cx = between(side - x1, width - side - x2, e["place_x"])
    cy = between(above - y1, height - below - y2, e["place_y"])
    view = place_head(identity, session, False, (p, s, e), pose, (cx, cy), size)
    return Composition(
        seed=seed,
        size=size,
        place=(identity, session),
        numbers=(identity, session, shot),
        session=s,
        shot=e,
        views=[view],
        faces=[_face(view, occlusion=0.0)],
    )


@one_thread()
def compose_scene(
    scene: int,
    people: tuple[int, int] = (0, 100),
    seed: int = 0,
    size: int = 320,
    count: int | None = None,
) -> Composition:
    """Compose a photo of several people, or of none.

    People stand in rows, further ones higher, so that nearer ones may hide a part of them.

    Args:
        scene: number of the photo, 0 or more; it is everybody's session of that number.
        people: first and past-the-last identity of those who are not strangers.
        seed: the dataset's seed.
        size: shorter side of the photo in pixels, at least 32; photos are landscape, 4:3.
        count: number of people, at most 32 for faces of at least ``MIN_FACE`` pixels at size
            320; None draws it, 0 to 32.

    Raises:
        ValueError: ``size`` is below 32, ``count`` not in 0..32, or ``people`` no range.
    """
    check_size(size)
    if count is not None and not 0 <= count <= MAX_PEOPLE:
        raise ValueError(f"count is {count}, a scene holds 0 to {MAX_PEOPLE} people")
    if not 0 <= people[0] < people[1]:
        raise ValueError(f"people is {people}, needs a first and a larger past-the-last number")
    height, width = photo_size(size)
    rng = seeds.generator(seed, "synthetic scene", scene)
    # As many photos of one to two people as of four to eight or of sixteen to 32.
    drawn = int(2 ** rng.uniform(0, 5.05)) if rng.uniform() > EMPTY_SCENES else 0
    count = drawn if count is None else count
    rows = max(1, round(math.sqrt(0.68 * count)))
    columns = max(1, -(-count // rows))
    cell = np.array([width / columns, 0.94 * height / rows])
    chosen = np.sort(rng.permutation(rows * columns)[:count])
    strangers = rng.uniform(size=count) < STRANGERS
    known = people[0] + rng.permutation(people[1] - people[0])[:count]
    standing: list[tuple[int, View]] = []
    for at, cell_number in enumerate(chosen):
        stranger = bool(strangers[at]) or at >= len(known)
        identity = FIRST_STRANGER + int(rng.integers(10**6)) if stranger else int(known[at])
        row, column = divmod(int(cell_number), columns)
        others = [view for _, view in standing]
        view = _stand(rng, identity, stranger, scene, (column, row), cell, others, seed, size)
        standing.append((row, view))
    # Faces grow towards the viewer within a row as well.
    standing.sort(key=lambda person: (person[0], person[1].nearness))
    views = [view for _, view in standing]
    boxes = [view.box for view in views]
    faces = [_face(view, hidden_share(view.box, boxes[at + 1 :])) for at, view in enumerate(views)]
    return Composition(
        seed=seed,
        size=size,
        place=(SCENE_PLACES, scene),
        numbers=(SCENE_PLACES, scene),
        session=session_parameters(SCENE_PLACES, scene, seed),
        shot=shot_parameters(SCENE_PLACES, scene, 0, seed),
        views=views,
        faces=faces,
    )


def _stand(
    rng: np.random.Generator,
    identity: int,
    stranger: bool,
    scene: int,
    at: tuple[int, int],
    cell: np.ndarray,
    others: list[View],
    seed: int,
    size: int,
) -> View:
    """A person in cell ``at`` (column, row), moved about until nobody's face is mostly hidden."""
    p = identity_parameters(identity, seed)
    # Light, place and camera are one for all.
    shared = session_parameters(SCENE_PLACES, scene, seed)
    camera = shot_parameters(SCENE_PLACES, scene, 0, seed)
    s = {
        **session_parameters(identity, scene, seed),
        **{name: value for name, value in shared.items() if name.startswith("light_")},
        "outdoors": shared["outdoors"],
    }
    of_camera = ("exposure", "blur", "noise", "jpeg_quality", "distance")
    e = {
        **shot_parameters(identity, scene, 0, seed),
        **{name: camera[name] for name in of_camera},
    }
    smallest = MIN_FACE * size / 320
    face_width = max(smallest * 1.08, rng.uniform(0.36, 0.58) * min(cell[0], 0.95 * cell[1]))
    pose = pose_head(p, e, face_width)
    e["face_scale"] = face_width / size
    x1, y1, x2, y2 = pose.extent
    height, width = photo_size(size)
    for reach in (0.32, 0.32, 0.24, 0.24, 0.16, 0.16, 0.08, 0.0):
        shift = rng.uniform(-reach, reach, size=2)
        cx, cy = (np.array(at) + 0.5 + shift) * cell + [0, 0.06 * height]
        cx = float(np.clip(cx, 2 - x1, width - 2 - x2))
        cy = float(np.clip(cy, 2 - y1, height - 2 - y2))
        view = place_head(identity, scene, stranger, (p, s, e), pose, (cx, cy), size)
        if all(hidden_share(other.box, [view.box]) <= MAX_HIDDEN for other in others):
            break
    return view


def hidden_share(box: np.ndarray, nearer: list[np.ndarray]) -> float:
    """Share of a face's box behind nearer people, taken as rectangles of head and of body.

    Args:
        box: [x1, y1, x2, y2] in pixels.
        nearer: boxes of the faces of those who stand nearer.
    """
    n = 24
    x1, y1, x2, y2 = box
    x, y = np.meshgrid(np.linspace(x1, x2, n), np.linspace(y1, y2, n))
    covered = np.zeros((n, n), dtype=bool)
    for a, top, b, bottom in nearer:
        wide, tall, middle = b - a, bottom - top, (a + b) / 2
        head = (x >= a) & (x <= b) & (y >= top - 0.55 * tall) & (y <= bottom)
        body = (np.abs(x - middle) < 1.2 * wide) & (y > bottom + 0.28 * tall)
        covered |= head | body
    return float(covered.mean())


def _face(view: View, occlusion: float) -> DrawnFace:
    factors = {**view.factors, "occlusion": occlusion}
    return DrawnFace(view.identity, view.stranger, view.box, view.landmarks, factors)


@one_thread()
def draw(composition: Composition) -> np.ndarray:
    """Draw a photo: uint8 sRGB [H, W, 3]."""
    seed = composition.seed
    surroundings = place(*composition.place, seed, bool(composition.session["outdoors"]))
    behind = background(composition.shot, surroundings, *composition.shape)
    canvas = behind.repeat_interleave(SUPERSAMPLE, 1).repeat_interleave(SUPERSAMPLE, 2)
    for view in composition.views:
        _draw_person(view, canvas, seed)
    rng = seeds.generator(seed, "synthetic noise", *composition.numbers)
    return develop(canvas, composition.shot, composition.size, rng)


def _draw_person(view: View, canvas: torch.Tensor, seed: int) -> None:
    """A person over whatever the canvas [3, H, W] shows."""
    depth = torch.full(canvas.shape[1:], FAR)
    surface = head_surface(view.identity, view.session_number, seed, view.shot)
    draw_head(view, canvas, depth, surface)
    draw_body(view, canvas, depth)
    if view.session["glasses"]:
        draw_glasses(view, canvas, depth)
