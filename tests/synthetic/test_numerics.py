"""Elementary functions against NumPy in float64, and soft shapes against loops."""

import math

import numpy as np
import pytest
import torch

from thesislib.synthetic import numerics


def numbers(low, high, count=100_000):
    drawn = np.random.default_rng(0).uniform(low, high, count)
    return torch.tensor(drawn, dtype=torch.float32)


@pytest.mark.parametrize(
    ("function", "exact", "low", "high"),
    [
        (numerics.sqrt, np.sqrt, 0, 1e4),
        (numerics.exp, np.exp, -80, 5),
        (numerics.acos, np.arccos, -1, 1),
    ],
)
def test_every_value_is_the_float32_next_to_the_exact_one(function, exact, low, high):
    x = numbers(low, high)
    expected = exact(x.numpy().astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(function(x).numpy(), expected)


def test_shape_is_kept_and_a_negative_number_has_no_root():
    x = torch.tensor([[4.0, -1.0], [0.0, 9.0]])
    np.testing.assert_array_equal(numerics.sqrt(x), [[2, np.nan], [0, 3]])
    assert numerics.exp(x).shape == (2, 2)


def test_bell_is_about_a_gaussian_and_ends():
    q = torch.linspace(0, 12, 500)
    value = numerics.bell(q)
    for at, of in zip(q.tolist(), value.tolist(), strict=True):
        assert of == pytest.approx(max(0.0, 1 - at / 8) ** 8, abs=1e-6)
        assert of == pytest.approx(math.exp(-at), abs=0.04)
    assert (value[q >= 8] == 0).all()


def test_bump_is_a_spot_of_given_deviations():
    x, y = numbers(-1, 1, 200), numbers(-1, 1, 400)[200:]
    value = numerics.bump(x, y, 0.1, -0.2, 0.3, 0.5)
    for a, b, of in zip(x.tolist(), y.tolist(), value.tolist(), strict=True):
        q = 0.5 * ((a - 0.1) / 0.3) ** 2 + 0.5 * ((b + 0.2) / 0.5) ** 2
        assert of == pytest.approx(max(0.0, 1 - q / 8) ** 8, abs=1e-4)


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.25), (0.25, -0.5)])
def test_smoothstep_rises_or_falls_between_its_ends(low, high):
    x = numbers(-1, 1, 300)
    for at, of in zip(x.tolist(), numerics.smoothstep(x, low, high).tolist(), strict=True):
        t = min(1.0, max(0.0, (at - low) / (high - low)))
        assert of == pytest.approx(3 * t**2 - 2 * t**3, abs=1e-6)


def test_one_thread_for_as_long_as_it_lasts():
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(KeyError), numerics.one_thread():
            assert torch.get_num_threads() == 1
            assert not torch.ones(1, requires_grad=True).mul(2).requires_grad
            raise KeyError
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
