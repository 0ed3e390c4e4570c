"""The command line: ``python -m thesislib <command> --help`` says what each command takes.

Commands are functions; their options are the functions' parameters and the fields of
:class:`thesislib.profiles.Profile`, so that no option is written down twice.
"""

import contextlib
import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

import thesislib as tl
from thesislib.profiles import PROFILES, Margin, Profile
from thesislib.storage import folder_lock

Split = Literal["photo", "session"]
# Beside one that must be given: a tuple alone may be empty.
More = Positional[tuple[Path, ...]]


def _changes() -> type:
    """A dataclass of all settings of a profile, each None: not changed."""
    # One option for a margin's three fields, in their order.
    hints = typing.get_type_hints(Profile) | {"margin": tuple[str, float, float]}
    fields = []
    for field in dataclasses.fields(Profile):
        if field.name != "name":
            told = arg(help="Overrides the profile.")
            hint = Annotated[hints[field.name] | None, told]  # type: ignore
            fields.append((field.name, hint, dataclasses.field(default=None)))
    return dataclasses.make_dataclass("Changes", fields, frozen=True)


if typing.TYPE_CHECKING:
    Changes: typing.TypeAlias = Any
    ProfileName: typing.TypeAlias = str
else:
    Changes = Annotated[_changes(), arg(name="", help="settings")]
    ProfileName = Literal[tuple(PROFILES)]


def _changed(profile: str, changes: Any) -> Profile:
    given = {name: v for name, v in dataclasses.asdict(changes).items() if v is not None}
    if "margin" in given:
        given["margin"] = Margin(*given["margin"])
    return dataclasses.replace(PROFILES[profile], **given)


def _progress() -> bool:
    return not os.environ.get("TQDM_DISABLE")


# --- nets and photos --------------------------------------------------------------------------


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
        start: A net whose weights to begin with.
    """
    dataset, settings = tl.read_dataset(data), _changed(profile, changes)
    net = tl.train(dataset, settings, out, seed=seed, start=start, progress=_progress())
    if _is_main():
        print(f"{len(net.identities)} people learned: {out}")


def predict(
    photo: Positional[Path],
    more: More,
    net: Path,
    out: Path | None = None,
    draw: Path | None = None,
    score_threshold: float = 0.5,
) -> None:
    """Find and name the faces in photos.

    Args:
        photo: A photo, or a folder of photos; in folders those that cannot be read are left out.
        more: Further ones.
        net: Folder or file of a trained net.
        out: Folder in which answers are kept while they come, ending as faces.csv.
        draw: Folder for pictures with boxes and names.
        score_threshold: Detections with scores up to this one are dropped; 0 to 1.
    """
    _predict(tl.load(net), [photo, *more], out, draw, score_threshold)


def _predict(
    system: Any, photos: list[Path], out: Path | None, draw: Path | None, threshold: float
) -> None:
    from thesislib.engine.predict import one_by_one

    folder = photos[0] if len(photos) == 1 and photos[0].is_dir() else None
    files = [Path(str(file)) for file in one_by_one(photos)]
    found = tl.predict(system, folder or photos, threshold, out=out, progress=_progress())
    if not _is_main():
        return
    for at, (file, faces) in enumerate(zip(files, found, strict=True)):
        print(f"{file}: {len(faces)} face{'' if len(faces) == 1 else 's'}")
        for face in faces:
            x1, y1, x2, y2 = face.box.round().astype(int).tolist()
            named = f"{face.name} ({face.name_score:.2f})" if face.name else "nobody"
            print(f"  {named}, box [{x1}, {y1}, {x2}, {y2}], face {face.score:.2f}")
        if draw is not None and faces:
            # Photos of several folders may have one name.
            name = file.relative_to(folder) if folder else Path(f"{at + 1:04} {file.name}")
            picture = draw / name.with_name(f"{name.name}.faces.jpg")
            picture.parent.mkdir(parents=True, exist_ok=True)
            tl.draw(file, faces).save(picture, quality=92)


def evaluate(data: Path, net: Path, gallery: Path | None = None, out: Path | None = None) -> None:
    """Measure how well a net, or a gallery of its embeddings, finds and names a dataset's people.

    Args:
        data: Dataset folder.
        net: Folder or file of a trained net.
        gallery: Gallery whose people are looked for, in place of those the net has learned.
        out: Folder in which answers are kept while they come.
    """
    system: Any = tl.load(net)
    if gallery is not None:
        system = tl.Gallery.load(gallery, system)
    report = tl.evaluate(system, tl.read_dataset(data), out=out, progress=_progress())
    if _is_main():
        print(report.table().to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def export(net: Path, to: Path, calibration: Path | None = None) -> None:
    """Write a net as ONNX and OpenVINO files.

    Args:
        net: Folder or file of a trained net.
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


# --- galleries --------------------------------------------------------------------------------


def enrol(
    name: Positional[str], photo: Positional[Path], more: More, net: Path, gallery: Path
) -> None:
    """Enrol a person in a gallery, by photos that show nobody else.

    Args:
        name: The person's name.
        photo: A photo, or a folder of photos.
        more: Further ones.
        net: Folder or file of a trained net.
        gallery: Gallery file, <name>.safetensors; made if it is not there.
    """
    with _changing(gallery, net) as people:
        people.enrol(name, [photo, *more])
    print(f"{name} enrolled; {len(people.identities)} people in {gallery}")


def enrol_dataset(data: Path, net: Path, gallery: Path) -> None:
    """Enrol everybody in a dataset in a gallery, each face read at its annotated box.

    Args:
        data: Dataset folder.
        net: Folder or file of a trained net.
        gallery: Gallery file, <name>.safetensors; made if it is not there.
    """
    with _changing(gallery, net) as people:
        people.enrol_dataset(tl.read_dataset(data), progress=_progress())
    print(f"{data} enrolled; {len(people.identities)} people in {gallery}")


@contextlib.contextmanager
def _changing(gallery: Path, net: Path) -> Iterator[tl.Gallery]:
    """A gallery that is opened, or made, and saved at the end; nobody else changes it meanwhile."""
    loaded = tl.load(net)
    with folder_lock(gallery.parent, wait=True):
        people = tl.Gallery.load(gallery, loaded) if gallery.exists() else tl.Gallery(loaded)
        yield people
        people.save(gallery)


def recognise(
    photo: Positional[Path],
    more: More,
    net: Path,
    gallery: Path,
    out: Path | None = None,
    draw: Path | None = None,
    score_threshold: float = 0.5,
) -> None:
    """Find faces in photos and name those who are enrolled in a gallery.

    Args:
        photo: A photo, or a folder of photos; in folders those that cannot be read are left out.
        more: Further ones.
        net: Folder or file of the net that the gallery was made with.
        gallery: Gallery file.
        out: Folder in which answers are kept while they come, ending as faces.csv.
        draw: Folder for pictures with boxes and names.
        score_threshold: Detections with scores up to this one are dropped; 0 to 1.
    """
    people = tl.Gallery.load(gallery, tl.load(net))
    _predict(people, [photo, *more], out, draw, score_threshold)


# --- datasets ---------------------------------------------------------------------------------


def data(
    source: Positional[str],
    folder: Positional[Path],
    more: More,
    to: Path,
    identities: Path | None = None,
) -> None:
    """Make a dataset of photos as people have them, of other datasets, or of synthetic people.

    Args:
        source: What the photos are: folder (a folder per person), georgia_tech,
            caltech_faces_1999, fei, lfw, celeba, wider_face, coco; or merge, for several dataset
            folders into one; or synthetic, for a named set of people who do not exist.
        folder: The source's folder or archive; for merge a dataset folder; for synthetic the set.
        more: For merge: further dataset folders.
        to: Dataset folder to make.
        identities: For caltech_faces_1999: CSV table first,last,identity.
    """
    from thesislib.data import importers

    if source == "merge":
        dataset = importers.merge([folder, *more], to, _progress())
    elif more:
        raise ValueError("more than one folder is for merge")
    elif source == "synthetic":
        from thesislib.synthetic import sets

        sets.make(to, sets.get_set(str(folder)), progress=_progress())
        dataset = tl.read_dataset(to)
    else:
        dataset = importers.import_photos(source, folder, to, identities, _progress())
    print(importers.summary(dataset))


# --- experiments ------------------------------------------------------------------------------


def _config(
    data: Path | None, profile: str, changes: Any, split: str = "photo", seed: int = 0, **more: Any
) -> Any:
    from thesislib.experiments import config as configs

    config = configs.make_config(data, _changed(profile, changes), split, seed, **more)
    configs.prepare(config)
    return config


def experiment1(
    changes: Changes,
    data: Path | None = None,
    split: Split = "photo",
    profile: ProfileName = "laptop",
    seed: int = 0,
    start: Path | None = None,
    holdout: bool = False,
    systems: tuple[Literal["joint", "two_stage_photo", "two_stage_face"], ...] = (),
) -> None:
    """Experiment 1: joint detection and identification against the two-stage pipeline.

    Args:
        data: Dataset folder, or the name of one in data/; else synthetic people.
        split: How photos are divided.
        profile: Settings to begin with.
        seed: Random seed.
        start: A net whose weights all systems begin with.
        holdout: Tune on a part of the training part; the test part is not read.
        systems: Which; else all three.
    """
    from thesislib.experiments import baseline_comparison
    from thesislib.tables import SYSTEMS

    config = _config(data, profile, changes, split, seed, start=start, holdout=holdout)
    _show(baseline_comparison.run(config, systems or SYSTEMS), "system")


def experiment2(
    source: Path,
    target: Path,
    changes: Changes,
    split: Split = "photo",
    profile: ProfileName = "laptop",
    seed: int = 0,
    start: Path | None = None,
    steps: int | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    at_least: int = 8,
) -> None:
    """Experiment 2: new people for a trained joint net, by retraining more or less of it.

    Args:
        source: Dataset whose people the net has learned.
        target: Dataset of the new people.
        split: How the source's photos are divided.
        profile: Settings to begin with.
        seed: Random seed of the source's net.
        start: A net whose weights the source's net begins with.
        steps: Optimiser steps of each training; else the profile's.
        seeds: Seeds of the transfer runs.
        at_least: Photos a new person must have.
    """
    from thesislib import paths
    from thesislib.experiments import config as configs
    from thesislib.experiments import transfer

    config = _config(source, profile, changes, split, seed, start=start)
    made = configs.data_folder(target).resolve() == paths.synthetic(config.profile.new_people)
    if made and not target.exists():
        configs.make_synthetic(config.profile.new_people)
    table = transfer.run(config, target, steps, run_seeds=seeds, at_least=at_least)
    _show(table, "variant", "photos_per_person", "seed")


def experiment3(
    changes: Changes,
    data: Path | None = None,
    others: tuple[Path, ...] = (),
    profile: ProfileName = "laptop",
    seed: int = 0,
    arms: tuple[str, ...] = (),
    holdout: bool = False,
    draws: int = 200,
) -> None:
    """Experiment 3: embeddings of people who were not in the training.

    Args:
        data: Dataset some of whose people are never seen; else synthetic people.
        others: Datasets of further people who are never seen.
        profile: Settings to begin with.
        seed: Random seed.
        arms: Training variants; else all that the profile has time for.
        holdout: Tune on a part of the training part.
        draws: Bootstrap resamples of people.
    """
    from thesislib.experiments import embeddings

    config = embeddings.make_config(data, _changed(profile, changes), seed, holdout)
    _show(embeddings.run(config, arms, others, draws), "people", "arm")


def pretraining(
    data: Path,
    changes: Changes,
    split: Split = "photo",
    profile: ProfileName = "laptop",
    seed: int = 0,
) -> None:
    """Does a net that has learned synthetic people learn real ones better?

    Args:
        data: Dataset of real people.
        split: How photos are divided.
        profile: Settings to begin with.
        seed: Random seed.
    """
    from thesislib.experiments import pretraining as experiment

    _show(experiment.compare(_config(data, profile, changes, split, seed)), "arm")


def stand_in(
    changes: Changes, data: Path | None = None, profile: ProfileName = "quick", seed: int = 0
) -> None:
    """Are synthetic people a fair stand-in for real ones?

    Args:
        data: Dataset of synthetic people with sessions; else the profile's.
        profile: Settings to begin with.
        seed: Random seed.
    """
    from thesislib.experiments import stand_in as experiment

    table, _ = experiment.measure(_config(data, profile, changes, seed=seed))
    if _is_main():
        print(table[["measure", "split", "value", "low", "high", "n"]].to_string(index=False))


# --- benchmarks -------------------------------------------------------------------------------


def benchmark(
    size: Literal["benchmark", "smoke"] = "benchmark", seed: int = 0, peers: Path | None = None
) -> None:
    """Speed and accuracy of every engine, turn by turn; 18 minutes on two cores.

    Args:
        size: How much is done; smoke takes a minute, and its numbers mean nothing.
        seed: Random seed.
        peers: Folder with the weights of OpenCV's models, to compare with.
    """
    from thesislib.benchmarks import headline
    from thesislib.benchmarks.targets import targets

    found = targets(*headline.run(size, seed, peers, progress=True))
    print(found.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def gallery_speed(templates: tuple[int, ...] = (100_000, 1_000_000), probes: int = 300) -> None:
    """Time of identifying in large galleries, and what the quick search loses to the exact one.

    Args:
        templates: Sizes of the galleries, multiples of 10 000.
        probes: Of enrolled people, and as many of strangers.
    """
    from thesislib.benchmarks import gallery

    gallery.run(templates, probes)


def training_speed(
    changes: Changes, data: Path | None = None, profile: ProfileName = "quick", rounds: int = 5
) -> None:
    """The training loop against the same loop written naively, turn by turn.

    Args:
        data: Dataset folder; else synthetic people.
        profile: Settings to begin with.
        rounds: Turns of each loop.
    """
    from thesislib.benchmarks import training

    config = _config(data, profile, changes)
    print(training.summary(config, training.compare(config, rounds)))


def publish() -> None:
    """Take the results of runs/ over into the committed tables, figures, notebooks and pages."""
    from thesislib import paths
    from thesislib.reporting import publish as publishing

    changed = publishing.publish()
    for file in changed:
        print(file.relative_to(paths.ROOT))
    print(f"{len(changed)} files changed; `git diff` shows how" if changed else "nothing changed")


def _show(table: Any, *keys: str) -> None:
    if _is_main():
        shown = table[[*keys, "metric", "value", "low", "high", "n"]]
        print(shown.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def _is_main() -> bool:
    from thesislib.engine.processes import this_process

    return this_process().is_main_process


COMMANDS: tuple[Callable, ...] = (
    train,
    predict,
    evaluate,
    enrol,
    enrol_dataset,
    recognise,
    export,
    data,
    experiment1,
    experiment2,
    experiment3,
    pretraining,
    stand_in,
    benchmark,
    gallery_speed,
    training_speed,
    publish,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: its words; None for those of the process.

    Returns:
        0, or 1 with a sentence on the standard error: what the user can mend has no traceback.
    """
    app = tyro.extras.SubcommandApp()
    for command in COMMANDS:
        app.command(command)
    try:
        app.cli(
            prog="python -m thesislib",
            description="Joint face detection and identification in a single CNN.",
            args=None if argv is None else list(argv),
        )
    except KeyboardInterrupt:
        print("\ninterrupted; trainings and --out folders resume", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _can_be_mended(error):
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


def _can_be_mended(error: RuntimeError) -> bool:
    """Whether it is one of the library's own, whose message says what to do."""
    return type(error).__module__.startswith("thesislib.")


if __name__ == "__main__":
    sys.exit(main())
