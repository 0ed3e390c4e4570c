"""A draw depends on the seed and on what is drawn, on nothing drawn before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thesislib import seeds

KEYS = st.lists(st.text(max_size=6) | st.integers(0, 2**32 - 1), max_size=3)


@given(st.integers(0, 2**63), KEYS)
def test_the_same_words_give_the_same_numbers(seed, keys):
    first = seeds.generator(seed, *keys).random(4)
    np.random.default_rng().random(3)
    assert (seeds.generator(seed, *keys).random(4) == first).all()
    number = seeds.torch_seed(seed, *keys)
    assert number == seeds.torch_seed(seed, *keys) and 0 <= number < 2**63


def test_another_seed_word_or_number_gives_other_numbers():
    draws = [(0, "order", 1), (1, "order", 1), (0, "augment", 1), (0, "order", 2), (0, 1, "order")]
    assert len({seeds.generator(*draw).random() for draw in draws}) == len(draws)
    assert len({seeds.torch_seed(*draw) for draw in draws}) == len(draws)


def test_numbers_of_numpy_are_keys_like_any_other():
    assert seeds.torch_seed(np.int64(3), "order", np.int32(2)) == seeds.torch_seed(3, "order", 2)


def test_a_seed_below_0_is_refused_by_name():
    for draw in (seeds.generator, seeds.torch_seed):
        with pytest.raises(ValueError, match="seed: expected a whole number of at least 0, got -1"):
            draw(-1, "order")
