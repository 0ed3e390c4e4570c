"""What a source is read as, said before it is trusted."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from thesislib.data.detector import detect_faces
from thesislib.data.images import SWAPS_SIDES, PhotoError, photo_orientation, photo_size, read_photo
from thesislib.data.importers.folder import is_split
from thesislib.data.importers.sizes import boxes_upright
from thesislib.data.importers.source import SHORT_SIDE, Entry, Source, SourceError
from thesislib.data.names import told_names
from thesislib.environment import MissingExtraError

# Readings that are more often a mistake than meant, and are refused unless they are allowed: one
# person alone; a person named like a part of a split or like nobody; boxes that lie elsewhere than
# the faces.
Allowed = Literal["one-person", "names", "boxes"]
# From a photo uint8 [H, W, 3] to the boxes of the faces in it, [D, 4].
Detector = Callable[[NDArray[np.uint8]], NDArray]
NOBODY = {"unknown", "stranger", "strangers", "nobody", "noname", "unnamed", "unlabeled"}
NOBODY |= {"unlabelled", "other", "others", "misc", "unsorted", "face", "faces", "head", "heads"}
NOBODY |= {"неизвестные", "неизвестно", "неизвестный", "незнакомые", "прочие", "разное"}
SAMPLE = 20  # photos in which boxes are checked
_ELSEWHERE = 0.5  # share of them beyond which boxes are refused
_NEAR = 0.2  # least IoU of a box with the face it is of; how tightly faces are framed differs
_REASONS = 10  # kinds of reasons that are told apart


class Reading:
    """A source's photos and who is in them, as its importer takes them.

    Names that differ in capitals alone are one person's, as written first.

    Args:
        source: the collection.
        entries: its photos.
        min_photos: photos with people of fewer are listed and left out.

    Raises:
        SourceError: ``min_photos`` is no whole number from 1, or nobody has so many.

    Attributes:
        source: the collection.
        entries: what is to be imported.
        min_photos: as given.
    """

    def __init__(self, source: Source, entries: Sequence[Entry], min_photos: int = 1) -> None:
        if not isinstance(min_photos, int) or min_photos < 1:
            raise SourceError(f"min_photos: expected a whole number from 1, got {min_photos!r}")
        self.source = source
        self.min_photos = min_photos
        entries = _by_one_name(source, _as_stored(source, entries))
        people = [{face.identity for face in entry.faces} - {""} for entry in entries]
        out = of_people_with_few(people, min_photos)
        self.entries = [entry for at, entry in enumerate(entries) if at not in out]
        for at in sorted(out):
            source.note(entries[at].file, told_few(min_photos))
        if entries and not self.entries:
            raise SourceError(f"{source.folder.name}: nobody has {min_photos} photos")

    def sentences(self) -> list[str]:
        """What was understood, a line each."""
        faces = [face for entry in self.entries for face in entry.faces]
        sittings = {
            (face.identity, entry.session)
            for entry in self.entries
            for face in entry.faces
            if entry.session
        }
        found = sum(face.box is None for face in faces)
        without = sum(not entry.faces for entry in self.entries)
        told = told_people(
            len(self.entries), without, len(faces), _photos_of(self.entries), len(sittings), found
        )
        return told + self.source.said + told_reasons([r for _, r in self.source.to_look_over])

    def one_photo_each(self) -> list[tuple[Path, str, NDArray[np.float64], tuple[int, int]]]:
        """For a contact sheet: the first photo of each person, or of nobody, with its boxes.

        Returns:
            (file, person, boxes [F, 4], width and height); photos that cannot be read are left out.
        """
        named = bool(_photos_of(self.entries))
        shown: dict[str, tuple[Path, str, NDArray[np.float64], tuple[int, int]]] = {}
        for entry in self.entries:
            people = [face.identity if named else str(entry.file) for face in entry.faces]
            if all(not person or person in shown for person in people):
                continue
            try:
                size = photo_size(entry.file)
                boxes = annotated_boxes(entry, size)
            except PhotoError:
                continue
            left = iter(boxes) if boxes is not None else iter(())
            for person, face in zip(people, entry.faces, strict=True):
                box = next(left, None) if face.box is not None else None
                drawn = np.zeros((0, 4)) if box is None else box[None]
                if person:
                    shown.setdefault(person, (entry.file, face.identity, drawn, size))
        return list(shown.values())

    def check(self, allow: Sequence[Allowed] = (), detect: Detector | None = None) -> None:
        """Refuse readings that are more often a mistake than meant.

        Args:
            allow: those that are meant.
            detect: finds faces in a sample, by which boxes are checked; None for dlib's detector.

        Raises:
            SourceError: what the reading is, and which word allows it.
        """
        people = _photos_of(self.entries)
        self.check_people(people, allow)
        odd = sorted(name for name in people if is_split(name) or name.casefold() in NOBODY)
        if odd and "names" not in allow:
            raise SourceError(
                f"{self.source.folder.name}: people named {told_names(odd)}, which is a part of a "
                "split, or nobody; rename or move the folder, or say --allow names"
            )
        if "boxes" not in allow:
            try:
                self._check_boxes(detect or _found_by_dlib)
            except MissingExtraError:
                self.source.said.append("boxes were not looked at: no detector is installed")

    def check_people(self, people: Collection[str], allow: Sequence[Allowed]) -> None:
        """Refuse one person alone, who cannot be told from anybody.

        Args:
            people: who is in the photos.
            allow: see :meth:`check`.

        Raises:
            SourceError: see :meth:`check`.
        """
        if len(people) == 1 and "one-person" not in allow:
            raise SourceError(
                f"{self.source.folder.name}: one person only, {next(iter(people))!r}. People have "
                "a folder each: name the folder in which these lie, or say --allow one-person"
            )

    def _check_boxes(self, detect: Detector) -> None:
        boxed = [e for e in self.entries if any(face.box is not None for face in e.faces)]
        places = np.linspace(0, len(boxed) - 1, min(SAMPLE, len(boxed))).round().astype(int)
        seen, elsewhere = 0, []  # photos in which a face is found
        for entry in [boxed[at] for at in places]:
            try:
                photo = read_photo(entry.file, SHORT_SIDE)
                size = photo_size(entry.file)
                boxes = annotated_boxes(entry, size)
            except PhotoError:
                continue  # it is listed when its turn comes
            found = detect(photo)
            if boxes is None or not len(found):
                continue
            boxes = boxes * np.tile(np.divide(photo.shape[1::-1], size), 2)
            seen += 1
            if _best_overlap(found, boxes) < _NEAR:
                elsewhere.append(entry.file)
        if seen and len(elsewhere) > max(1, _ELSEWHERE * seen):
            told = told_names([self.source.shown(file) for file in elsewhere])
            raise SourceError(
                f"{self.source.folder.name}: boxes lie elsewhere than faces in {len(elsewhere)} of "
                f"{seen} photos that were looked at ({told}): were the photos turned, cut or "
                "scaled since? Say --allow boxes to take them as they are"
            )
        if boxed:
            self.source.said.append(
                f"boxes of {len(places)} photos were looked at: a face was found in {seen}, "
                f"elsewhere in {len(elsewhere)}"
            )
        for file in elsewhere:  # a detector errs, too
            self.source.note(file, "its box lies elsewhere than the face that is found")


def _found_by_dlib(photo: NDArray[np.uint8]) -> NDArray:
    return detect_faces(photo, upsampling=1)[0]


def annotated_boxes(entry: Entry, upright: tuple[int, int]) -> NDArray[np.float64] | None:
    """The source's boxes of a photo in pixels of the upright photo, of that size, float [F, 4].

    None where the photo has another shape than the one they were drawn on.

    Raises:
        PhotoError: the photo cannot be read.
    """
    boxes = np.array([face.box for face in entry.faces if face.box is not None], dtype=float)
    if entry.size is None and not entry.stored:  # as the photo is seen
        return boxes.reshape(-1, 4)
    orientation = photo_orientation(entry.file)
    stored = upright[::-1] if orientation in SWAPS_SIDES else upright
    return boxes_upright(boxes, entry.size or stored, upright, orientation, entry.stored)


def _best_overlap(found: NDArray, boxes: NDArray) -> float:
    """Largest IoU of any of some boxes with any of others."""
    low = np.maximum(found[:, None, :2], boxes[None, :, :2])
    high = np.minimum(found[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area = [np.prod(np.clip(one[:, 2:] - one[:, :2], 0, None), axis=1) for one in (found, boxes)]
    union = area[0][:, None] + area[1][None] - shared
    return float((shared / np.maximum(union, 1e-9)).max())


def _photos_of(entries: Sequence[Entry]) -> Counter[str]:
    """How many photos each known person is in."""
    return Counter(
        name for entry in entries for name in {face.identity for face in entry.faces} if name
    )


def _by_one_name(source: Source, entries: Sequence[Entry]) -> list[Entry]:
    """Entries in which a person has one name, whatever its capitals."""
    written: dict[str, str] = {}
    taken: dict[str, str] = {}

    def one(name: str) -> str:
        first = written.setdefault(name.casefold(), name)
        if first != name:
            taken.setdefault(name, first)
        return first

    renamed = [
        dataclasses.replace(
            entry,
            faces=tuple(
                dataclasses.replace(face, identity=one(face.identity)) for face in entry.faces
            ),
        )
        for entry in entries
    ]
    source.said += [f"{name} and {first} are taken for one person" for name, first in taken.items()]
    return renamed


def _as_stored(source: Source, entries: Sequence[Entry]) -> list[Entry]:
    """Entries of which is told whether boxes were drawn before or after EXIF's turn.

    Where EXIF turns a photo by 90 degrees, its stated size tells; by 180 degrees, or mirrored, it
    does not, but a tool treats all photos alike. Where no size tells, or sizes tell both, they are
    listed.
    """
    turned, lying, upright, scaled = [], 0, 0, 0
    for at, entry in enumerate(entries):
        if entry.size is None or not any(face.box is not None for face in entry.faces):
            continue
        try:
            size, orientation = photo_size(entry.file), photo_orientation(entry.file)
        except PhotoError:
            continue  # it is listed when its turn comes
        if orientation in SWAPS_SIDES and size[0] != size[1]:
            lies = (entry.size[0] > entry.size[1]) != (size[0] > size[1])
            lying, upright = lying + lies, upright + (not lies)
        elif orientation != 1 and not entry.stored:
            turned.append(at)
        scaled += sorted(entry.size) != sorted(size)
    if lying:
        source.said.append(f"boxes of {lying} photos were drawn before EXIF's turn: turned")
    if scaled:
        source.said.append(f"boxes of {scaled} photos were drawn in another size: scaled if alike")
    result = list(entries)
    for at in turned:
        if lying and not upright:
            result[at] = dataclasses.replace(entries[at], stored=True)
        elif lying or not upright:
            reason = "EXIF turns it, and whether its boxes were drawn before is not known"
            source.note(entries[at].file, reason)
    if turned and lying and not upright:
        source.said.append(f"so are those of {len(turned)} that EXIF mirrors or turns upside down")
    return result


def of_people_with_few(people: Sequence[Collection[str]], min_photos: int) -> set[int]:
    """Photos to leave out, so that everybody who is left is in enough photos.

    A photo of several people goes when one of them is to go, which may leave another with too few.

    Args:
        people: the people in each photo.
        min_photos: least number of photos of a person.

    Returns:
        places of the photos.
    """
    out: set[int] = set()
    while True:
        left = Counter(
            name for at, names in enumerate(people) if at not in out for name in set(names)
        )
        few = {name for name, count in left.items() if count < min_photos}
        more = {at for at, names in enumerate(people) if at not in out and few & set(names)}
        if not more:
            return out
        out |= more


def told_few(min_photos: int) -> str:
    """Why a photo of such a person is left out."""
    return f"of a person with fewer than {min_photos} photos: left out"


def told_people(
    photos: int, without: int, faces: int, people: Counter[str], sittings: int, detected: int
) -> list[str]:
    """What is in a source or in a dataset made of it, a line each.

    Args:
        photos, without, faces: how many, and how many photos show nobody.
        people: photos of each person.
        sittings: pairs of a person and a session.
        detected: how many boxes are the detector's.
    """
    told = [f"{photos} photos, {faces} faces, {len(people)} people"]
    if people:
        (most, high), (fewest, low) = people.most_common()[0], people.most_common()[-1]
        told.append(f"photos of a person: {low} ({fewest}) to {high} ({most})")
        alone = sorted(name for name, count in people.items() if count == 1)
        if alone:
            told.append(
                f"with one photo, which cannot be both learned and tested: {told_names(alone)}; "
                "--min-photos 2 leaves them out"
            )
    if without:
        told.append(f"photos without a face: {without}")
    told.append(f"{sittings} sittings" if sittings else "no sittings")
    told.append(f"boxes: {faces - detected} of the source, {detected} by dlib's detector")
    return told


def told_reasons(reasons: Sequence[str]) -> list[str]:
    """What was left out or is doubtful, and how often, a line each of the most frequent."""
    counts = Counter(reasons).most_common()
    lines = [f"{count} x {reason}" for reason, count in counts[:_REASONS]]
    others = sum(count for _, count in counts[_REASONS:])
    return lines + ([f"{others} x other reasons"] if others else [])
