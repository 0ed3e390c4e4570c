import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from thesislib.synthetic import head, parameters, renderer
from thesislib.synthetic.scene import (
    MIN_FACE,
    _hidden,
    _portrait,
    lay_out_photo,
    lay_out_scene,
    render_photo,
    render_scene,
)


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
    draw = (
        "import hashlib; from thesislib.data import synthetic; "
        "photo, (face,) = render_photo(1, 0, 3, size=96); "
        "parts = (photo, face['box'], face['landmarks']); "
        "print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())"
    )
    older = {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Haswell"}
    older |= {"ATEN_CPU_CAPABILITY": "avx2", "NPY_DISABLE_CPU_FEATURES": "X86_V4"}
    printed = [
        subprocess.run(
            [sys.executable, "-c", draw],
            env=os.environ | variables,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for variables in ({}, older)
    ]
    assert len(printed[0]) == 65
    assert printed[0] == printed[1]


@pytest.mark.parametrize("identity", range(8))
def test_box_is_that_of_the_face_rays_meet(identity):
    """The box comes from projected points; here rays are traced to the hairless head instead."""
    view = _portrait(identity, 0, identity, seed=0, size=240)
    person, shot = view["person"], view["shot"]
    layout = head.Layout(head.grid_directions(), person, shot)
    hit = renderer._trace_head(view, head._skin_radius(layout)[None, None])
    direction = torch.stack([hit["x"], hit["y"], hit["z"]]) / hit["length"]
    face = hit["index"][head.in_face(head.Layout(direction, person, shot))].numpy()
    row, column = np.divmod(face, view["width"] * renderer.SUPERSAMPLE)
    low, high = np.array([column.min(), row.min()]), np.array([column.max() + 1, row.max() + 1])
    seen = np.concatenate([low, high]) / renderer.SUPERSAMPLE
    np.testing.assert_allclose(view["box"], seen, atol=2.5)


@pytest.mark.parametrize("identity", range(30))
def test_box_lies_inside_the_photo_unclipped(identity):
    for shot in range(4):
        view = _portrait(identity, shot % 3, shot, seed=7, size=160)
        x1, y1, x2, y2 = view["box"]
        assert 0 < x1 < x2 < view["width"]
        assert 0 < y1 < y2 < view["height"]
        assert 0.15 * 160 < x2 - x1 < 0.62 * 160


def test_identity_depends_on_its_number_and_the_seed_alone():
    before = parameters.identity_parameters(4, seed=0)
    render_photo(4, 2, 9, seed=0, size=48)
    views = [_portrait(4, session, shot, 0, 64) for session, shot in [(0, 0), (1, 5)]]
    assert before == parameters.identity_parameters(4, seed=0)
    assert all(view["person"] == before for view in views)
    assert before != parameters.identity_parameters(5, seed=0)
    assert before != parameters.identity_parameters(4, seed=1)
    assert all(isinstance(value, float) for value in before.values())


def test_session_is_shared_by_its_shots_and_differs_from_others():
    first, second = (_portrait(4, 0, shot, 0, 64) for shot in (0, 1))
    other = _portrait(4, 1, 0, 0, 64)
    assert first["session"] == second["session"] != other["session"]
    assert first["shot"] != second["shot"]


def test_dlib_finds_the_faces():
    """A detector that learnt from photos of people takes these for faces."""
    dlib = pytest.importorskip("dlib")
    detector = dlib.get_frontal_face_detector()
    found = 0
    for identity in range(40, 52):
        shots = (_portrait(identity, 0, shot, 0, 320) for shot in range(8))
        shot = min(enumerate(shots), key=lambda pair: abs(pair[1]["factors"]["yaw"]))[0]
        photo, faces = render_photo(identity, 0, shot, seed=0, size=320)
        box = faces[0]["box"]
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        hits = detector(photo, 1)
        found += any(h.left() < x < h.right() and h.top() < y < h.bottom() for h in hits)
    assert found >= 10


@pytest.mark.parametrize("identity", range(6))
def test_landmarks_are_where_the_face_is_painted(identity):
    """On the frontal, unblurred face: the iris is dark, lips are redder than the skin beside."""
    shot = next(
        shot for shot in range(60) if abs(_portrait(identity, 0, shot, 0, 64)["factors"]["yaw"]) < 8
    )
    _, faces = render_photo(identity, 0, shot, size=240)
    (left_eye, right_eye, nose, left_mouth, right_mouth) = faces[0]["landmarks"]
    x1, y1, x2, y2 = faces[0]["box"]
    assert x1 < left_eye[0] < nose[0] < right_eye[0] < x2
    assert x1 < left_mouth[0] < nose[0] < right_mouth[0] < x2
    assert y1 < max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1]) < y2
    # The eyes of the layout: where the lids are furthest apart.
    view = _portrait(identity, 0, shot, 0, 240)
    layout = head.Layout(head.grid_directions(), view["person"], view["shot"])
    hit = renderer._trace_head(view, head._skin_radius(layout)[None, None])
    direction = torch.stack([hit["x"], hit["y"], hit["z"]]) / hit["length"]
    traced = head.Layout(direction, view["person"], view["shot"])
    for side, eye in ((-1, left_eye), (1, right_eye)):
        ball = (traced.opening > 0.3 * float(traced.opening.max())) & (traced.side == side)
        index = hit["index"][ball & (traced.front > 0.5)].numpy()
        row, column = np.divmod(index, view["width"] * renderer.SUPERSAMPLE)
        middle = np.array([column.mean(), row.mean()]) / renderer.SUPERSAMPLE
        np.testing.assert_allclose(eye, middle, atol=0.02 * (x2 - x1) + 0.5)


def test_heads_turn_up_to_sixty_degrees_mostly_not():
    yaw = np.array(
        [parameters.shot_parameters(i, 0, shot, 0)["yaw"] for i in range(50) for shot in range(20)]
    )
    assert 50 < np.abs(yaw).max() <= 60
    assert 0.75 < (np.abs(yaw) <= 30).mean() < 0.95


@pytest.mark.parametrize("count", [0, 1, 5, 32])
def test_a_scene_shows_as_many_people_as_asked(count):
    photo, faces = render_scene(3, (0, 40), size=320 if count == 32 else 128, count=count)
    assert len(faces) == count
    assert photo.std() > 3
    known = [face["identity"] for face in faces if not face["stranger"]]
    assert len(set(known)) == len(known)
    assert all(0 <= identity < 40 for identity in known)
    assert all(face["identity"] >= parameters.FIRST_STRANGER for face in faces if face["stranger"])
    for face in faces:
        x1, y1, x2, y2 = face["box"]
        assert 0 <= x1 < x2 <= photo.shape[1] and 0 <= y1 < y2 <= photo.shape[0]
        if count == 32:
            assert np.sqrt((x2 - x1) * (y2 - y1)) >= 0.8 * MIN_FACE
        assert 0 <= face["factors"]["occlusion"] < 0.8


def test_scenes_hold_nobody_up_to_many_people_and_strangers_among_them():
    laid_out = [lay_out_scene(scene, size=64)[1] for scene in range(120)]
    counts = np.array([len(faces) for faces in laid_out])
    assert counts.min() == 0 and counts.max() >= 24
    assert 0.01 < (counts == 0).mean() < 0.15
    strange = np.mean([face["stranger"] for faces in laid_out for face in faces])
    assert 0.15 < strange < 0.35


def test_laying_out_is_drawing_without_the_pixels():
    for laid_out, drawn in (
        (lay_out_photo(4, 1, 2, size=64), render_photo(4, 1, 2, size=64)),
        (lay_out_scene(7, size=64), render_scene(7, size=64)),
    ):
        assert laid_out[0].shape == drawn[0].shape
        assert [face["factors"] for face in laid_out[1]] == [f["factors"] for f in drawn[1]]
        for a, b in zip(laid_out[1], drawn[1], strict=True):
            np.testing.assert_array_equal(a["box"], b["box"])
            np.testing.assert_array_equal(a["landmarks"], b["landmarks"])


def test_who_stands_nearer_hides_who_stands_behind():
    behind = {"box": np.array([100.0, 100.0, 140.0, 150.0])}
    before = {"box": np.array([120.0, 60.0, 180.0, 130.0])}
    aside = {"box": np.array([300.0, 100.0, 340.0, 150.0])}
    assert _hidden(behind, [aside]) == 0
    # Half of its columns, down to the nearer one's chin; then the body from 0.28 heads below.
    assert 0.3 < _hidden(behind, [before]) < 0.7
    assert _hidden(behind, [{"box": behind["box"]}]) > 0.9


@pytest.mark.parametrize("count", [-1, 33])
def test_a_scene_of_too_many_or_fewer_than_nobody_is_refused(count):
    with pytest.raises(ValueError, match=f"count is {count}, a scene holds 0 to 32"):
        render_scene(0, count=count)


def test_no_range_of_people_is_refused():
    with pytest.raises(ValueError, match=r"people is \(4, 4\)"):
        render_scene(0, people=(4, 4))


def test_a_photo_too_small_is_refused():
    with pytest.raises(ValueError, match="size is 16"):
        render_photo(0, 0, 0, size=16)


def test_a_change_changes_that_alone():
    _, plain = lay_out_photo(2, 0, 1, size=64)
    _, turned = render_photo(2, 0, 1, size=64, changes={"yaw": 45.0})
    factors = {**plain[0]["factors"], "yaw": 45.0}
    assert turned[0]["factors"] == factors
    with pytest.raises(ValueError, match="'yawn' is no parameter of a shot: yaw, pitch"):
        render_photo(2, 0, 1, size=64, changes={"yawn": 1.0})
