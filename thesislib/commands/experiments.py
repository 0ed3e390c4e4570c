"""Commands of experiments and benchmarks, and of what is published of them."""

from pathlib import Path
from typing import Any, Literal

from thesislib.commands.settings import (
    Changes,
    ProfileName,
    Split,
    changed,
    given,
    is_main,
    progress,
    show,
)

VariantName = Literal[
    "class_mean", "nearest", "classifier", "classifier_embedding", "all", "scratch"
]
TrainedName = Literal["joint", "two_stage_photo", "two_stage_face", "boxes_only", "names_only"]
SystemName = Literal[
    "joint",
    "two_stage_photo",
    "two_stage_face",
    "two_stage_aligned",
    "boxes_only",
    "names_only",
    "chance",
    "pixel_nn_photo",
    "pixel_nn_face",
    "hog_nearest",
    "hog_class_mean",
    "constant_box",
    "dlib_aligned_class_mean",
    "dlib_aligned_nearest",
]

# --- experiments ------------------------------------------------------------------------------


def _config(
    data: Path | None, profile: str, changes: Any, split: str = "photo", seed: int = 0, **more: Any
) -> Any:
    from thesislib.experiments import config as configs

    config = configs.make_config(data, profile, split, seed, **more, **given(changes))
    configs.prepare(config)
    return config


def train_ahead(
    changes: Changes,
    split: Split = "photo",
    profile: ProfileName = "quick",
    seed: int = 0,
) -> None:
    """Train the nets of a run on synthetic people ahead, as many at a time as there are cores.

    Args:
        split: How photos are divided.
        profile: Settings to begin with.
        seed: Random seed.
    """
    from thesislib.experiments import ahead

    ahead.train_ahead(_config(None, profile, changes, split, seed), progress())


def experiment1(
    changes: Changes,
    data: Path | None = None,
    split: Split = "photo",
    profile: ProfileName = "laptop",
    seed: int = 0,
    start: Path | None = None,
    holdout: bool = False,
    systems: tuple[SystemName, ...] = (),
) -> None:
    """Experiment 1: joint detection and identification against the two-stage pipeline.

    Args:
        data: Dataset folder, or the name of one in data/; else synthetic people.
        split: How photos are divided.
        profile: Settings to begin with.
        seed: Random seed.
        start: A net whose weights all systems begin with; default, the published one, or dlib, for
            systems with dlib's recogniser.
        holdout: Tune on a part of the training part; the test part is not read.
        systems: Which; else the joint net, the pipelines and the references.
    """
    from thesislib.experiments import baseline_comparison

    config = _config(data, profile, changes, split, seed, start=start, holdout=holdout)
    show(baseline_comparison.run(config, systems), "system")


def compare(
    changes: Changes,
    data: Path | None = None,
    split: Split = "photo",
    profile: ProfileName = "laptop",
    seeds: tuple[int, ...] = (0, 1, 2),
    systems: tuple[TrainedName, ...] = (),
) -> None:
    """Experiment 1 with several seeds: intervals over people and seeds, and differences.

    Args:
        data: Dataset folder, or the name of one in data/; else synthetic people.
        split: How photos are divided.
        profile: Settings to begin with.
        seeds: Random seeds.
        systems: Which are trained from random weights; else all.
    """
    from thesislib.experiments import comparisons

    configs = [_config(data, profile, changes, split, seed) for seed in seeds]
    numbers, pairs = comparisons.compare(configs, systems)
    show(numbers, "system", "start")
    told = ["metric", "system", "start", "against", "against_start"]
    told += ["value", "low", "high", "p_holm", "holds"]
    if is_main() and len(pairs):
        print(pairs[told].to_string(index=False, float_format="{:.4f}".format))


def experiment2(
    source: Path,
    target: Path,
    changes: Changes,
    split: Split = "photo",
    profile: ProfileName = "laptop",
    seed: int = 0,
    start: Path | None = None,
    steps: int | None = None,
    seeds: tuple[int, ...] = (),
    at_least: int = 9,
    variants: tuple[VariantName, ...] = (),
) -> None:
    """Experiment 2: new people for a trained joint net, by retraining more or less of it.

    Args:
        source: Dataset whose people the net has learned.
        target: Dataset of the new people.
        split: How the source's photos are divided.
        profile: Settings to begin with.
        seed: First random seed.
        start: A net whose weights the source's net begins with; default is the published one.
        steps: Optimiser steps of each training of the equal budget; else the profile's.
        seeds: Seeds of the source's nets and of what is done with them; with three, differences
            may be claimed.
        at_least: Photos a new person must have.
        variants: What is trained; else all that the profile has time for.
    """
    from thesislib import paths
    from thesislib.experiments import config as configs
    from thesislib.experiments import transfer

    config = _config(source, profile, changes, split, seed, start=start)
    if configs.data_folder(target).resolve() == paths.synthetic(config.profile.new_people):
        configs.make_synthetic(config.profile.new_people)
    table = transfer.run(
        config, target, steps, run_seeds=seeds, variants=variants, at_least=at_least
    )
    show(table, "variant", "photos_per_person", "seed")


def experiment3(
    changes: Changes,
    data: Path | None = None,
    others: tuple[Path, ...] = (),
    profile: ProfileName = "laptop",
    seeds: tuple[int, ...] = (0,),
    arms: tuple[str, ...] = (),
    holdout: bool = False,
    draws: int = 2000,
) -> None:
    """Experiment 3: embeddings of people who were not in the training.

    Args:
        data: Dataset some of whose people are never seen; else synthetic people.
        others: Datasets of further people who are never seen.
        profile: Settings to begin with.
        seeds: Random seeds; with three, differences may be claimed.
        arms: Training variants; else all that the profile has time for. people_<n> and photos_<n>
            learn from fewer people, or fewer photos of each.
        holdout: Tune on a part of the training part.
        draws: Bootstrap resamples of people.
    """
    from thesislib.experiments import embeddings

    config = embeddings.make_config(data, changed(profile, changes), seeds[0], holdout)
    show(embeddings.run(config, arms, others, seeds, draws), "people", "arm")


def recogniser(
    data: tuple[Path, ...],
    net: Path = Path("default"),
    engine: str | None = None,
    closer: bool = False,
    leave: int = 0,
    photos: int | None = None,
    seed: int = 0,
    draws: int = 200,
) -> None:
    """How well a net tells apart people it has never seen, beside dlib's own pipeline.

    Args:
        data: Dataset folders; what is measured depends on what they have. A plain folder holds
            photos without a face.
        net: Folder or file of a net; else the published one.
        engine: Measure the exported net on this engine instead, alone.
        closer: Measure the net with a closer look at small faces instead, alone.
        leave: Where nobody is named, only photos whose number is divisible by this.
        photos: The first so many people, or photos where nobody is named; else all.
        seed: Random seed.
        draws: Bootstrap resamples of people.
    """
    from thesislib.experiments import recogniser as experiment

    table = experiment.run(
        data,
        net,
        engine=engine,
        closer=closer,
        leave=leave,
        photos=photos,
        seed=seed,
        draws=draws,
    )
    if is_main():
        shown = table[["dataset", "measure", "system", "value", "low", "high", "n"]]
        print(shown.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def face_sizes(data: Path, net: Path = Path("default"), people: int = 120, seed: int = 0) -> None:
    """How small a face may be to be known again, read once and with a closer look.

    Args:
        data: Dataset of people with two photos or more.
        net: Folder or file of a net; else the published one.
        people: How many people, two photos each.
        seed: Random seed of who they are.
    """
    from thesislib.experiments import face_sizes as experiment

    table = experiment.run(data, net, people=people, seed=seed, progress=progress())
    if is_main():
        shown = table[["size_px", "reading", "measure", "value", "low", "high", "n"]]
        print(shown.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


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

    show(experiment.compare(_config(data, profile, changes, split, seed)), "arm")


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

    table, _, _ = experiment.measure(_config(data, profile, changes, seed=seed))
    if is_main():
        print(table[["measure", "split", "value", "low", "high", "n"]].to_string(index=False))


# --- benchmarks -------------------------------------------------------------------------------


def benchmark(
    size: Literal["benchmark", "smoke"] = "benchmark", seed: int = 0, peers: Path | None = None
) -> None:
    """Speed and accuracy of every engine, turn by turn; 25 minutes to an hour.

    Args:
        size: How much is done; smoke takes a minute, and its numbers mean nothing.
        seed: Random seed.
        peers: Folder with YuNet's weights, to compare with; needs opencv-python.
    """
    from thesislib.benchmarks import headline
    from thesislib.benchmarks.targets import targets

    measured = headline.run(size, seed, peers)
    found = targets(measured.times, measured.limits)
    print(found.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def recogniser_speed(
    nets: tuple[Path, ...] = (Path("default"),),
    runs: int = 30,
    peers: Path | None = None,
    seed: int = 0,
) -> None:
    """Time of nets against dlib's detector and recogniser, by faces in a photo, turn by turn.

    Args:
        nets: Folders or files of nets, the first timed at two sizes and on every engine; else
            the published one.
        runs: Timed calls of each system.
        peers: Folder with YuNet's weights, to compare with.
        seed: Random seed of the photos.
    """
    from thesislib.benchmarks import recogniser as benchmark

    table = benchmark.run(nets, runs=runs, peers=peers, seed=seed)
    shown = table[["system", "engine", "input_px", "faces", "found", "ms_median", "ratio_to_dlib"]]
    print(shown.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


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


def printed() -> None:
    """Write the tables of the pages as LaTeX and Markdown, beside the figures.

    FIGURES_LANGUAGE=ru asks for Russian.
    """
    from thesislib.reporting import printed as printing

    files = printing.write()
    print(f"{len(files)} files: {files[-1].parent}")


def publish() -> None:
    """Take the results of runs/ over into the committed tables, figures, notebooks and pages."""
    from thesislib import paths
    from thesislib.reporting import publish as publishing

    changed = publishing.publish()
    for file in changed:
        print(file.relative_to(paths.ROOT))
    print(f"{len(changed)} files changed; `git diff` shows how" if changed else "nothing changed")
