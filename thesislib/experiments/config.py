"""What an experiment is run on and with, as plain values, and what its results say about it."""

import dataclasses
import functools
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from thesislib import cache, paths
from thesislib.data.schema import Dataset, check_named, read_dataset, subset
from thesislib.data.splits import SPLIT_KINDS, make_split
from thesislib.engine.checkpoint import DEFAULT, DLIB, NET, net_file
from thesislib.engine.optimiser import precision
from thesislib.engine.processes import share_out, this_process
from thesislib.engine.train import provenance
from thesislib.environment import commit
from thesislib.profiles import CHANGED, PROFILES, Margin, Profile, get_profile, started_profile
from thesislib.synthetic import sets


@dataclasses.dataclass(frozen=True)
class Config:
    """A dataset, how it is split, settings and a seed.

    Attributes:
        data: dataset folder.
        profile: settings.
        split: ``photo``, ``session`` or ``identity``, see
            :func:`thesislib.data.splits.make_split`.
        seed: of everything random.
        start: file or folder of a net to begin training from; ``default``, the published one, or
            ``dlib``, dlib's recogniser, see :func:`started`; None for random weights. All systems
            are given the same backbone.
        holdout: tune: the training part is split once more and the test part is not read.

    Raises:
        ValueError: unknown split.
    """

    data: Path
    profile: Profile
    split: str = "photo"
    seed: int = 0
    start: Path | None = None
    holdout: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLIT_KINDS:
            raise ValueError(f"split {self.split!r} is unknown; choose {', '.join(SPLIT_KINDS)}")

    @property
    def is_started(self) -> bool:
        """Whether its nets start from dlib's recogniser."""
        return _is_recogniser(self.start)


def _is_recogniser(start: Path | str | None) -> bool:
    return start is not None and str(start) in (DEFAULT, DLIB)


def started(config: Config) -> Config:
    """The same run with nets that start from dlib's recogniser.

    From the published net, which reads faces from the whole photo as dlib's recogniser reads them
    from chips; where it is not there, from dlib's weights alone.

    Raises:
        ValueError: the config has a start already.
    """
    if config.start is not None:
        raise ValueError(f"the run starts from {config.start} already")
    start = DEFAULT if net_file(DEFAULT).is_file() else DLIB
    profile = started_profile(config.profile)
    return dataclasses.replace(config, profile=profile, start=Path(start))


def make_config(
    data: Path | str | None = None,
    profile: str | Profile = "laptop",
    split: str = "photo",
    seed: int = 0,
    start: Path | str | None = None,
    holdout: bool = False,
    **changes: Any,
) -> Config:
    """A config from what a user says.

    Args:
        data: dataset folder, or the name of one in ``data/``; None for the profile's set of
            synthetic people.
        profile: name of a profile, or a profile.
        split, seed, holdout: see :class:`Config`.
        start: a net's file or folder, there or below the project's folder; or ``default`` or
            ``dlib``, whose nets have settings of their own, see
            :func:`thesislib.profiles.started_profile`.
        changes: fields of the profile to be changed; those that are None are not.

    Raises:
        ValueError: unknown profile or split, or a field that a profile does not have.
    """
    profile = get_profile(profile) if isinstance(profile, str) else profile
    asked = {name: value for name, value in changes.items() if value is not None}
    unknown = sorted(asked.keys() - {field.name for field in dataclasses.fields(profile)})
    if unknown:
        raise ValueError(f"a profile has no {', '.join(unknown)}")
    profile = dataclasses.replace(profile, **asked)
    if _is_recogniser(start):
        profile = dataclasses.replace(started_profile(profile), **asked)
    folder = paths.synthetic(profile.people) if data is None else data_folder(data)
    if start is not None and not _is_recogniser(start) and not Path(start).exists():
        start = paths.ROOT / start
    return Config(folder, profile, split, seed, Path(start) if start else None, holdout)


def data_folder(data: Path | str) -> Path:
    """The dataset folder that is meant: this path, one from the project's folder, or in ``data/``.

    Where there is none, the last of these for a mere name, as it may yet be made.
    """
    data = Path(data)
    for folder in (data, paths.ROOT / data, paths.DATA / data):
        if folder.is_dir():
            return folder.resolve()
    return (paths.DATA if len(data.parts) == 1 else paths.ROOT) / data


def from_environment() -> Config:
    """The config that ``make figures`` asks for: PROFILE, DATA, SPLIT, SEED, EPOCHS, BATCH.

    Without DATA it is the dataset made of PHOTOS, and without these the profile's set of synthetic
    people; relative paths are meant from the project's folder, wherever the notebook runs. Without
    EPOCHS or BATCH it is the profile's.

    Raises:
        ValueError: one of them is no whole number where there must be one, or is unknown.
    """
    data: str | Path | None = os.environ.get("DATA")
    if not data and (photos := os.environ.get("PHOTOS")):
        data = paths.dataset_of(paths.ROOT / photos)
    return make_config(
        data_folder(paths.ROOT / data) if data else None,
        os.environ.get("PROFILE") or "quick",
        os.environ.get("SPLIT") or "photo",
        _count("SEED", least=0) or 0,
        epochs=_count("EPOCHS"),
        batch=_count("BATCH"),
    )


def target_from_environment() -> Path | None:
    """Folder of the new people of Experiment 2 that ``make figures`` asks for by TARGET."""
    target = os.environ.get("TARGET")
    return data_folder(paths.ROOT / target) if target else None


def _count(name: str, least: int = 1) -> int | None:
    asked = os.environ.get(name)
    if not asked:
        return None
    if not asked.isdecimal() or int(asked) < least:
        raise ValueError(f"{name}={asked} is no whole number of at least {least}")
    return int(asked)


def shows_progress() -> bool:
    """Whether bars are shown: unless ``TQDM_DISABLE`` is set."""
    return not os.environ.get("TQDM_DISABLE")


# --- data -------------------------------------------------------------------------------------


def is_default(config: Config) -> bool:
    """Whether it is about its profile's set of synthetic people."""
    return config.data.resolve() == paths.synthetic(config.profile.people).resolve()


def with_seeds(config: Config) -> list[Config]:
    """The runs of Experiment 1 that are put together: of the profile's synthetic people as many as
    it asks for, with the seeds that follow the config's; of other data the config's alone."""
    count = config.profile.trainings if is_default(config) else 1
    return [dataclasses.replace(config, seed=config.seed + more) for more in range(count)]


def prepare(config: Config) -> None:
    """Make the profile's synthetic people, unless they are there or other data is asked for.

    Under ``torchrun`` see :func:`make_synthetic`.
    """
    if is_default(config):
        make_synthetic(config.profile.people)


def make_synthetic(people: str) -> Path:
    """Folder of a set of synthetic people (a name in ``sets.SETS``), made if it is not there.

    Under ``torchrun`` one process of those that share the folder makes it, and all wait until all
    have it; an error in one is raised in all.
    """
    folder, processes = paths.synthetic(people), this_process().num_processes

    # They wait for the lock of the folder: for each other they would wait half an hour at most.
    def make(process: int) -> None:
        sets.make(folder, sets.SETS[people], progress=shows_progress(), wait=processes > 1)

    share_out(range(processes), make)
    return folder


@dataclasses.dataclass(frozen=True)
class Parts:
    """A dataset and its parts.

    Attributes:
        dataset: the whole.
        split: table ``photo, part``; in a tuning run of the training part alone.
        train, test: the parts as datasets.
    """

    dataset: Dataset
    split: pd.DataFrame
    train: Dataset
    test: Dataset


def parts(config: Config) -> Parts:
    """Read a config's dataset and divide it; read again only when a file in it has changed.

    Raises:
        DatasetError: the dataset breaks the form, names nobody or one person alone, or cannot be
            split so.
    """
    return _divided(read(config.data), config.split, config.seed, config.holdout)


def read(folder: Path) -> Dataset:
    """Read a dataset; read again only when a file in its folder has changed."""
    return _read(folder, _stamp(folder))


@functools.lru_cache(maxsize=4)
def _read(folder: Path, stamp: str) -> Dataset:
    dataset = read_dataset(folder)
    _ = dataset.content_hash  # taken now: kept in the dataset, whatever becomes of the files
    return dataset


def _stamp(folder: Path) -> str:
    """Names, sizes and times of the files of a folder."""
    stats = []
    for path in folder.rglob("*"):
        if not path.name.startswith("."):
            stat = path.stat()
            stats.append([str(path), stat.st_size, stat.st_mtime_ns])
    return cache.key(files=sorted(stats))


@functools.lru_cache(maxsize=16)
def _divided(dataset: Dataset, kind: str, seed: int, holdout: bool) -> Parts:
    check_named(dataset)
    split = make_split(dataset, kind, seed)
    if holdout:
        split = make_split(subset(dataset, _photos(split, "train")), kind, seed)
    train, test = (subset(dataset, _photos(split, part)) for part in ("train", "test"))
    return Parts(dataset, split, train, test)


def _photos(split: pd.DataFrame, part: str) -> set[str]:
    return set(split["photo"][split["part"] == part])


# --- what results say about it ----------------------------------------------------------------


def key(config: Config, **more: Any) -> str:
    """What tells the results of this config from all others: settings, data, start, precision.

    Args:
        config: of all systems alike.
        more: what else the results depend on; plain JSON values.
    """
    about = provenance(
        read(config.data).content_hash,
        config.profile,
        config.seed,
        config.start,
        split=config.split,
        holdout=config.holdout,
        **more,
    )
    del about["commit"]
    return cache.key(**about)


def columns(config: Config, run: str, command: str) -> dict[str, Any]:
    """What every row of a results table carries.

    Args:
        config: of the run.
        run: from :func:`key`.
        command: from :func:`command`.
    """
    return {
        "dataset": config.data.name,
        "split": config.split,
        "profile": config.profile.name,
        "seed": config.seed,
        "backbone": config.profile.backbone,
        "start": start_name(config.start),
        "input_px": config.profile.input_px,
        "precision": precision(),
        "commit": commit(),
        "run": run,
        "command": command,
    }


def with_columns(rows: pd.DataFrame, about: Mapping[str, Any]) -> pd.DataFrame:
    """Rows with the :func:`columns` that they lack; their own, such as the commit they were
    computed at, stay."""
    return rows.assign(**{name: about[name] for name in about if name not in rows})


def start_name(start: Path | None) -> str:
    """What training began from, as tables say it: ``scratch``, or the name of a net."""
    if start is None:
        return "scratch"
    if _is_recogniser(start):
        return str(start)
    file = net_file(start)
    return file.parent.name if file.name == NET else file.stem


def command(
    config: Config,
    experiment: str,
    usual: Profile | None = None,
    **more: Any,
) -> str:
    """The command that gives a config's results.

    Args:
        config: of the results.
        experiment: the subcommand of ``python -m thesislib``.
        usual: the profile that the command's other options stand for; None for the named one.
        more: further options and their values; an option of the config's own that is None here
            is left out.
    """
    profile = config.profile
    usual = usual or _named(profile.name, config.is_started)
    options: dict[str, Any] = {"data": config.data.name, "split": config.split}
    options |= {"profile": profile.name, **_changes(profile, usual), "seed": config.seed}
    if config.is_started:
        options["start"] = config.start
    elif config.start is not None:
        start = config.start.resolve()
        inside = start.is_relative_to(paths.ROOT.resolve())
        options["start"] = start.relative_to(paths.ROOT.resolve()) if inside else start.name
    left_out = [name for name, value in more.items() if value is None]
    options = {name: value for name, value in {**options, **more}.items() if name not in left_out}
    words = [word for name, value in options.items() for word in _words(name, value)]
    if config.holdout:
        words.append("--holdout")
    return shlex.join(["python", "-m", "thesislib", experiment, *words])


def _named(name: str, is_started: bool = False) -> Profile:
    """The profile of that name as it is before anything is changed in it."""
    profile = PROFILES.get(name, Profile(name))
    return started_profile(profile) if is_started else profile


def _changes(profile: Profile, usual: Profile) -> dict[str, Any]:
    """Fields of a profile that differ from the usual, whatever fields there are."""
    values = {field.name: getattr(profile, field.name) for field in dataclasses.fields(profile)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def profile_label(profile: Profile) -> str:
    """A profile's name, and what was changed in it: ``quick``, ``quick with epochs 3``."""
    changed = _changes(profile, _named(profile.name))
    told = ", ".join(f"{name} {value}" for name, value in changed.items())
    return f"{profile.name}{CHANGED}{told}" if told else profile.name


def _words(name: str, value: Any) -> list[str]:
    option = "--" + name.replace("_", "-")
    if isinstance(value, Margin):
        value = dataclasses.astuple(value)
    several = isinstance(value, list | tuple)
    return [option, *map(str, value)] if several else [option, str(value)]


def figure_about(config: Config, notebook: str) -> dict[str, Any]:
    """What :func:`thesislib.reporting.figures.save.save` writes down about a config's figure.

    Args:
        config: whose data and results are drawn.
        notebook: name of the notebook that draws it, without suffix.
    """
    dataset = read(config.data)
    return {
        "notebook": f"{notebook}.ipynb",
        "dataset": config.data.name,
        "split": config.split,
        "data_hash": dataset.content_hash,
        "profile": profile_label(config.profile),
        "seed": config.seed,
        "private": dataset.private,
    }
