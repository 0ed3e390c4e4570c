"""What one asks of a dataset before training on it: odd photos, near-duplicates, counts."""

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset

_THUMB = 24  # side of the grey picture that near-duplicates are told by
_MEASURES = ("brightness", "contrast", "sharpness", "face_size", "box_shape", "off_centre")


def photo_looks(dataset: Dataset, progress: bool = True) -> tuple[pd.DataFrame, np.ndarray]:
    """Measure every photo.

    Args:
        dataset: a checked dataset.
        progress: show a bar.

    Returns:
        One row a photo: ``photo, faces`` (how many); ``brightness`` and ``contrast``, mean and
        standard deviation of the grey value, 0–1; ``sharpness``, mean change of the grey value
        from pixel to pixel, 0–1; and of its largest face ``face_size`` (root of the box's share
        of the photo), ``box_shape`` (width by height) and ``off_centre`` (distance of the
        centres by the photo's diagonal), NaN without a face. And a picture of each photo, float32
        [n, 576] of zero mean and unit length, for :func:`near_duplicates`.
    """
    faces = dict(iter(dataset.table.groupby("photo", sort=False)))
    rows, thumbs = [], []
    for name in tqdm(dataset.photos, desc="looking", unit="photo", disable=not progress):
        grey = Image.fromarray(read_photo(dataset.folder / name)).convert("L")
        values = np.asarray(grey, dtype=np.float32) / 255
        steps = [np.abs(np.diff(values, axis=axis)) for axis in (0, 1) if values.shape[axis] > 1]
        rows.append(
            {
                "photo": name,
                "faces": int(faces[name]["x1"].notna().sum()),
                "brightness": float(values.mean()),
                "contrast": float(values.std()),
                "sharpness": float(np.mean([step.mean() for step in steps] or [0.0])),
                **_largest_face(faces[name]),
            }
        )
        small = np.asarray(grey.resize((_THUMB, _THUMB), Image.Resampling.BOX), dtype=np.float32)
        small = (small - small.mean()).ravel()
        thumbs.append(small / max(float(np.linalg.norm(small)), 1e-6))
    return pd.DataFrame(rows), np.stack(thumbs)


def _largest_face(rows: pd.DataFrame) -> dict[str, float]:
    boxed = rows.dropna(subset="x1")
    if boxed.empty:
        return {"face_size": np.nan, "box_shape": np.nan, "off_centre": np.nan}
    x1, y1, x2, y2 = boxed[BOX].to_numpy().T
    at = int(np.argmax((x2 - x1) * (y2 - y1)))
    wide, tall = x2[at] - x1[at], y2[at] - y1[at]
    width, height = boxed[["width", "height"]].to_numpy()[at]
    off = np.hypot((x1[at] + x2[at] - width) / 2, (y1[at] + y2[at] - height) / 2)
    return {
        "face_size": float(np.sqrt(wide * tall / (width * height))),
        "box_shape": float(wide / tall),
        "off_centre": float(off / np.hypot(width, height)),
    }


def near_duplicates(
    photos: list[str], thumbs: np.ndarray, split: pd.DataFrame, likeness: float = 0.995
) -> pd.DataFrame:
    """Pairs of photos, one in training and one in testing, that show nearly the same.

    Args:
        photos: names, as the rows of ``thumbs``.
        thumbs: float [n, d] of unit length, from :func:`photo_looks`.
        split: table ``photo, part``.
        likeness: least correlation of the two pictures, up to 1.

    Returns:
        Table ``test_photo, train_photo, likeness``: for each test photo with such a twin its
        nearest one, most alike first. Uniform photos, without any picture, are left out.
    """
    part = dict(zip(split["photo"], split["part"], strict=True))
    plain = np.linalg.norm(thumbs, axis=1) > 0.5
    test = [at for at, name in enumerate(photos) if part[name] == "test" and plain[at]]
    train = [at for at, name in enumerate(photos) if part[name] == "train" and plain[at]]
    columns = ["test_photo", "train_photo", "likeness"]
    if not test or not train:
        return pd.DataFrame(columns=columns)
    alike = thumbs[test] @ thumbs[train].T
    best = alike.argmax(axis=1)
    rows = [
        (photos[test[row]], photos[train[column]], float(alike[row, column]))
        for row, column in enumerate(best)
        if alike[row, column] >= likeness
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("likeness", ascending=False, kind="stable", ignore_index=True)


def oddest(looks: pd.DataFrame, n: int = 20) -> pd.DataFrame:
    """The photos furthest from the rest in any one measure, worth a look by eye.

    A measure's distance is counted in robust standard deviations, 1.4826 times the median
    distance from the median (Iglewicz & Hoaglin 1993, section 3).

    Args:
        looks: from :func:`photo_looks`.
        n: at most how many.

    Returns:
        Table ``photo, measure, value, distance``, the oddest first; each photo with the measure
        in which it is furthest out.
    """
    values = looks[list(_MEASURES)].to_numpy()
    middle = np.nanmedian(values, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(values - middle) / np.where(spread > 0, spread, np.nan)
    distance = np.nan_to_num(distance, nan=0.0)
    worst = distance.argmax(axis=1)
    rows = np.arange(len(looks))
    table = pd.DataFrame(
        {
            "photo": looks["photo"],
            "measure": np.array(_MEASURES)[worst],
            "value": values[rows, worst],
            "distance": distance[rows, worst],
        }
    )
    table = table.sort_values("distance", ascending=False, kind="stable", ignore_index=True)
    return table.head(n)
