"""Made-up people and their embeddings."""

import numpy as np

DIMENSION = 16


def people(count=12, most=4, seed=0, dimension=DIMENSION, noise=0.5):
    """Names [n] and embeddings [n, d] of people with 1 to ``most`` photos, of any length."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"p{at:03}" for at in range(count)], rng.integers(1, most + 1, count))
    middles = {name: rng.standard_normal(dimension) for name in names}
    embeddings = [
        (middles[name] + noise * rng.standard_normal(dimension)) * rng.uniform(0.1, 10)
        for name in names
    ]
    return names.tolist(), np.array(embeddings)


def probes(count, seed, dimension=DIMENSION):
    """Embeddings [count, d] of nobody in particular."""
    return np.random.default_rng(seed).standard_normal((count, dimension))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def naive_search(names, templates, probe):
    """Everybody and their score, best first."""
    scores = {}
    for name, template in zip(names, templates, strict=True):
        scores[name] = max(scores.get(name, -2), cosine(template, probe))
    return sorted(scores.items(), key=lambda one: -one[1])


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (
        sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
    )
