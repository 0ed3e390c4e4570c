"""Photos of one person and of several: what they show, where, and that they stay as they are."""

import hashlib
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.synthetic import head, parameters, renderer, scene
from thesislib.synthetic.scene import compose_photo, compose_scene, draw, render_photo, render_scene


def portrait(identity, session, shot, seed=0, size=64, **options):
    """The one view of a photo of one person."""
    (view,) = compose_photo(identity, session, shot, seed, size, **options).views
    return view


def traced(view):
    """Layout of the points of the hairless head that rays meet, and their place in the photo."""
    layout = head.Layout(head.grid_directions(), view.person, view.shot)
    hits = renderer.trace_head(view, head.skin_radius(layout)[None, None])
    direction = torch.stack([hits.x, hits.y, hits.z]) / hits.length
    row, column = np.divmod(hits.pixel.numpy(), view.width * renderer.SUPERSAMPLE)
    return head.Layout(direction, view.person, view.shot), row, column


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other arithmetic")
@pytest.mark.parametrize(
    ("draw_one", "sha"),
    [
        (lambda: render_photo(1, 0, 3, size=64), "5c8e00bd3ddfa82d"),
        (
            lambda: render_photo(5_000_002, 1, 0, seed=2, size=64, camera="phone"),
            "45e26179ee0c6097",
        ),
        (lambda: render_scene(7, (3, 9), size=64, count=6), "be1bbd57bab53128"),
    ],
    ids=["portrait", "phone", "scene"],
)
def test_these_numbers_give_these_bytes(draw_one, sha):
    """Whoever changes a pixel or a box on purpose raises ``parameters.VERSION``, and these."""
    photo, faces = draw_one()
    parts = [photo, *(array for face in faces for array in (face.box, face.landmarks))]
    found = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]
    assert (parameters.VERSION, found) == (4, sha)


def test_same_pixels_whatever_was_drawn_before_and_on_however_many_threads():
    first, _ = render_photo(5, 1, 2, seed=1, size=64)
    render_photo(6, 0, 0, seed=1, size=96)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    again, _ = render_photo(5, 1, 2, seed=1, size=64)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    other_seed, _ = render_photo(5, 1, 2, seed=2, size=64)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other_seed).mean() > 3


def test_same_bytes_on_processors_of_other_kinds():
    """Told that the processor is an older one, the libraries take other code."""
    program = (
        "import hashlib; from thesislib.synthetic.scene import render_photo; "
        "photo, (face,) = render_photo(1, 0, 3, size=96); "
        "parts = (photo, face.box, face.landmarks); "
        "print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())"
    )
    older = {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Haswell"}
    older |= {"ATEN_CPU_CAPABILITY": "avx2", "NPY_DISABLE_CPU_FEATURES": "X86_V4"}
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | older,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    photo, (face,) = render_photo(1, 0, 3, size=96)
    parts = (photo, face.box, face.landmarks)
    assert printed.strip() == hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()


@pytest.mark.parametrize("identity", range(6))
def test_box_is_that_of_the_face_rays_meet(identity):
    """The box comes from projected points; here rays are traced to the hairless head instead."""
    view = portrait(identity, 0, identity, size=240)
    layout, row, column = traced(view)
    face = head.in_face(layout).numpy()
    row, column = row[face], column[face]
    low, high = np.array([column.min(), row.min()]), np.array([column.max() + 1, row.max() + 1])
    seen = np.concatenate([low, high]) / renderer.SUPERSAMPLE
    np.testing.assert_allclose(view.box, seen, atol=2.5)


def test_boxes_lie_inside_their_photos_unclipped():
    for identity in range(20):
        for shot in range(3):
            view = portrait(identity, shot, shot, seed=7, size=160)
            x1, y1, x2, y2 = view.box
            assert 0 < x1 < x2 < view.width
            assert 0 < y1 < y2 < view.height
            assert 0.15 * 160 < x2 - x1 < 0.62 * 160


def test_identity_depends_on_its_number_and_the_seed_alone():
    before = dict(parameters.identity_parameters(4, seed=0))
    render_photo(4, 2, 9, seed=0, size=48)
    parameters.identity_parameters.cache_clear()
    assert before == parameters.identity_parameters(4, seed=0)
    for session, shot in ((0, 0), (1, 5)):
        assert portrait(4, session, shot).person == before
    assert before != parameters.identity_parameters(5, seed=0)
    assert before != parameters.identity_parameters(4, seed=1)
    assert all(isinstance(value, float) for value in before.values())


def test_session_is_shared_by_its_shots_and_differs_from_others():
    first, second = (portrait(4, 0, shot) for shot in (0, 1))
    other = portrait(4, 1, 0)
    assert first.session == second.session != other.session
    assert first.shot != second.shot


def test_a_phone_takes_the_same_person_in_the_same_clothes_from_nearer():
    by_camera, by_phone = (portrait(4, 0, 1, camera=name) for name in parameters.CAMERAS)
    assert by_camera.person == by_phone.person
    for name in ("hair_length", "glasses", "clothes_hue"):
        assert by_camera.session[name] == by_phone.session[name]
    assert by_phone.shot["distance"] < 0.5 * by_camera.shot["distance"]
    assert by_phone.shot["noise"] > by_camera.shot["noise"]
    assert by_phone.session["outdoors"] == 0
    with pytest.raises(ValueError, match="camera 'film' is unknown; choose one of camera, phone"):
        render_photo(0, 0, 0, camera="film")


def test_dlib_finds_the_faces():
    """A detector that learnt from photos of people takes these for faces."""
    dlib = pytest.importorskip("dlib")
    detector = dlib.get_frontal_face_detector()
    found = 0
    for identity in range(40, 48):
        frontal = min(range(4), key=lambda shot: abs(portrait(identity, 0, shot).shot["yaw"]))
        photo, faces = render_photo(identity, 0, frontal, size=320)
        x, y = (faces[0].box[:2] + faces[0].box[2:]) / 2
        hits = detector(photo, 1)
        found += any(h.left() < x < h.right() and h.top() < y < h.bottom() for h in hits)
    assert found >= 7


@pytest.mark.parametrize("identity", range(6))
def test_landmarks_are_where_the_face_is_painted(identity):
    shot = next(shot for shot in range(60) if abs(portrait(identity, 0, shot).shot["yaw"]) < 8)
    view = portrait(identity, 0, shot, size=240)
    left_eye, right_eye, nose, left_mouth, right_mouth = view.landmarks
    x1, y1, x2, y2 = view.box
    assert x1 < left_eye[0] < nose[0] < right_eye[0] < x2
    assert x1 < left_mouth[0] < nose[0] < right_mouth[0] < x2
    assert y1 < max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1]) < y2
    # The eyes of the layout: where the lids are furthest apart.
    layout, row, column = traced(view)
    for side, eye in ((-1, left_eye), (1, right_eye)):
        ball = (layout.opening > 0.3 * float(layout.opening.max())) & (layout.side == side)
        ball = (ball & (layout.front > 0.5)).numpy()
        middle = np.array([column[ball].mean(), row[ball].mean()]) / renderer.SUPERSAMPLE
        np.testing.assert_allclose(eye, middle, atol=0.02 * (x2 - x1) + 0.5)
    # The mouth's corners: the ends of the layout's line of lips.
    line = ((layout.mouth_above.abs() < 0.03) & (layout.front > 0.5)).numpy()
    for end, corner in ((-1, left_mouth), (1, right_mouth)):
        at_end = line & ((layout.mx * end - 1).abs() < 0.1).numpy()
        middle = np.array([column[at_end].mean(), row[at_end].mean()]) / renderer.SUPERSAMPLE
        np.testing.assert_allclose(corner, middle, atol=0.03 * (x2 - x1) + 0.5)


def test_heads_turn_up_to_sixty_degrees_mostly_not():
    yaw = np.array(
        [parameters.shot_parameters(i, 0, shot, 0)["yaw"] for i in range(50) for shot in range(20)]
    )
    assert 50 < np.abs(yaw).max() <= 60
    assert 0.75 < (np.abs(yaw) <= 30).mean() < 0.95


@pytest.mark.parametrize("count", [0, 1, 5, 32])
def test_a_scene_shows_as_many_people_as_asked(count):
    composition = compose_scene(3, (0, 40), size=320, count=count)
    height, width = composition.shape
    faces = composition.faces
    assert len(faces) == count
    known = [face.identity for face in faces if not face.stranger]
    assert len(set(known)) == len(known)
    assert all(0 <= identity < 40 for identity in known)
    assert all(face.identity >= parameters.FIRST_STRANGER for face in faces if face.stranger)
    for face in faces:
        x1, y1, x2, y2 = face.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert np.sqrt((x2 - x1) * (y2 - y1)) >= 0.8 * scene.MIN_FACE
        assert 0 <= face.factors["occlusion"] < 0.8


def test_a_scene_of_nobody_shows_its_place_and_one_of_somebody_the_person_too():
    nobody, _ = render_scene(3, size=64, count=0)
    one, (face,) = render_scene(3, size=64, count=1)
    assert nobody.shape == one.shape == (64, 85, 3)
    assert nobody.std() > 3
    x1, y1, x2, y2 = face.box.round().astype(int)
    changed = np.abs(one.astype(int) - nobody).max(axis=2) > 20
    assert changed[y1:y2, x1:x2].mean() > 0.5
    assert changed[:, : max(0, x1 - 2 * (x2 - x1))].mean() < 0.1


def test_scenes_hold_nobody_up_to_many_people_and_strangers_among_them():
    of_scenes = [compose_scene(number, size=64).faces for number in range(40)]
    counts = np.array([len(faces) for faces in of_scenes])
    assert counts.min() == 0 and counts.max() >= 24
    assert 0.01 < (counts == 0).mean() < 0.15
    strange = np.mean([face.stranger for faces in of_scenes for face in faces])
    assert 0.15 < strange < 0.35


def test_of_few_people_nobody_is_in_a_scene_twice():
    faces = compose_scene(8, (3, 5), seed=1, size=96, count=6).faces
    known = [face.identity for face in faces if not face.stranger]
    assert len(faces) == 6 and len(set(known)) == len(known) <= 2


def test_people_of_a_scene_share_light_place_and_camera():
    composition = compose_scene(7, size=64, count=4)
    for view in composition.views:
        for name in ("light_azimuth", "light_key", "outdoors"):
            assert view.session[name] == composition.session[name]
        for name in ("exposure", "blur", "distance"):
            assert view.shot[name] == composition.shot[name]
    assert len({view.session["clothes_hue"] for view in composition.views}) == 4


def test_nearer_people_of_a_row_are_drawn_later():
    for number in range(20):  # two people stand in one row
        further, nearer = compose_scene(number, size=64, count=2).views
        assert further.nearness < nearer.nearness


def test_nobody_hides_most_of_another_face():
    for number in range(12):
        boxes = [face.box for face in compose_scene(number, size=64, count=12).faces]
        for at, box in enumerate(boxes):
            for nearer in boxes[at + 1 :]:
                assert scene.hidden_share(box, [nearer]) <= scene.MAX_HIDDEN


def test_a_photo_has_the_shape_of_its_composition():
    for composition in (compose_photo(4, 1, 2, size=50), compose_scene(7, size=50, count=2)):
        photo = draw(composition)
        assert photo.dtype == np.uint8
        assert photo.shape == (*composition.shape, 3) == (50, 67, 3)


def test_who_stands_nearer_hides_who_stands_behind():
    behind = np.array([100.0, 100.0, 140.0, 150.0])
    before = np.array([120.0, 60.0, 180.0, 130.0])
    aside = np.array([300.0, 100.0, 340.0, 150.0])
    assert scene.hidden_share(behind, []) == scene.hidden_share(behind, [aside]) == 0
    # Half of its columns, down to the nearer one's chin; then the body from 0.28 heads below.
    assert 0.3 < scene.hidden_share(behind, [before]) < 0.7
    assert scene.hidden_share(behind, [behind]) > 0.9


BOXES = st.tuples(*[st.integers(0, 100)] * 2, *[st.integers(5, 60)] * 2).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]], float)
)


@settings(deadline=None)
@given(BOXES, st.lists(BOXES, max_size=3))
def test_hidden_share_counts_points_behind_rectangles(box, nearer):
    covered = 0
    for y in np.linspace(box[1], box[3], 24):
        for x in np.linspace(box[0], box[2], 24):
            for x1, y1, x2, y2 in nearer:
                wide, tall = x2 - x1, y2 - y1
                in_head = x1 <= x <= x2 and y1 - 0.55 * tall <= y <= y2
                in_body = abs(x - (x1 + x2) / 2) < 1.2 * wide and y > y2 + 0.28 * tall
                if in_head or in_body:
                    covered += 1
                    break
    assert scene.hidden_share(box, nearer) == covered / 24**2


@pytest.mark.parametrize("count", [-1, 33])
def test_a_scene_of_too_many_or_fewer_than_nobody_is_refused(count):
    with pytest.raises(ValueError, match=f"count is {count}, a scene holds 0 to 32"):
        compose_scene(0, count=count)


def test_no_range_of_people_is_refused():
    with pytest.raises(ValueError, match=r"people is \(4, 4\)"):
        compose_scene(0, people=(4, 4))


def test_a_photo_too_small_is_refused():
    with pytest.raises(ValueError, match="size is 16"):
        render_photo(0, 0, 0, size=16)
    with pytest.raises(ValueError, match="size is 31"):
        render_scene(0, size=31)


def test_a_change_changes_that_alone():
    (plain,) = compose_photo(2, 0, 1, size=64).faces
    (turned,) = compose_photo(2, 0, 1, size=64, changes={"yaw": 45.0}).faces
    assert turned.factors == {**plain.factors, "yaw": 45.0}
    assert (turned.landmarks != plain.landmarks).any()
    with pytest.raises(ValueError, match="'yawn' is no parameter of a shot: yaw, pitch"):
        render_photo(2, 0, 1, size=64, changes={"yawn": 1.0})
