"""What hypothesis draws for the property tests of the measures."""

import numpy as np
from hypothesis import strategies as st

COORDINATES = st.integers(-40, 40).map(float)  # few, so that edges meet and boxes coincide


@st.composite
def boxes(draw, min_size=0, max_size=6):
    """[N, 4] boxes, some without area."""
    corners = st.tuples(COORDINATES, COORDINATES, st.integers(0, 30), st.integers(0, 30))
    rows = draw(st.lists(corners, min_size=min_size, max_size=max_size))
    return np.array([[x, y, x + w, y + h] for x, y, w, h in rows], float).reshape(-1, 4)


@st.composite
def people(draw, min_people=2, max_people=6):
    """Embeddings of small integers, so that many similarities are equal, and their names.

    The first two people have two faces each, so that there are genuine pairs.
    """
    count = draw(st.integers(min_people, max_people))
    faces = [2, 2, *draw(st.lists(st.integers(1, 3), min_size=count - 2, max_size=count - 2))]
    names = [f"person {one}" for one, number in enumerate(faces) for _ in range(number)]
    row = st.tuples(*[st.integers(-3, 3)] * 3).filter(any)
    embeddings = draw(st.lists(row, min_size=len(names), max_size=len(names)))
    return np.array(embeddings, float), names


def permuted(draw, embeddings, names):
    """The same faces in another order, and that order."""
    order = np.array(draw(st.permutations(range(len(names)))))
    return embeddings[order], [names[row] for row in order], order
