"""What to look at in a dataset before training on it: outliers and near-duplicates."""

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset

_THUMBNAIL = 24  # side in pixels of the grey pictures that are compared for near-duplicates
_BLOCK = 256  # photos compared at a time with all others
# Skin, hair and clothes decide about these: a photo is compared with the same person's others.
_OF_PERSON = ("brightness", "contrast", "sharpness")
_MEASURES = (*_OF_PERSON, "face_size", "box_shape", "off_centre")


def measure_photos(dataset: Dataset, progress: bool = True) -> tuple[pd.DataFrame, np.ndarray]:
    """Brightness, contrast, sharpness and the largest face of every photo.

    Args:
        dataset: a checked dataset.
        progress: show a bar.

    Returns:
        Two things. A table, one row per photo: ``photo``; ``faces``, how many; ``brightness`` and
        ``contrast``, mean and standard deviation of the grey value, 0–1; ``sharpness``, mean
        absolute difference of the grey values of neighbouring pixels, 0–1; and of its largest
        face ``identity`` (empty where nobody is known), ``face_size`` (square root of the box's
        share of the photo's area), ``box_shape`` (width / height) and ``off_centre`` (distance of
        the box's centre from the photo's, in diagonals of the photo), NaN without a face. And a
        thumbnail of each photo, float32 [N, 576] of zero mean and unit length, for
        :func:`near_duplicates`.
    """
    faces = dict(iter(dataset.table.groupby("photo", sort=False)))
    rows, thumbnails = [], []
    for name in tqdm(dataset.photos, desc="measuring", unit="photo", disable=not progress):
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
        small = grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
        thumbnail = np.asarray(small, dtype=np.float32).ravel()
        thumbnail = thumbnail - thumbnail.mean()
        thumbnails.append(thumbnail / max(float(np.linalg.norm(thumbnail)), 1e-6))
    return pd.DataFrame(rows), np.stack(thumbnails)


def _largest_face(rows: pd.DataFrame) -> dict[str, float | str]:
    boxed = rows.dropna(subset="x1")
    if boxed.empty:
        return {"identity": "", "face_size": np.nan, "box_shape": np.nan, "off_centre": np.nan}
    x1, y1, x2, y2 = boxed[BOX].to_numpy().T
    at = int(np.argmax((x2 - x1) * (y2 - y1)))
    wide, tall = x2[at] - x1[at], y2[at] - y1[at]
    width, height = boxed[["width", "height"]].to_numpy()[at]
    off = np.hypot((x1[at] + x2[at] - width) / 2, (y1[at] + y2[at] - height) / 2)
    return {
        "identity": str(boxed["identity"].iloc[at]),
        "face_size": float(np.sqrt(wide * tall / (width * height))),
        "box_shape": float(wide / tall),
        "off_centre": float(off / np.hypot(width, height)),
    }


def near_duplicates(
    photos: list[str], thumbnails: np.ndarray, split: pd.DataFrame, min_similarity: float = 0.995
) -> pd.DataFrame:
    """Test photos that show nearly the same as a training photo.

    Args:
        photos: names [N], by the rows of ``thumbnails``.
        thumbnails: float [N, d] of zero mean and unit length, from :func:`measure_photos`.
        split: table ``photo, part``.
        min_similarity: least correlation of the two thumbnails, -1 to 1.

    Returns:
        Table ``test_photo, train_photo, similarity``: for each test photo with such a training
        photo the most similar one, highest similarity first. Uniform photos, whose thumbnails
        are zero, are left out.
    """
    part = dict(zip(split["photo"], split["part"], strict=True))
    pictured = np.linalg.norm(thumbnails, axis=1) > 0.5
    test = [at for at, name in enumerate(photos) if part[name] == "test" and pictured[at]]
    train = [at for at, name in enumerate(photos) if part[name] == "train" and pictured[at]]
    columns = ["test_photo", "train_photo", "similarity"]
    if not test or not train:
        return pd.DataFrame(columns=columns)
    rows = []
    for start in range(0, len(test), _BLOCK):
        block = test[start : start + _BLOCK]
        similarity = thumbnails[block] @ thumbnails[train].T
        for row, column in enumerate(similarity.argmax(axis=1)):
            if similarity[row, column] >= min_similarity:
                twin = photos[train[column]]
                rows.append((photos[block[row]], twin, float(similarity[row, column])))
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)


def outliers(measures: pd.DataFrame, n: int = 20) -> pd.DataFrame:
    """The photos furthest from what is usual in any one measure, worth a look by eye.

    Brightness, contrast and sharpness are usual where they are the median of the same person's
    photos: of all photos together they would single out people by skin and hair. Photos of
    nobody known are not compared in them. Size, shape and place of a face are compared with all.
    Distances are in robust standard deviations, 1.4826 times the median absolute deviation
    (Iglewicz & Hoaglin 1993, section 3).

    Args:
        measures: table of :func:`measure_photos`.
        n: at most how many.

    Returns:
        Table ``photo, identity, measure, value, usual, distance``, largest distance first; each
        photo with the measure in which it is furthest out.
    """
    values = measures[list(_MEASURES)]
    usual = values * 0 + values.median()
    of_person = values[list(_OF_PERSON)].groupby(measures["identity"]).transform("median")
    usual[list(_OF_PERSON)] = of_person.where(measures["identity"] != "")
    off = (values - usual).abs()
    spread = 1.4826 * off.median()
    distance = (off / spread.where(spread > 0)).fillna(0.0).to_numpy()
    worst = distance.argmax(axis=1)
    rows = np.arange(len(measures))
    table = pd.DataFrame(
        {
            "photo": measures["photo"],
            "identity": measures["identity"],
            "measure": np.array(_MEASURES)[worst],
            "value": values.to_numpy()[rows, worst],
            "usual": usual.to_numpy()[rows, worst],
            "distance": distance[rows, worst],
        }
    )
    table = table.sort_values("distance", ascending=False, kind="stable", ignore_index=True)
    return table.head(n)
