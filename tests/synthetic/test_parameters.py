"""Relatives share traits; all others are who they were."""

import numpy as np
import pytest

from thesislib.synthetic import parameters
from thesislib.synthetic.parameters import FAMILIES, FAMILY, PARENTS, identity_parameters


@pytest.mark.parametrize("number", range(PARENTS, FAMILY))
def test_a_child_has_each_trait_of_a_parent_or_from_between(number):
    first, second = (identity_parameters(FAMILIES + 20 + at, 0) for at in range(PARENTS))
    child = identity_parameters(FAMILIES + 20 + number, 0)
    assert set(child) == set(first)
    inherited = set(child) - parameters._OWN
    same = 0
    for name in inherited:
        low, high = sorted([first[name], second[name]])
        assert low - 1e-12 <= child[name] <= high + 1e-12
        same += np.isclose(child[name], [first[name], second[name]]).any()
    assert 0.3 * len(inherited) < same < 0.9 * len(inherited)


def test_siblings_are_not_the_same_and_parents_are_nobodys_children():
    children = [identity_parameters(FAMILIES + at, 0) for at in range(PARENTS, FAMILY)]
    assert len({tuple(child.values()) for child in children}) == len(children)
    for number in (0, 1, FAMILY):
        parent = identity_parameters(FAMILIES + number, 0)
        assert parent == parameters._unrelated(FAMILIES + number, 0)
    assert identity_parameters(7, 0) == parameters._unrelated(7, 0)
    assert identity_parameters(parameters.FIRST_STRANGER + 2, 0) == parameters._unrelated(
        parameters.FIRST_STRANGER + 2, 0
    )
