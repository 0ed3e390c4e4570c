"""What rays meet and how it is lit: against closed forms, roots of polynomials and loops."""

import dataclasses

import numpy as np
import pytest
import torch

from thesislib.synthetic import body, camera, glasses, head, places, renderer
from thesislib.synthetic.camera import FAR, SUPERSAMPLE
from thesislib.synthetic.scene import compose_photo


@pytest.fixture
def view():
    """A frontal person of a small photo."""
    (view,) = compose_photo(1, 0, 0, size=96, changes={"yaw": 0.0, "pitch": 0.0, "roll": 0.0}).views
    return view


def blank(view, value=1.0):
    """Canvas and depth of a photo of nothing."""
    shape = view.height * SUPERSAMPLE, view.width * SUPERSAMPLE
    return torch.full((3, *shape), value), torch.full(shape, FAR)


def test_rays_meet_a_sphere_where_geometry_says(view):
    radius = 0.7
    hits = renderer.trace_head(view, torch.full((1, 1, head.GRID, head.GRID), radius))
    size = (0, view.height * SUPERSAMPLE), (0, view.width * SUPERSAMPLE)
    rows, columns = camera.pixel_centres(*size)
    origin, direction = camera.rays(view, rows.ravel(), columns.ravel(), view.pose.rotation)
    origin, direction = np.array(origin), torch.stack(direction).T.double().numpy()
    along = direction @ origin
    root = along**2 - (origin @ origin - radius**2)
    # Rays that just miss or graze the sphere may go either way.
    sure = np.flatnonzero(root > 0.02)
    assert set(sure) <= set(hits.pixel.tolist()) <= set(np.flatnonzero(root > -0.02))
    of_hit = dict(zip(hits.pixel.tolist(), hits.t.tolist(), strict=True))
    expected = -along[sure] - np.sqrt(root[sure])
    np.testing.assert_allclose([of_hit[pixel] for pixel in sure], expected, atol=0.01)
    np.testing.assert_allclose(hits.length, radius, atol=0.01)
    point = torch.stack([hits.x, hits.y, hits.z])
    np.testing.assert_allclose(point.norm(dim=0), hits.length, atol=1e-5)


def test_a_head_beside_the_photo_is_met_by_no_ray(view):
    beside = dataclasses.replace(view, centre=(-500.0, 40.0))
    assert renderer.trace_head(beside, torch.full((1, 1, head.GRID, head.GRID), 0.7)) is None
    canvas, depth = blank(beside)
    body.draw_body(beside, canvas, depth)
    glasses.draw_glasses(beside, canvas, depth)
    assert (canvas == 1).all() and (depth == FAR).all()


def test_light_on_a_point_is_the_sum_of_three_terms():
    rng = np.random.default_rng(0)

    def unit(*shape):
        vector = rng.normal(size=shape)
        return vector / np.linalg.norm(vector, axis=0)

    session = {"light_key": 0.9, "light_ambient": 0.5, "light_warmth": 0.1}
    towards = renderer.Lights(unit(3), unit(3), unit(3))
    normal, rgb = unit(3, 40), rng.uniform(size=(3, 40))
    openness, shadow, gloss = rng.uniform(size=(3, 40))
    given = (torch.tensor(a, dtype=torch.float32) for a in (openness, shadow, rgb, gloss))
    found = renderer.shade(session, torch.tensor(normal, dtype=torch.float32), towards, *given)
    half = towards.lamp + towards.eye
    half = half / np.linalg.norm(half)
    for at in range(40):
        n = normal[:, at]
        key = 0.9 * max(0, (n @ towards.lamp + 0.18) / 1.18) * shadow[at]
        ambient = 0.5 * (0.72 + 0.28 * (n @ towards.up)) * openness[at]
        shine = 0.9 * shadow[at] * 0.2 * gloss[at] * max(0, n @ half) ** 16
        for c, (lamp, fill) in enumerate([(1.1, 0.95), (1.0, 1.0), (0.9, 1.06)]):
            expected = rgb[c, at] * (lamp * key + fill * ambient) + lamp * shine
            assert found[c, at] == pytest.approx(expected, abs=1e-5)


def test_a_quadric_is_met_at_its_first_root():
    rng = np.random.default_rng(0)
    a, b, c = rng.uniform(0.5, 2, 100), rng.normal(size=100), rng.normal(size=100)
    met = body._meet_quadric(*(torch.tensor(v, dtype=torch.float64) for v in (a, b, c)))
    missed = 0
    for at, t in enumerate(met.tolist()):
        roots = np.roots([a[at], 2 * b[at], c[at]])
        if np.isreal(roots).all():
            assert t == pytest.approx(roots.real.min())
        else:
            assert t == FAR
            missed += 1
    assert 0 < missed < 100


def test_rays_meet_shoulders_and_neck_where_their_equations_hold(view):
    rows, columns = camera.pixel_centres((100, 192), (60, 200))
    origin, direction = camera.rays(view, rows, columns, np.eye(3))
    radii, wide = (1.8, 1.12, 0.78), 0.4
    start = np.array(origin)
    rays = torch.stack(direction).reshape(3, -1).T.double().numpy()
    chest = body._meet_chest(origin, direction, radii).ravel().tolist()
    neck = body._meet_neck(origin, direction, wide).ravel().tolist()
    on_chest = on_trunk = on_neck = 0
    for ray, t_chest, t_neck in zip(rays, chest, neck, strict=True):
        if t_chest < FAR:
            scaled = (start + t_chest * ray - body._CHEST_CENTRE) / radii
            if scaled[1] > 0:
                on_chest += 1
                assert scaled @ scaled == pytest.approx(1, abs=1e-3)
            else:
                on_trunk += 1
                assert scaled[0] ** 2 + scaled[2] ** 2 == pytest.approx(1, abs=1e-3)
        if t_neck < FAR:
            on_neck += 1
            x, y, z = start + t_neck * ray
            assert -2.4 < y < -0.2
            across = np.hypot(x, z + 0.14 - 0.16 * (y + 0.5))
            assert across == pytest.approx(wide - 0.13 * (y + 0.9), abs=1e-3)
    assert min(on_chest, on_trunk, on_neck) > 100


def test_a_body_is_hidden_by_what_is_nearer(view):
    canvas, depth = blank(view)
    depth[:, : view.width] = 1.0  # something close before the left half
    body.draw_body(view, canvas, depth)
    assert (canvas[:, :, : view.width] == 1).all() and (depth[:, : view.width] == 1).all()
    drawn = depth[:, view.width :] < FAR
    assert drawn.float().mean() > 0.1
    assert (canvas[:, :, view.width :][:, drawn] != 1).any(0).all()
    assert (canvas[:, :, view.width :][:, ~drawn] == 1).all()


def test_the_head_shades_what_is_under_it_from_a_lamp_above():
    y = torch.linspace(-3, -1, 9)
    x, z = torch.zeros(9), torch.zeros(9)
    above, ahead = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    shadow, openness = body._under_the_head(x, y, z, above)
    assert (shadow < 0.2).all()
    assert (openness.diff() <= 0).all() and openness[0] > openness[-1]
    assert (body._under_the_head(x, y, z, ahead)[0] == 1).all()
    aside, _ = body._under_the_head(x + 2, y, z, above)
    assert (aside == 1).all()


def test_glasses_surround_the_eyes(view):
    changed = {"glasses_tone": 0.1, "glasses_size": 1.0, "glasses_round": 0.7, "glasses_rim": 0.02}
    worn = dataclasses.replace(view, session={**view.session, **changed})
    canvas, depth = blank(worn)
    glasses.draw_glasses(worn, canvas, depth)
    rim = canvas[0] < 0.1
    assert 0.001 < rim.float().mean() < 0.05
    for x, y in worn.landmarks[:2]:
        # Through the lens a little light is lost; on the way out of it in all four directions
        # one meets the rim.
        column, row = int(x * SUPERSAMPLE), int(y * SUPERSAMPLE)
        assert canvas[0, row, column] == pytest.approx(0.92, abs=0.01)
        ways = (
            rim[row, :column].flip(0),
            rim[row, column:],
            rim[:row, column].flip(0),
            rim[row:, column],
        )
        assert all(way.any() for way in ways)
        left, right, up, down = (int(way.nonzero()[0]) for way in ways)
        # From rim to rim, as near as they are drawn: before the head's centre, so enlarged.
        distance, plane = worn.shot["distance"], glasses.glasses_plane(worn.person)
        unit = worn.pose.focal * SUPERSAMPLE / (distance - plane)
        assert left + right == pytest.approx(2 * (0.190 - 0.02) * unit, abs=2.5)
        assert up + down == pytest.approx(2 * (0.145 - 0.02) * unit, abs=2.5)
    hidden, near = blank(worn)
    glasses.draw_glasses(worn, hidden, near * 0)
    assert (hidden == 1).all()


def test_glasses_sit_before_the_eyes_and_on_the_nose():
    for identity in range(5):
        (view,) = compose_photo(identity, 0, 0, size=32).views
        p = view.person
        eyes_and_nose = head.landmarks(p, {"smile": 0.0, "mouth_open": 0.0})[2]
        plane = glasses.glasses_plane(p)
        assert eyes_and_nose[:2].max() + 0.05 < plane < eyes_and_nose[2]


@pytest.mark.parametrize("outdoors", [False, True])
def test_a_place_belongs_to_a_session(outdoors):
    place = places.place(3, 1, 0, outdoors)
    assert place.shape == (1, 3, places.HEIGHT, places.WIDTH)
    assert place.min() >= 0 and place.max() <= 1 and place.std() > 0.01
    others = [places.place(*numbers, outdoors) for numbers in ((3, 2, 0), (4, 1, 0), (3, 1, 1))]
    assert all((place - other).abs().mean() > 0.02 for other in others)
    assert places.place(3, 1, 0, outdoors).equal(place)


def test_every_thing_of_a_room_can_be_painted_and_shows():
    for thing in places._THINGS:
        canvas = places._Canvas(np.random.default_rng(0))
        thing(canvas, 100.0, 0.6, 0.1)
        painted = np.array(canvas.image).any(axis=2)
        assert 100 < painted.sum() < painted.size / 2


def test_a_shot_frames_a_part_of_its_place():
    ramp = torch.arange(320.0).expand(1, 3, 192, 320) / 320
    shot = {"background_zoom": 0.0, "background_x": 0.0}
    middle = places.background(shot, ramp, 96, 128)
    assert middle.shape == (3, 96, 128)
    assert middle.mean() == pytest.approx(0.5, abs=0.01)
    right = places.background(shot | {"background_x": 1.0}, ramp, 96, 128)
    assert (right > middle + 0.05).all()
    near = places.background(shot | {"background_zoom": 1.0}, ramp, 96, 128)
    assert near.amax() - near.amin() < 0.8 * (middle.amax() - middle.amin())
