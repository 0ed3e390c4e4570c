"""Commands of photos: which faces are in them, and whose."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tyro.conf import Positional

import thesislib as tl
from thesislib.commands.settings import More, is_main, progress
from thesislib.storage import atomic_write

Found = list[tuple[Path, list[tl.Face]]]  # photos, each with its faces


def predict(
    photo: Positional[Path],
    more: More,
    net: Path = Path("default"),
    out: Path | None = None,
    draw: Path | None = None,
    score_threshold: float = 0.5,
) -> None:
    """Find the faces in photos, and name them where the net has learned names.

    Args:
        photo: A photo, or a folder of photos; in folders those that cannot be read are left out.
        more: Further ones.
        net: Folder or file of a trained net; else the published one.
        out: Folder in which answers are kept while they come, embeddings of the faces too, ending
            as faces.csv.
        draw: Folder for pictures with boxes and names.
        score_threshold: Detections with scores up to this one are dropped; 0 to 1.
    """
    system = tl.load(net)
    found = _found(system, [photo, *more], out, score_threshold)
    if is_main():
        _print(found, "name score" if system.identities else None)
        if draw is not None:
            _draw(found, [photo, *more], draw)


def recognise(
    photo: Positional[Path],
    more: More,
    people: Path | None = None,
    gallery: Path | None = None,
    net: Path = Path("default"),
    fpir: float | None = None,
    out: Path | None = None,
    draw: Path | None = None,
    xmp: bool = False,
    score_threshold: float = 0.5,
) -> None:
    """Who is in photos: find the faces, and name people you have other photos of.

    Draws party.recognised.jpg beside party.jpg, and prints who is where, from left to right.

    Args:
        photo: A photo, or a folder of photos; in folders those that cannot be read are left out.
        more: Further ones.
        people: Folder with a folder of photos for each person, or a photo that bears the name.
        gallery: Gallery file of people who were enrolled, in place of that folder.
        net: Folder or file of the net that finds and reads faces; else the published one.
        fpir: Share of strangers who may be taken for one of the people; else one in ten, and
            of a gallery file as it was chosen there.
        out: Folder in which answers are kept while they come, embeddings of the faces too, ending
            as faces.csv.
        draw: Folder for the pictures; else beside the photos.
        xmp: Write the names beside the photos too, as photo managers read them; names that were
            written so before are replaced, those that people gave are kept.
        score_threshold: Detections with scores up to this one are dropped; 0 to 1.
    """
    for file in (photo, *more):  # before people are looked at, which takes longer
        if not file.exists():
            raise FileNotFoundError(f"{file}: there is no such photo or folder")
    known = _people(people, gallery, net, fpir)
    found = _found(known, [photo, *more], out, score_threshold)
    if not is_main():
        return
    _print(found, "similarity", known)
    print(_told_of_threshold(known))
    drawn = _draw(found, [photo, *more], draw)
    if drawn:
        print(f"drawn: {drawn[0]}" + (f" and {len(drawn) - 1} more" if len(drawn) > 1 else ""))
    if xmp:
        from thesislib.deploy.xmp_regions import write_regions

        written = [write_regions(file, faces) for file, faces in found]
        count = sum(one is not None for one in written)
        print(f"names written beside {count} photo{'' if count == 1 else 's'}")


def album(
    photos: Positional[Path],
    people: Path | None = None,
    gallery: Path | None = None,
    net: Path = Path("default"),
    fpir: float | None = None,
    to: Path | None = None,
    out: Path | None = None,
    score_threshold: float = 0.5,
) -> None:
    """Make an album of a folder of photos: one HTML file, by person, that needs no network.

    Faces of nobody you have named are put together by person, too.

    Args:
        photos: Folder of photos; those that cannot be read are left out.
        people: Folder with a folder of photos for each person, or a photo that bears the name.
        gallery: Gallery file of people who were enrolled, in place of that folder.
        net: Folder or file of the net that finds and reads faces; else the published one.
        fpir: Share of strangers who may be taken for one of the people; else one in ten, and
            of a gallery file as it was chosen there.
        to: The HTML file; else beside the folder, with its name.
        out: Folder in which answers are kept while they come, embeddings of the faces too, ending
            as faces.csv.
        score_threshold: Detections with scores up to this one are dropped; 0 to 1.
    """
    from thesislib.deploy.photo_faces import PhotoFaces
    from thesislib.reporting.album import write

    known = _people(people, gallery, net, fpir)
    found = PhotoFaces.find(known.net, photos, score_threshold, out, progress())
    if not is_main():
        return
    faces = found.named(known)
    to = to or photos.with_name(f"{photos.resolve().name}.html")
    about = f"{faces['photo'].nunique()} photos with faces. {_told_of_threshold(known)}"
    write(faces, photos, to, title=photos.resolve().name, about=about)
    named = faces["name"] != ""
    print(f"{len(faces)} faces, {int(named.sum())} of them of {len(known.identities)} people: {to}")


# --- faces ------------------------------------------------------------------------------------


def _found(system: Any, photos: list[Path], out: Path | None, threshold: float) -> Found:
    from thesislib.engine.predict import one_by_one

    files = [Path(str(file)) for file in one_by_one(photos)]
    asked: Any = photos[0] if len(photos) == 1 and photos[0].is_dir() else photos
    answers = tl.predict(system, asked, threshold, out=out, progress=progress())
    return list(zip(files, answers, strict=True))


def _print(found: Found, likeness: str | None, people: tl.Gallery | None = None) -> None:
    """Who is where in each photo, from left to right.

    Args:
        found: the photos.
        likeness: what the score of a name is called; None of a net without names.
        people: of whom nobody's nearest is told.
    """
    for file, faces in found:
        print(f"{file}: {len(faces)} face{'' if len(faces) == 1 else 's'}")
        if faces:
            ordered = sorted(faces, key=lambda face: float(face.box[0]))
            print(_table(ordered, likeness, [_name(face, people) for face in ordered]))


def _name(face: tl.Face, people: tl.Gallery | None) -> str:
    if face.name or people is None or len(people.identities) == 1:
        return face.name or "nobody"
    assert face.embedding is not None  # every system of a gallery gives them
    ((nearest,),), _ = people.search(face.embedding[None])
    return f"nobody (nearest: {nearest})"


def _table(faces: Sequence[tl.Face], likeness: str | None, names: Sequence[str]) -> str:
    """How sure it is that this is a face is one thing, whose it is another."""
    named = [("", likeness or "")] + [
        (name, f"{face.name_score:.3f}") for face, name in zip(faces, names, strict=True)
    ]
    where = [("face score", "box x1, y1, x2, y2")] + [
        (f"{face.score:.2f}", ", ".join(str(round(float(side))) for side in face.box))
        for face in faces
    ]
    rows = [(*who, *place) for who, place in zip(named, where, strict=True)]
    if likeness is None:
        rows = [("", "", *place) for place in where]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"  {who:<{widths[0]}}  {like:>{widths[1]}}  {sure:>{widths[2]}}  {box}"
        if likeness
        else f"  {sure:>{widths[2]}}  {box}"
        for who, like, sure, box in rows
    )


def _draw(found: Found, given: Sequence[Path], folder: Path | None) -> list[Path]:
    """Draw the photos that show a face.

    Args:
        found: the photos.
        given: files and folders that were asked for.
        folder: for the pictures; None for beside each photo, and those of a folder's photos in a
            folder beside that.

    Returns:
        the pictures.
    """
    place, drawn = _places(given, folder), []
    for file, faces in found:
        if faces:
            drawn.append(place(file))
            with atomic_write(drawn[-1]) as aside:
                tl.draw(file, faces).save(aside, quality=92)
    return drawn


def _places(given: Sequence[Path], folder: Path | None) -> Callable[[Path], Path]:
    """Where the picture of a photo goes; no two to one place."""
    from thesislib.data.images import DRAWN

    folders = [one.resolve() for one in given if one.is_dir()]
    taken: set[Path] = set()

    def place(file: Path) -> Path:
        full = file.resolve()
        inside = next((one for one in folders if one in full.parents), None)
        below = full.relative_to(inside) if inside else Path(file.name)
        if folder is not None:
            root = folder
        elif inside is not None:
            root = inside.with_name(f"{inside.name}.recognised")
        else:
            root = file.parent
        # party.jpg and party.png, or photos of two folders, may have one name.
        names = itertools.chain(
            (below.stem, below.name), (f"{below.name} {at}" for at in itertools.count(2))
        )
        pictures = (root / below.with_name(f"{name}{DRAWN}") for name in names)
        picture = next(one for one in pictures if one not in taken)
        taken.add(picture)
        return picture

    return place


# --- people -----------------------------------------------------------------------------------


def _people(people: Path | None, gallery: Path | None, net: Path, fpir: float | None) -> tl.Gallery:
    """Who may be in photos, and from which similarity on."""
    from thesislib.deploy.threshold import FPIR, published_rates

    if (people is None) == (gallery is None):
        raise ValueError("one of --people and --gallery is needed: who may be in the photos")
    loaded = tl.load(net)
    if gallery is not None:
        known = tl.Gallery.load(gallery, loaded)
    else:
        known = tl.Gallery(loaded)
        remarks = known.enrol_folder(people, progress=progress())
        if is_main():
            print("".join(f"{one}\n" for one in remarks), end="")
    if fpir is not None or (gallery is None and published_rates(known.model) is not None):
        known.calibrate(None, FPIR if fpir is None else fpir)
    return known


def _told_of_threshold(people: tl.Gallery) -> str:
    count = len(people.identities)
    who = f"one of {count} people" if count > 1 else people.identities[0]
    told = f"A face is {who} from a similarity of {people.threshold:.3f} on"
    if people.calibration is None:
        return f"{told}; how many strangers that lets in is not known."
    of = f"{100 * people.calibration.fpir:.2g} of 100 strangers"
    return f"{told}. {of} would get a name wrongly; relatives, children and people alike more."
