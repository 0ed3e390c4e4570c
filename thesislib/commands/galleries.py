"""Commands of galleries: who is enrolled, by which photos, and who no longer is."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tyro.conf import Positional

import thesislib as tl
from thesislib.commands.settings import More, progress
from thesislib.deploy import gallery_file
from thesislib.storage import folder_lock


def enrol(
    name: Positional[str],
    photo: Positional[Path],
    more: More,
    gallery: Path,
    net: Path = Path("default"),
) -> None:
    """Enrol a person in a gallery, by photos of them.

    In a photo of several people the foremost face is meant, if it is clearly the largest. Poor
    photos are left out where there are better ones, and told.

    Args:
        name: The person's name.
        photo: A photo, or a folder of photos.
        more: Further ones.
        net: Folder or file of a trained net; else the published one.
        gallery: Gallery file, <name>.safetensors; made if it is not there.
    """
    with _changing(gallery, net) as people:
        remarks = people.enrol_person(name, [photo, *more])
    print("".join(f"{one}\n" for one in remarks), end="")
    print(f"{name} enrolled; {_count(people)} in {gallery}")


def enrol_folder(people: Positional[Path], gallery: Path, net: Path = Path("default")) -> None:
    """Enrol everybody who has a folder of photos, or a photo, in a folder.

    Args:
        people: Folder with a folder of photos for each person, or a photo that bears the name.
        net: Folder or file of a trained net; else the published one.
        gallery: Gallery file, <name>.safetensors; made if it is not there.
    """
    with _changing(gallery, net) as known:
        remarks = known.enrol_folder(people, progress=progress())
    print("".join(f"{one}\n" for one in remarks), end="")
    print(f"{people} enrolled; {_count(known)} in {gallery}")


def enrol_dataset(data: Path, gallery: Path, net: Path = Path("default")) -> None:
    """Enrol everybody in a dataset in a gallery, each face read at its annotated box.

    Args:
        data: Dataset folder.
        net: Folder or file of a trained net; else the published one.
        gallery: Gallery file, <name>.safetensors; made if it is not there.
    """
    with _changing(gallery, net) as people:
        people.enrol_dataset(tl.read_dataset(data), progress=progress())
    print(f"{data} enrolled; {_count(people)} in {gallery}")


def people(gallery: Positional[Path]) -> None:
    """List who is enrolled in a gallery, and by how many faces.

    Args:
        gallery: Gallery file.
    """
    counts = gallery_file.people_in(gallery)
    table = pd.DataFrame(sorted(counts.items()), columns=["person", "faces"])
    print(table.to_string(index=False) if len(table) else f"{gallery}: nobody is enrolled")


def forget(name: Positional[str], gallery: Path, net: Path = Path("default")) -> None:
    """Remove a person from a gallery, with all that was kept of them.

    Args:
        name: The person's name.
        gallery: Gallery file.
        net: Folder or file of the net that the gallery was made with; else the published one.
    """
    if not gallery.exists():
        raise ValueError(f"{gallery}: no such gallery")
    with _changing(gallery, net) as people:
        people.remove(name)
    print(f"{name} forgotten; {_count(people)} in {gallery}")


def _count(people: tl.Gallery) -> str:
    count = len(people.identities)
    return f"{count} {'person' if count == 1 else 'people'}"


@contextlib.contextmanager
def _changing(gallery: Path, net: Path) -> Iterator[tl.Gallery]:
    """A gallery that is opened, or made, and saved at the end; nobody else changes it meanwhile."""
    from thesislib.deploy.threshold import calibrate_again

    loaded = tl.load(net)
    with folder_lock(gallery.parent, wait=True):
        people = tl.Gallery.load(gallery, loaded) if gallery.exists() else tl.Gallery(loaded)
        yield people
        calibrate_again(people)
        people.save(gallery)
