"""Embeddings of people who do not exist."""

import numpy as np


def clusters(people=12, photos=6, spread=0.6, seed=0):
    """Embeddings [n, 8] in clusters, one per person, and names [n]."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 8)).repeat(photos, axis=0)
    names = np.array([f"p{at // photos:02}" for at in range(people * photos)], object)
    return centres + spread * rng.normal(size=centres.shape), names
