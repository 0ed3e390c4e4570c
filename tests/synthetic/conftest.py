"""Formulas are tested as they are drawn with: on one thread."""

import pytest

from thesislib.synthetic.numerics import one_thread


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield
