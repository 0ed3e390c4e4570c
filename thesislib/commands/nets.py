"""Commands of nets and datasets."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

import thesislib as tl
from thesislib.commands.settings import Changes, More, ProfileName, changed, is_main, progress

# --- nets -------------------------------------------------------------------------------------


def train(
    data: Path,
    out: Path,
    changes: Changes,
    profile: ProfileName = "laptop",
    seed: int = 0,
    start: Path | None = None,
) -> None:
    """Train a joint net on all photos of a dataset; asked again, go on where it stopped.

    Args:
        data: Dataset folder.
        out: Folder of the training; gets net.safetensors, which stands alone.
        profile: Settings to begin with.
        seed: Random seed.
        start: A net whose weights to begin with; dlib for dlib's recogniser, default for the
            published net.
    """
    dataset, settings = tl.read_dataset(data), changed(profile, changes)
    net = tl.train(dataset, settings, out, seed=seed, start=start, progress=progress())
    if is_main():
        print(f"{len(net.identities)} people learned: {out}")


def distil(
    photos: tuple[Path, ...],
    out: Path,
    changes: Changes,
    scenes: tuple[Path, ...] = (),
    profile: ProfileName = "default",
    steps: int | None = None,
    leave_out: int = 0,
    most_portraits: int | None = None,
    seed: int = 0,
    start: Path | None = None,
) -> None:
    """Teach a joint net what dlib's recogniser knows, from photos of anybody; asked again, go on.

    Args:
        photos: Folders: datasets, whose boxes and landmarks are used, or plain folders of photos.
        out: Folder of the training; gets net.safetensors, which stands alone.
        scenes: Further folders, from which finding faces is learned and nobody's face.
        profile: Settings to begin with.
        steps: Optimiser steps; else 1000 for each epoch of the profile.
        leave_out: Photos whose number is divisible by this are left for measuring.
        most_portraits: Learn from so many photos of one large face; else from all.
        seed: Random seed.
        start: A distilled net to go on from; else dlib's recogniser.
    """
    from thesislib.engine.distil import distil as distilled

    net = distilled(
        photos,
        out,
        scenes=scenes,
        profile=changed(profile, changes),
        steps=steps,
        leave_out=leave_out,
        most_portraits=most_portraits,
        seed=seed,
        start=start,
        progress=progress(),
    )
    if is_main():
        about = net.provenance or {}
        told = f"{about['portraits']} portraits and {about['scenes']} scenes"
        print(f"learned from {told}, {about['left_out']} photos left out: {out}")


def release(
    net: Path,
    photos: tuple[Path, ...],
    leave_out: int,
    scenes: tuple[Path, ...] = (),
    out: Path = Path("default"),
    seed: int = 0,
) -> None:
    """Write a distilled net as the published one, with its thresholds.

    Args:
        net: Folder or file of the net.
        photos: Folders of portraits of strangers, among them those it has not learned from.
        leave_out: Those have numbers divisible by this.
        scenes: Folders of scenes, likewise; crops without a face tell what a score of 0.5 means.
        out: File to write; else the published net's.
        seed: Random seed of the crops.
    """
    from thesislib.engine.release import release as released

    made = released(net, photos, leave_out, scenes=scenes, out=out, seed=seed, progress=progress())
    if is_main():
        print(f"threshold {made.gallery_threshold}, in half precision: {out}")


def evaluate(
    data: Path,
    net: Path = Path("default"),
    gallery: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure how well a net, or a gallery of its embeddings, finds and names a dataset's people.

    Args:
        data: Dataset folder.
        net: Folder or file of a trained net; else the published one.
        gallery: Gallery whose people are looked for, in place of those the net has learned.
        out: Folder in which answers are kept while they come.
    """
    system: Any = tl.load(net)
    if gallery is not None:
        system = tl.Gallery.load(gallery, system)
    report = tl.evaluate(system, tl.read_dataset(data), out=out, progress=progress())
    if is_main():
        print(report.table().to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def export(to: Path, net: Path = Path("default"), calibration: Path | None = None) -> None:
    """Write a net as ONNX and OpenVINO files.

    Args:
        net: Folder or file of a trained net; else the published one.
        to: Folder for the files.
        calibration: Dataset folder; up to 200 of its photos calibrate an int8 net.
    """
    photos = []
    if calibration is not None:
        dataset = tl.read_dataset(calibration)
        # Of all people, not of the first few.
        chosen = dataset.photos[:: -(-len(dataset.photos) // 200)]
        photos = [dataset.folder / name for name in chosen]
    tl.load(net, device="cpu").export(to, photos)
    print(f"exported: {to}")


# --- datasets ---------------------------------------------------------------------------------


def data(
    source: Positional[str],
    folder: Positional[Path],
    more: More,
    to: Path | None = None,
    identities: Path | None = None,
    labels_are: Literal["people", "faces"] | None = None,
    encoding: str | None = None,
    min_photos: int = 1,
    allow: tuple[Literal["one-person", "names", "boxes"], ...] = (),
    dry_run: bool = False,
) -> None:
    """Make a dataset of photos as people have them, of other datasets, or of synthetic people.

    What the source was read as is said before it is trusted: readings that are more often a mistake
    than meant are refused, with the word that allows them.

    Args:
        source: What the photos are: folder (a folder per person); xmp (faces named in photos by
            digiKam, Lightroom, Apple Photos, Picasa); coco, yolo, pascal_voc, labelme, cvat or via
            (what annotation tools write); georgia_tech, caltech_faces_1999, fei, lfw, celeba,
            wider_face; or merge, for several dataset folders into one; or synthetic, for a named
            set of people who do not exist.
        folder: The source's folder or archive; for merge a dataset folder; for synthetic the set.
        more: For merge: further dataset folders.
        to: Dataset folder to make.
        identities: For caltech_faces_1999: CSV table first,last,identity.
        labels_are: What the labels of boxes are, where they do not tell.
        encoding: Code page of names that are not UTF-8, as cp866, where they do not tell.
        min_photos: Leave out people with fewer photos.
        allow: Readings that are otherwise refused: one-person, for a source of one person alone;
            names, for people named train or unknown; boxes, that lie elsewhere than faces.
        dry_run: Say what the source is read as, and make no dataset; --to gets the list of what is
            to be looked over and a contact sheet.
    """
    from thesislib.data import importers

    if more and source != "merge":
        raise ValueError("more than one folder is for merge")
    of_photos = (identities, labels_are, encoding, min_photos != 1, allow, dry_run)
    if source in ("merge", "synthetic") and any(of_photos):
        raise ValueError(f"{source} takes --to alone; the other options are for photos")
    if dry_run:
        with importers.reading_of(
            source, folder, encoding, min_photos, identities=identities, labels_are=labels_are
        ) as reading:
            try:
                reading.check(allow, _published_detector())
            finally:  # refused or not, what was understood is said
                print("\n".join(reading.sentences()))
                if to is not None:
                    importers.dry_run(reading, to)
                else:
                    for photo, reason in reading.source.to_look_over:
                        print(f"{photo}: {reason}")
        return
    if to is None:
        raise ValueError("--to is needed: the dataset folder to make")
    if source == "merge":
        dataset = importers.merge([folder, *more], to, progress())
    elif source == "synthetic":
        from thesislib.synthetic import sets

        sets.make(to, sets.get_set(str(folder)), progress=progress())
        dataset = tl.read_dataset(to)
    else:
        dataset = importers.import_photos(
            source,
            folder,
            to,
            identities,
            progress(),
            labels_are=labels_are,
            encoding=encoding,
            min_photos=min_photos,
            allow=allow,
            detect=_published_detector(),
        )
    print(importers.summary(dataset))


def _published_detector() -> Callable[[Any], Any] | None:
    """Boxes of the faces in a photo by the published net; None where its file is not there."""
    from thesislib.engine.checkpoint import DEFAULT, net_file

    if not net_file(DEFAULT).is_file():
        return None

    @functools.cache
    def net() -> Any:
        loaded = tl.load(DEFAULT)
        loaded.input_px = 240  # enough for the large faces that are asked for, and quick
        return loaded

    def boxes(photo: Any) -> Any:
        import numpy as np

        return np.array([face.box for face in net().predict(photo)]).reshape(-1, 4)

    return boxes
