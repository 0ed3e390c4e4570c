"""Random inputs and plain loops that the tests of several measures share."""

import itertools
import math

import numpy as np

from thesislib.metrics.similarity import DECIMALS

DTYPES = (np.float16, np.float32, np.float64)

# Boxes and photos

NO_DETECTION = {"boxes": [], "scores": [], "identities": []}
ANN = {"boxes": [[0, 0, 10, 10]], "identities": ["ann"]}
ANN_AND_BOB = {"boxes": [[0, 0, 10, 10], [50, 0, 60, 10]], "identities": ["ann", "bob"]}
# Names that a table read carelessly turns into numbers or missing values
ODD_NAMES = ("001", "NA", "Анна Ким", "nan", "1e3", "None", "True")


def random_boxes(rng, count, dtype=np.float32, size=100):
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, size, (count, 2))], axis=1).astype(dtype)


def iou(a, b):
    a, b = [float(v) for v in a], [float(v) for v in b]
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    union = areas - width * height
    return width * height / union if union > 0 else 0.0


def match(boxes, scores, truth):
    matched, overlaps = [-1] * len(boxes), [0.0] * len(boxes)
    taken = set()
    for detection in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        best, best_iou = -1, 0.0
        for face in range(len(truth)):
            overlap = iou(boxes[detection], truth[face])
            if face not in taken and overlap > best_iou:
                best, best_iou = face, overlap
        if best >= 0:
            taken.add(best)
            matched[detection], overlaps[detection] = best, best_iou
    return matched, overlaps


def random_photos(rng, count, dtype=np.float32, people=("ann", "bob", "cat")):
    photos, predictions, truths = [], [], []
    for photo in range(count):
        faces, detections = int(rng.integers(1, 4)), int(rng.integers(0, 5))
        photos.append(f"{photo}.jpg")
        predictions.append(
            {
                "boxes": random_boxes(rng, detections, dtype),
                # Few different scores, so that there are ties.
                "scores": rng.choice([0.25, 0.5, 0.75], detections).astype(dtype),
                "identities": [str(one) for one in rng.choice(people, detections)],
            }
        )
        truths.append(
            {
                "boxes": random_boxes(rng, faces, dtype),
                "identities": [str(one) for one in rng.choice(people, faces)],
            }
        )
    return photos, predictions, truths


# Embeddings

FOUR = ([[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"])


def random_people(rng, dtype=np.float64, ties=False, people=None, dim=None):
    """Embeddings and names in random order; with ties, of few directions, each many times."""
    people = people or int(rng.integers(3, 8))
    dim = dim or int(rng.integers(2, 9))
    counts = rng.integers(1, 5, people)
    counts[:2] = 2  # so that there are genuine pairs
    names = np.repeat([f"person {one}" for one in range(people)], counts)
    if ties:
        embeddings = rng.integers(-1, 2, (len(names), dim))
        embeddings[(embeddings == 0).all(axis=1), 0] = 1
    else:
        centre = rng.normal(size=(people, dim)).repeat(counts, axis=0)
        embeddings = centre + rng.normal(size=(len(names), dim))
    order = rng.permutation(len(names))
    return embeddings[order].astype(dtype), names[order].tolist()


def on_axes(rng, ties):
    """On the axes no cosine is rounded, so that library and loop agree on what is a tie."""
    embeddings, names = random_people(rng)
    if ties:
        n = len(names)
        embeddings = np.eye(3)[rng.integers(0, 3, n)] * rng.choice([-1.0, 1.0], (n, 1))
    return embeddings, names


def random_copies(rng, embeddings, names):
    """Some people twice or three times, as a bootstrap sample has them."""
    rows, copies = [], []
    for name in sorted(set(names)):
        for copy in range(int(rng.integers(1, 4))):
            own = [row for row, other in enumerate(names) if other == name]
            rows += own
            copies += [copy] * len(own)
    order = rng.permutation(len(rows))
    rows = np.array(rows)[order]
    return embeddings[rows], [names[row] for row in rows], np.array(copies)[order]


def cases(count=6, seed=0):
    """Over dtypes, sizes, with ties and without, with copies and without."""
    rng = np.random.default_rng(seed)
    for dtype, ties, copied in itertools.product(DTYPES, (False, True), (False, True)):
        for _ in range(count):
            embeddings, names = random_people(rng, dtype, ties)
            copies = None
            if copied:
                embeddings, names, copies = random_copies(rng, embeddings, names)
            yield embeddings, names, copies


def cosine(a, b):
    a, b = [float(value) for value in a], [float(value) for value in b]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return max(-1.0, min(1.0, round(dot / lengths, DECIMALS)))


def kind(names, copies, i, j):
    if names[i] != names[j]:
        return "impostor"
    return "genuine" if copies is None or copies[i] == copies[j] else None


def pairs(embeddings, names, copies=None):
    """Similarities of genuine and of impostor pairs."""
    found = {"genuine": [], "impostor": [], None: []}
    for i, j in itertools.combinations(range(len(names)), 2):
        found[kind(names, copies, i, j)].append(cosine(embeddings[i], embeddings[j]))
    return found["genuine"], found["impostor"]


def share(values, threshold):
    return sum(value >= threshold for value in values) / len(values)


def mean(values):
    return sum(values) / len(values)


def variance(values):
    return mean([(value - mean(values)) ** 2 for value in values])
