"""YOLO's text files."""

from pathlib import Path
from typing import Any

import yaml

from thesislib.data.images import PhotoError, photo_size
from thesislib.data.importers.labels import Labelled, LabelsAre, entries_of
from thesislib.data.importers.source import (
    Entry,
    Source,
    SourceError,
    box_around,
    box_of_middle,
    read_lines,
    read_numbers,
)

# Files with a name a line, in order of the numbers that stand for them.
_NAMES = {"classes.txt", "obj.names", "_darknet.labels", "labels.txt", "predefined_classes.txt"}


def yolo(source: Source, labels_are: LabelsAre | None = None) -> list[Entry]:
    """YOLO: a text file for each photo, beside it or in ``labels/`` in place of ``images/``.

    A line is ``class x y width height``, the middle and the size of a box in shares of the photo,
    and landmarks in the box may follow; or ``class`` and the points of a polygon, whose box is
    taken. Names of the classes are those of ``data.yaml``, ``classes.txt`` or ``obj.names``; see
    :func:`thesislib.data.importers.labels.kinds_of`. A photo with an empty text file shows nobody;
    one without a text file is left out.
    """
    names = _class_names(source)
    texts = {
        source.shown(file.with_suffix("")): file
        for file in source.files({".txt"})
        if file.name.lower() not in _NAMES
    }
    photos = []
    for file in source.photos():
        path = _label_path(source.shown(file.with_suffix("")), texts)
        if path is None:
            source.note(file, "no text file with its labels: left out")
        else:
            photos.append(_read(path, file, names))
    for path in sorted(set(texts.values()) - {photo.table for photo in photos}):
        source.note(path, "labels without their photo")
    if not photos:
        raise source.nothing_found("<photo>.jpg and <photo>.txt beside it, or in labels/")
    return entries_of(source, photos, labels_are)


def _label_path(photo: str, texts: dict[str, Path]) -> Path | None:
    """The text file of a photo, both without suffix."""
    if photo in texts:
        return texts[photo]
    parts = photo.split("/")
    for at in reversed(range(len(parts) - 1)):  # the last folder images/ is the one that is meant
        if parts[at] == "images":
            return texts.get("/".join([*parts[:at], "labels", *parts[at + 1 :]]))
    return None


def _class_names(source: Source) -> dict[int, str]:
    """Names by their number; none where the source does not tell them.

    Raises:
        SourceError: two files tell other names, or one is broken.
    """
    told: list[tuple[Path, dict[int, str]]] = []
    for path in source.files({".yaml", ".yml"}):
        try:
            # As text: of a person named No, or 007, YAML would make something else.
            table = yaml.load(path.read_text(encoding="utf-8-sig"), yaml.BaseLoader)
            names = (table or {}).get("names")
        except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
            raise SourceError(f"{path}: not YAML ({error})") from None
        if names:
            told.append((path, _numbered(path, names)))
    for path in source.files({".txt", ".names", ".labels"}):
        if path.name.lower() in _NAMES:
            lines = [line.strip() for line in read_lines(path)]
            told.append((path, {at: line for at, line in enumerate(lines) if line}))
    for path, names in told[1:]:
        if names != told[0][1]:
            raise SourceError(f"{path}: other names of classes than in {told[0][0]}")
    return told[0][1] if told else {}


def _numbered(path: Path, names: Any) -> dict[int, str]:
    """Names of ``data.yaml``, a list or by their number."""
    try:
        if isinstance(names, str):
            raise TypeError
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError):
        raise SourceError(f"{path}: names are {names!r}, no list") from None


def _read(path: Path, file: Path, names: dict[int, str]) -> Labelled:
    photo = Labelled(path, file.name, file=file)
    try:
        width, height = photo_size(file)
    except PhotoError:  # which is told when the photo is imported
        width, height = 1, 1
    for at, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        count = len(words) if len(words) >= 7 and len(words) % 2 else 5
        what = "class x y width height, or class and points x y"
        number, *values = read_numbers(path, at, words, count, what)
        if names and int(number) not in names:
            raise SourceError(f"{path}, line {at}: class {words[0]} has no name")
        if count == 5 or _are_points_within(values):
            x1, y1, x2, y2 = box_of_middle(*values[:4])
        else:
            x1, y1, x2, y2 = box_around(zip(values[::2], values[1::2], strict=True))
        box = [x1 * width, y1 * height, x2 * width, y2 * height]
        photo.add(names.get(int(number), words[0]), "", box, f"line {at}")
    return photo


def _are_points_within(values: list[float]) -> bool:
    """Whether the numbers are a box and landmarks within it, not the points of a polygon.

    Landmarks that are not seen are -1 or 0.
    """
    x1, y1, x2, y2 = box_of_middle(*values[:4])
    slack_x, slack_y = 0.1 * (x2 - x1), 0.1 * (y2 - y1)
    points = [(x, y) for x, y in zip(values[4::2], values[5::2], strict=True) if x > 0 and y > 0]
    return (
        x1 < x2
        and y1 < y2
        and all(
            x1 - slack_x <= x <= x2 + slack_x and y1 - slack_y <= y <= y2 + slack_y
            for x, y in points
        )
    )
