"""What the tests of figures share: a figure holds all of its text, and can be read."""

import matplotlib.pyplot as plt
import pytest

from thesislib.reporting.figures.layout import problems


@pytest.fixture(autouse=True)
def figures_can_be_read():
    """Each figure that a test draws is looked at when the test is done, and closed."""
    yield
    try:
        found = [one for number in plt.get_fignums() for one in problems(plt.figure(number))]
    finally:
        plt.close("all")
    assert not found
