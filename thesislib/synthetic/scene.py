"""Synthetic people: photos of heads rendered from parameters, for a dataset that may be shared.

A head is a star-shaped surface: a radius for each direction from its centre, kept on a square
grid in Lambert's azimuthal equal-area projection about the face, together with normals and
colours. Rays are marched through that grid; neck, shoulders and glasses are intersected
analytically. What a photo shows follows from four numbers (seed, identity, session, shot):

- the *identity* fixes shape and colouring and never depends on anything else,
- the *session* (a sitting) fixes hair style, clothes, glasses, place and lights,
- the *shot* fixes pose, expression, framing and the camera's faults.

Lengths are in half head heights (about 11 cm), in a frame with x to the right of the photo, y up
and z towards the viewer. Colours are linear RGB unless said to be sRGB.
"""

import math

import numpy as np
import torch

from thesislib import seeds
from thesislib.synthetic.body import draw_body, draw_glasses
from thesislib.synthetic.camera import SUPERSAMPLE, _pose, _view, developed
from thesislib.synthetic.complexion import _head
from thesislib.synthetic.numerics import one_thread
from thesislib.synthetic.parameters import (
    CAMERAS,
    FIRST_STRANGER,
    SCENE_PLACES,
    Parameters,
    _person,
    by_phone,
    check_size,
    session_parameters,
    shot_parameters,
)
from thesislib.synthetic.places import _place, background
from thesislib.synthetic.renderer import draw_head

MIN_FACE = 24  # pixels across, in a scene of size 320
EMPTY_SCENES = 0.06
STRANGERS = 0.25  # share of the people in a scene
MOST_HIDDEN = 0.5  # of a face


def _portrait(
    identity: int,
    session: int,
    shot: int,
    seed: int,
    size: int,
    changes: Parameters | None = None,
    camera: str = "camera",
) -> dict:
    """Camera, pose, box and factors of a photo of one person, without drawing it."""
    check_size(size)
    if camera not in CAMERAS:
        raise ValueError(f"camera {camera!r} is unknown; choose one of {', '.join(CAMERAS)}")
    p = _person(identity, seed)
    s = session_parameters(identity, session, seed)
    e = shot_parameters(identity, session, shot, seed)
    unknown = sorted(set(changes or {}) - set(e))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no parameter of a shot: {', '.join(e)}")
    if camera == "phone":
        s, e = by_phone(s, e)
    e = {**e, **(changes or {})}
    height, width = size, round(size * 4 / 3)
    pose = _pose(p, e, e["face_scale"] * size)
    x1, y1, x2, y2 = pose["extent"]
    # The box stays inside with some air, more of it above for the hair.
    side, above, below = 0.06 * size, 0.16 * size, 0.06 * size

    def between(low: float, high: float, place: float) -> float:
        return (low + high) / 2 + place * max(0.0, high - low) / 2

    cx = between(side - x1, width - side - x2, e["place_x"])
    cy = between(above - y1, height - below - y2, e["place_y"])
    view = _view(p, s, e, pose, (cx, cy), size)
    return view | {"identity": identity, "sitting": session, "stranger": False}


def _scene(scene: int, people: tuple[int, int], seed: int, size: int, count: int | None) -> dict:
    """Who stands where in a photo of several people, without drawing it.

    People stand in rows, further ones higher and drawn first, so that nearer ones may hide a
    part of them. ``people`` is the range of identities that are not strangers.
    """
    check_size(size)
    height, width = size, round(size * 4 / 3)
    rng = seeds.generator(seed, "synthetic scene", scene)
    # As many photos of one to two people as of four to eight or of sixteen to 32.
    drawn = int(2 ** rng.uniform(0, 5.05)) if rng.uniform() > EMPTY_SCENES else 0
    count = drawn if count is None else count
    # What is one for all: light, place and camera.
    s = session_parameters(SCENE_PLACES, scene, seed)
    e = shot_parameters(SCENE_PLACES, scene, 0, seed)
    rows = max(1, round(math.sqrt(0.68 * count)))
    columns = max(1, -(-count // rows))
    cell = np.array([width / columns, 0.94 * height / rows])
    chosen = np.sort(rng.permutation(rows * columns)[:count])
    strangers = rng.uniform(size=count) < STRANGERS
    known = people[0] + rng.permutation(people[1] - people[0])[:count]
    views: list[dict] = []
    for at, place in enumerate(chosen):
        stranger = bool(strangers[at]) or at >= len(known)
        number = FIRST_STRANGER + int(rng.integers(10**6)) if stranger else int(known[at])
        row, column = divmod(int(place), columns)
        views.append(_stand(views, rng, number, stranger, scene, (row, column), cell, seed, size))
    if views:
        # Faces grow towards the viewer within a row as well.
        views.sort(key=lambda view: (view["row"], view["focal"] / view["shot"]["distance"]))
        for at, view in enumerate(views):
            view["factors"]["occlusion"] = _hidden(view, views[at + 1 :])
    return {"views": views, "session": s, "shot": e, "height": height, "width": width}


def _stand(others, rng, identity, stranger, scene, place, cell, seed, size) -> dict:
    """A person in their cell of a scene, moved about until nobody's face is mostly hidden."""
    p = _person(identity, seed)
    own = session_parameters(identity, scene, seed)
    shared = session_parameters(SCENE_PLACES, scene, seed)
    s = own | {name: value for name, value in shared.items() if name.startswith("light_")}
    s["outdoors"] = shared["outdoors"]
    e = dict(shot_parameters(identity, scene, 0, seed))
    camera = shot_parameters(SCENE_PLACES, scene, 0, seed)
    e |= {name: camera[name] for name in ("exposure", "blur", "noise", "jpeg_quality", "distance")}
    row, column = place
    smallest = MIN_FACE * size / 320
    face_width = max(smallest * 1.08, rng.uniform(0.36, 0.58) * min(cell[0], 0.95 * cell[1]))
    pose = _pose(p, e, face_width)
    e["face_scale"] = face_width / size
    x1, y1, x2, y2 = pose["extent"]
    width, height = round(size * 4 / 3), size
    for reach in (0.32, 0.32, 0.24, 0.24, 0.16, 0.16, 0.08, 0.0):
        shift = rng.uniform(-reach, reach, size=2)
        cx, cy = (np.array([column, row]) + 0.5 + shift) * cell + [0, 0.06 * height]
        cx = float(np.clip(cx, 2 - x1, width - 2 - x2))
        cy = float(np.clip(cy, 2 - y1, height - 2 - y2))
        view = _view(p, s, e, pose, (cx, cy), size)
        view |= {"identity": identity, "sitting": scene, "stranger": stranger, "row": row}
        if all(_hidden(other, [view]) <= MOST_HIDDEN for other in others):
            break
    return view


def _hidden(view: dict, nearer: list[dict]) -> float:
    """Share of a face's box behind nearer people, taken as boxes of head and of body."""
    n = 24
    x1, y1, x2, y2 = view["box"]
    x, y = np.meshgrid(np.linspace(x1, x2, n), np.linspace(y1, y2, n))
    covered = np.zeros((n, n), dtype=bool)
    for other in nearer:
        a, top, b, bottom = other["box"]
        wide, tall, middle = b - a, bottom - top, (a + b) / 2
        head = (x >= a) & (x <= b) & (y >= top - 0.55 * tall) & (y <= bottom)
        body = (np.abs(x - middle) < 1.2 * wide) & (y > bottom + 0.28 * tall)
        covered |= head | body
    return float(covered.mean())


def render_photo(
    identity: int,
    session: int,
    shot: int,
    seed: int = 0,
    size: int = 320,
    changes: Parameters | None = None,
    camera: str = "camera",
) -> tuple[np.ndarray, list[dict]]:
    """Draw one photo of one person.

    Args:
        identity: number of the person, 0 or more.
        session: number of the sitting, 0 or more.
        shot: number of the photo in its session, 0 or more.
        seed: the dataset's seed.
        size: shorter side of the photo in pixels, at least 32; photos are landscape, 4:3.
        changes: shot parameters to replace, by name, such as ``{"yaw": 40.0}``: the same photo
            but for that.
        camera: ``"camera"``, or ``"phone"``: held near, in warm and hard lamplight, with more
            noise and blur.

    Returns:
        The photo, uint8 sRGB [H, W, 3], before any JPEG compression, and its faces, here one: a
        dict with ``identity``; ``stranger`` (False); ``box``, float32 [x1, y1, x2, y2] in
        pixels, inside the photo: the projection of the head's surface from the brows to the chin
        and from ear to ear, be hair or another head over it or not; ``landmarks``, float32
        [5, 2] in pixels: the eyes' centres, the nose's tip and the mouth's corners, left ones of
        a face that looks into the camera first, whether they can be seen or not; ``factors``,
        what is known of how it came about, numbers by name (angles in degrees, ``noise`` in grey
        levels, ``blur`` the Gaussian's sigma in pixels of a photo of size 320, ``face_scale``
        the head's width as a share of the shorter side, ``occlusion`` the share of the box
        behind nearer people).

    Raises:
        ValueError: ``size`` is below 32, ``changes`` names what a shot does not have, or the
            camera is unknown.
    """
    with one_thread():
        view = _portrait(identity, session, shot, seed, size, changes, camera)
        canvas = _canvas(view, identity, session, seed)
        _draw_person(view, canvas, seed)
        rng = seeds.generator(seed, "synthetic noise", identity, session, shot)
        photo = developed(canvas, view["shot"], size, rng)
    return photo, [_face(view)]


def render_scene(
    scene: int,
    people: tuple[int, int] = (0, 100),
    seed: int = 0,
    size: int = 320,
    count: int | None = None,
) -> tuple[np.ndarray, list[dict]]:
    """Draw one photo of several people, or of none.

    Args:
        scene: number of the photo, 0 or more; everybody in it sits for it once.
        people: first and past-the-last identity of those who are not strangers.
        seed: the dataset's seed.
        size: as for :func:`render_photo`.
        count: number of people, at most 32 for faces of at least ``MIN_FACE`` pixels at size
            320; None draws it, 0 to 32.

    Returns:
        The photo and its faces, as :func:`render_photo`, further people first.

    Raises:
        ValueError: ``size`` is below 32, ``count`` not in 0..32, or ``people`` no range.
    """
    if count is not None and not 0 <= count <= 32:
        raise ValueError(f"count is {count}, a scene holds 0 to 32 people")
    if not 0 <= people[0] < people[1]:
        raise ValueError(f"people is {people}, needs a first and a larger past-the-last number")
    with one_thread():
        laid_out = _scene(scene, people, seed, size, count)
        canvas = _canvas(laid_out, SCENE_PLACES, scene, seed)
        for view in laid_out["views"]:
            _draw_person(view, canvas, seed)
        rng = seeds.generator(seed, "synthetic noise", SCENE_PLACES, scene)
        photo = developed(canvas, laid_out["shot"], size, rng)
    return photo, [_face(view) for view in laid_out["views"]]


def _face(view: dict) -> dict:
    keys = ("identity", "stranger", "box", "landmarks", "factors")
    return {key: view[key] for key in keys}


def _canvas(view: dict, identity: int, session: int, seed: int) -> torch.Tensor:
    """Linear RGB, supersampled, with the surroundings and nobody yet, [3, H, W]."""
    outdoors = bool(view["session"]["outdoors"])
    place = _place(identity, session, seed, outdoors)
    behind = background(view["shot"], place, view["height"], view["width"])
    return behind.repeat_interleave(SUPERSAMPLE, 1).repeat_interleave(SUPERSAMPLE, 2)


def _draw_person(view: dict, canvas: torch.Tensor, seed: int) -> None:
    """A person over whatever the canvas shows."""
    light = view["rotation"].T @ view["light"]
    radius, maps = _head(
        view["identity"], view["sitting"], seed, view["shot"], light, view["session"]["beard"]
    )
    depth = torch.full(canvas.shape[1:], 900.0)
    draw_head(view, canvas, depth, radius, maps)
    draw_body(view, canvas, depth)
    if view["session"]["glasses"]:
        draw_glasses(view, canvas, depth)


def lay_out_photo(
    identity: int,
    session: int,
    shot: int,
    seed: int = 0,
    size: int = 320,
    camera: str = "camera",
) -> tuple[np.ndarray, list[dict]]:
    """What :func:`render_photo` returns, quickly and with a black photo."""
    with one_thread():
        view = _portrait(identity, session, shot, seed, size, camera=camera)
    return np.zeros((view["height"], view["width"], 3), np.uint8), [_face(view)]


def lay_out_scene(
    scene: int,
    people: tuple[int, int] = (0, 100),
    seed: int = 0,
    size: int = 320,
    count: int | None = None,
) -> tuple[np.ndarray, list[dict]]:
    """What :func:`render_scene` returns, quickly and with a black photo."""
    with one_thread():
        laid_out = _scene(scene, people, seed, size, count)
    photo = np.zeros((laid_out["height"], laid_out["width"], 3), np.uint8)
    return photo, [_face(view) for view in laid_out["views"]]
