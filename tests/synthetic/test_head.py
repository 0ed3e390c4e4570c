"""Shape of the head, on the grid of directions and off it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.synthetic import colours, head, surface, wrinkles
from thesislib.synthetic.complexion import bare_skin, beard_cover, over, paint
from thesislib.synthetic.hair import grow_hair
from thesislib.synthetic.parameters import identity_parameters, session_parameters, shot_parameters

GRIMACE = {
    "smile": 1.0,
    "mouth_open": 1.0,
    "brow_raise": 1.3,
    "eye_opening": 0.6,
    "gaze_x": 0.9,
    "gaze_y": -0.6,
}


def random_directions(count, seed=0):
    point = torch.tensor(np.random.default_rng(seed).normal(size=(3, count)), dtype=torch.float32)
    return point / point.norm(dim=0)


def test_cells_are_unit_directions_of_equal_solid_angle():
    direction = head.grid_directions().double()
    np.testing.assert_allclose((direction**2).sum(0), 1, atol=1e-5)
    middle = direction[:, head.GRID // 2, head.GRID // 2]
    np.testing.assert_allclose(middle, [0, 0, 1], atol=0.01)
    along_v = (direction[:, 2:, 1:-1] - direction[:, :-2, 1:-1]) / 2
    along_u = (direction[:, 1:-1, 2:] - direction[:, 1:-1, :-2]) / 2
    angle = torch.linalg.cross(along_u, along_v, dim=0).norm(dim=0)
    at = (np.arange(1, head.GRID - 1) + 0.5) / head.GRID * 2 - 1
    in_disc = np.add.outer(at**2, at**2) < 0.95
    # The sphere's 4 pi over the disc's pi, for a cell of side 2 / GRID.
    np.testing.assert_allclose(angle[in_disc], 4 * (2 / head.GRID) ** 2, rtol=0.01)


def test_a_sample_is_what_the_map_holds_in_that_direction():
    direction = random_directions(500)
    direction = direction[:, direction[2] > -0.9]
    x, y, z = point = direction * torch.linspace(0.2, 3, direction.shape[1])
    found = head.sample(head.grid_directions()[None], x, y, z, point.norm(dim=0))
    np.testing.assert_allclose(found, direction, atol=2e-3)


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(*[st.floats(-0.2, 0.2)] * 3),
    st.tuples(*[st.floats(0.4, 2)] * 3),
    st.integers(0, 1000),
)
def test_ellipsoid_radius_ends_on_the_ellipsoid(centre, radii, seed):
    direction = random_directions(20, seed)
    radius = head.ellipsoid_radius(direction, centre, radii)
    assert (radius > 0).all()
    scaled = ((radius * direction).T.numpy() - centre) / radii
    np.testing.assert_allclose((scaled**2).sum(1), 1, atol=1e-4)


@pytest.mark.parametrize("identity", range(3))
def test_a_layout_has_in_a_direction_the_coordinates_that_it_was_asked_for(identity):
    p = identity_parameters(identity, 0)
    x, y = torch.tensor([0.0, -0.3, 0.4, 0.1]), torch.tensor([0.0, 0.2, -0.3, -0.6])
    layout = head.Layout(head.directions_at(x, y, p), p, None)
    np.testing.assert_allclose(layout.x, x, atol=1e-3)
    np.testing.assert_allclose(layout.y, y, atol=1e-3)


def test_a_feature_moves_the_skin_where_it_is_alone():
    p = identity_parameters(0, 0)
    x, y = torch.tensor([0.0, 0.5]), torch.tensor([-0.25, -0.25])  # by the nose's tip, on a cheek
    direction = head.directions_at(x, y, p)
    longer = {**p, "nose_projection": p["nose_projection"] + 0.05}
    before, after = (head.skin_radius(head.Layout(direction, q, None)) for q in (p, longer))
    assert after[0] - before[0] > 0.03
    assert after[1] == before[1]


@pytest.mark.parametrize("identity", range(2))
def test_an_expression_changes_the_face_alone(identity):
    """What justifies computing only a part of the grid anew for each shot."""
    p = identity_parameters(identity, 0)
    neutral, grimacing = (head.Layout(head.grid_directions(), p, e) for e in (None, GRIMACE))
    moved = (head.skin_radius(neutral) - head.skin_radius(grimacing)).abs()
    skin = bare_skin(identity, 0)
    rgb, other = (paint(f, skin.rgb, beard_cover(f, 1.0))[0] for f in (neutral, grimacing))
    recoloured = (rgb - other).abs().amax(0)
    face = surface.FACE_ROWS, surface.FACE_COLUMNS
    assert moved[face].max() > 0.05 and recoloured[face].max() > 0.3
    moved[face] = recoloured[face] = 0
    assert moved.max() < 0.02
    assert recoloured[neutral.z > 0].max() < 0.04


def test_the_surface_of_a_shot_has_the_face_of_the_shot_on_the_head_of_the_session():
    beardless = next(at for at in range(3, 50) if identity_parameters(at, 0)["femininity"] > 0)
    p = identity_parameters(beardless, 0)
    e = {**shot_parameters(beardless, 1, 0, 0), **GRIMACE}
    relief = bare_skin(beardless, 0).relief
    face = surface.FACE_ROWS, surface.FACE_COLUMNS
    neutral = head.Layout(head.grid_directions(), p, None)
    hair = grow_hair(beardless, 1, 0, neutral, head.skin_radius(neutral))
    skin = head.skin_radius(neutral) + relief
    radius = head.skin_radius(head.Layout(head.grid_directions(), p, e)) + relief
    of_shot = (radius + hair.height)[face], surface.normals(head.grid_directions(), radius)
    made = surface.head_surface(beardless, 1, 0, e)
    np.testing.assert_allclose(made.radius[0, 0][face], of_shot[0], atol=1e-6)
    bare = hair.height[face] == 0
    normals = made.maps[0, :3, face[0], face[1]]
    inner = bare[8:-8, 8:-8]
    close = (normals - of_shot[1][:, face[0], face[1]]).abs().amax(0)[8:-8, 8:-8][inner] < 1e-4
    assert inner.float().mean() > 0.5 and close.float().mean() > 0.99
    whole = made.radius[0, 0].clone()
    whole[face] = (skin + hair.height)[face]
    np.testing.assert_allclose(whole, skin + hair.height, atol=1e-6)


def test_the_part_of_a_shot_fits_at_its_edges():
    """Without an expression the part computed anew is what was there, its slopes included."""
    still = dict.fromkeys(GRIMACE, 0.0) | {"eye_opening": 1.0}
    neutral, _ = surface._neutral(3, 1, 0)
    made = surface.head_surface(3, 1, 0, still)
    np.testing.assert_allclose(made.radius, neutral.radius, atol=1e-6)
    openness = 3
    off = (made.maps - neutral.maps).abs()[0]
    assert off[[channel for channel in range(8) if channel != openness]].max() < 1e-5
    assert off[openness].max() < 0.17 and (off[openness] > 1e-5).float().mean() < 0.05


def test_normals_of_an_ellipsoid_are_its_gradient():
    radii = (0.7, 0.9, 0.8)
    direction = head.grid_directions()[:, 100:300, 100:300]
    radius = head.ellipsoid_radius(direction, (0.0, 0.0, 0.0), radii)
    gradient = radius * direction / torch.tensor(radii)[:, None, None] ** 2
    found = surface.normals(direction, radius)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(found[inner], (gradient / gradient.norm(dim=0))[inner], atol=2e-3)


def test_a_hollow_lets_less_light_in():
    radius = torch.full((60, 60), 0.8)
    np.testing.assert_allclose(surface.openness(radius), 1, atol=1e-5)
    radius[28:32, 28:32] = 0.75
    openness = surface.openness(radius)
    assert openness[29, 29] < 0.8 < openness[5, 5]


def test_hair_stands_above_the_skin_and_hides_it_on_the_crown_alone():
    p = identity_parameters(2, 0)
    neutral = head.Layout(head.grid_directions(), p, None)
    hair = grow_hair(2, 0, 0, neutral, head.skin_radius(neutral))
    assert (hair.height >= 0).all()
    assert ((hair.cover >= 0) & (hair.cover <= 1)).all()
    crown, nose = neutral.y > 0.9, (neutral.ax < 0.2) & (neutral.y.abs() < 0.2) & (neutral.z > 0)
    assert hair.cover[crown].min() > 0.99 and hair.height[crown].min() > 0
    assert hair.cover[nose].max() == 0 and hair.height[nose].max() == 0


def test_long_hair_covers_the_nape_and_short_hair_does_not():
    length = {i: session_parameters(i, 0, 0)["hair_length"] for i in range(40)}
    for identity in (min(length, key=length.get), max(length, key=length.get)):
        neutral = head.Layout(head.grid_directions(), identity_parameters(identity, 0), None)
        hair = grow_hair(identity, 0, 0, neutral, head.skin_radius(neutral))
        nape = (neutral.z < -0.4) & (neutral.y < -0.5)
        expected = float(length[identity] > 0.5)
        assert hair.cover[nape].mean() == pytest.approx(expected, abs=0.05)


def test_a_colour_covers_its_share():
    rgb = torch.tensor([[[0.2, 0.4]], [[0.6, 0.8]], [[0.0, 1.0]]])
    alpha = torch.tensor([[0.0, 0.25]])
    found = over(rgb, (1.0, 0.0, 0.5), alpha)
    np.testing.assert_allclose(found[:, 0, 0], rgb[:, 0, 0])
    np.testing.assert_allclose(found[:, 0, 1], [0.55, 0.6, 0.875])


def test_colours_along_a_scale():
    scale = [(0, 0, 0), (255, 255, 255), (255, 0, 0)]
    np.testing.assert_allclose(colours.linear((255, 0, 128)), [1, 0, (128 / 255) ** 2.2])
    for at, expected in [(0, (0, 0, 0)), (0.5, (1, 1, 1)), (0.75, (1, 0.5, 0.5)), (2, (1, 0, 0))]:
        np.testing.assert_allclose(colours.along(scale, at), expected, atol=1e-12)


def test_a_beard_grows_where_its_wearer_lets_it_and_raises_the_skin():
    p = {**identity_parameters(3, 0), "beard": 0.0, "goatee": 0.0, "moustache": 0.0}
    direction = head.grid_directions()
    assert beard_cover(head.Layout(direction, p, None), 1.0) is None
    shaved = head.Layout(direction, {**p, "moustache": 0.8}, None)
    cover = beard_cover(shaved, 1.0)
    assert 0.6 < cover.max() <= 1
    assert cover[shaved.y < p["mouth_y"] - 0.15].max() < 0.05  # not on the chin
    full = beard_cover(head.Layout(direction, {**p, "beard": 0.8}, None), 1.0)
    assert full[shaved.y > 0.1].max() == 0
    assert full.sum() > 4 * cover.sum()
    assert beard_cover(shaved, 1.1).sum() > cover.sum()


def test_wrinkles_are_shallow_lines_of_the_old():
    p = identity_parameters(3, 0)
    depth = {}
    for wrinkled in (0.0, 0.9):
        f = head.Layout(head.grid_directions(), {**p, "wrinkles": wrinkled, "eye_bags": 0.0}, None)
        depth[wrinkled] = wrinkles.lines(f, np.random.default_rng(0))
    assert depth[0.0].max() == 0
    assert 0.6 < depth[0.9].max() <= 0.9
    assert (depth[0.9] > 0.3).float().mean() < 0.1
