"""Projection, rays and the camera's part, each against the formula point by point."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thesislib.synthetic import camera
from thesislib.synthetic.camera import SUPERSAMPLE
from thesislib.synthetic.scene import compose_photo

ANGLES = st.floats(-180, 180)


@given(ANGLES, ANGLES, ANGLES)
def test_a_rotation_keeps_lengths_and_handedness(yaw, pitch, roll):
    turn = camera.rotation(yaw, pitch, roll)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_yaw_is_to_the_right_pitch_down_and_roll_counter_clockwise():
    nose, crown = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    half, whole = np.sin(np.pi / 6), np.cos(np.pi / 6)
    np.testing.assert_allclose(camera.rotation(30, 0, 0) @ nose, [half, 0, whole])
    np.testing.assert_allclose(camera.rotation(0, 30, 0) @ nose, [0, -half, whole])
    np.testing.assert_allclose(camera.rotation(0, 0, 30) @ crown, [-half, whole, 0])
    # Roll turns the photo, whatever the other two did.
    turned = camera.rotation(20, 10, 0)
    np.testing.assert_allclose(camera.rotation(20, 10, 30), camera.rotation(0, 0, 30) @ turned)


def test_a_ray_through_a_point_in_the_photo_meets_that_point():
    (view,) = compose_photo(3, 0, 1, size=240, changes={"yaw": 25.0, "roll": 8.0}).views
    points = np.random.default_rng(0).normal(size=(50, 3))
    distance, focal = view.shot["distance"], view.pose.focal
    columns, rows = [], []
    for point in points:
        x, y, z = view.pose.rotation @ point
        columns.append(view.centre[0] + focal * x / (distance - z))
        rows.append(view.centre[1] - focal * y / (distance - z))
    origin, direction = camera.rays(
        view, torch.tensor(rows), torch.tensor(columns), view.pose.rotation
    )
    direction = torch.stack(direction).T.numpy()
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, atol=1e-6)
    for point, along in zip(points, direction, strict=True):
        np.testing.assert_allclose(np.cross(point - origin, along), 0, atol=1e-4)
        assert (point - origin) @ along > 0


def test_pixels_are_named_by_their_centres():
    rows, columns = camera.pixel_centres((3, 5), (10, 13))
    for i, row in enumerate((3, 4)):
        for j, column in enumerate((10, 11, 12)):
            assert rows[i, j] == (row + 0.5) / SUPERSAMPLE
            assert columns[i, j] == (column + 0.5) / SUPERSAMPLE


def test_a_photo_is_exposed_averaged_and_coded():
    light = np.random.default_rng(0).uniform(0, 2, (3, 4, 6)).astype(np.float32)
    shot = {"exposure": 1.2, "blur": 0.0, "noise": 0.0}
    photo = camera.develop(torch.tensor(light), shot, 320, np.random.default_rng(0))
    assert photo.shape == (2, 3, 3) and photo.dtype == np.uint8
    for row in range(2):
        for column in range(3):
            for c in range(3):
                part = light[c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                seen = np.mean([1 - np.exp(-1.35 * 1.2 * value) for value in part.ravel()])
                assert abs(int(photo[row, column, c]) - 255 * seen ** (1 / 2.2)) <= 0.51


def test_blur_and_noise_are_as_asked_for():
    light = torch.full((3, 160, 200), 0.5)
    light[:, :, 100:] = 1.0
    shot = {"exposure": 1.0, "blur": 0.0, "noise": 0.0}

    def developed(**changes):
        rng = np.random.default_rng(0)
        return camera.develop(light, shot | changes, 160, rng).astype(float)

    sharp, blurred, noisy = developed(), developed(blur=4.0), developed(noise=5.0)
    step = sharp[0, 50, 0] - sharp[0, 49, 0]
    # A Gaussian of sigma 2 px (4 at size 320) turns the step into its integral.
    slope = blurred[0, 50, 0] - blurred[0, 49, 0]
    assert step > 20 and slope == pytest.approx(step / (2 * np.sqrt(2 * np.pi)), rel=0.2)
    assert (noisy - sharp).std() == pytest.approx(5, rel=0.05)
