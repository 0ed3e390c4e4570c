"""How well a net that was trained on nobody in particular finds and tells apart anybody.

What is measured stands in :mod:`thesislib.experiments.recogniser_measures`; here it is chosen by
what a dataset has, and kept beside what dlib's own pipeline reaches. On the command line::

    python -m thesislib recogniser --data <folder> ...
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import cache, paths
from thesislib.baselines.dlib_pipeline import DlibPipeline
from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.schema import (
    ANNOTATIONS,
    COLUMNS,
    Dataset,
    DatasetError,
    read_dataset,
    subset,
)
from thesislib.data.views import FacePhoto
from thesislib.deploy.closer_look import CloserLook
from thesislib.deploy.engines import ENGINES
from thesislib.deploy.export import ABOUT, FORM, ExportError, export
from thesislib.deploy.graph import USER_SCORE
from thesislib.deploy.recogniser import Recogniser
from thesislib.engine.checkpoint import NET, load_net
from thesislib.engine.distil import is_left_out, teacher_answers
from thesislib.engine.predict import photos_in
from thesislib.environment import commit
from thesislib.experiments.config import data_folder
from thesislib.experiments.recogniser_measures import (
    MIN_GROUP,
    WHOLE,
    Answers,
    answers_of,
    detection_rows,
    distance_rows,
    empty_rows,
    enrolled_rows,
    false_match_rows,
    landmark_rows,
    least_score,
    open_set_rows,
    published_rows,
    session_rows,
    verification_rows,
)
from thesislib.models.dlib_resnet import CHIP_PX, EMBEDDING_DIM, read_weights
from thesislib.models.joint import JointNet
from thesislib.synthetic.scene import render_scene
from thesislib.tables import PRECISIONS, RECOGNISERS, merge_table

MIN_PEOPLE = 40  # of ten folds, in every draw of a bootstrap
DRAWS = 200
TABLE = "recogniser.csv"
CLOSER = "_closer"
# What a spreadsheet made of two of FairFace's age groups before they were handed on.
SPREADSHEET_DATES = {"03-Sep": "3-9", "Oct-19": "10-19"}
CALIBRATION = 96  # photos of synthetic people, of 0 to 16 faces, that calibrate int8
ATTRIBUTES = "attributes.csv"  # of a dataset's photos: ``photo`` and what groups are made of


def rows_of(answers: Answers, net: JointNet | None, out: Path, seed: int, draws: int) -> list[dict]:
    """What is measured on a dataset, by what it has: names, sessions, landmarks, groups, crowds,
    photos without a face.

    Args:
        answers: of a system to the dataset.
        net: the system, where it is one that was taught; None for the teacher.
        out: folder in which the teacher's answers are kept.
        seed, draws: of splits, folds and bootstraps.
    """
    faces = answers.faces
    photos = faces.loc[faces["identity"] != "", "identity"].value_counts()
    named = int((photos > 1).sum())  # nobody is known again from one photo
    rows: list[dict] = []
    if named >= MIN_PEOPLE:
        rows += verification_rows(answers, seed, draws) + open_set_rows(answers, seed, draws)
        rows += published_rows(answers, net.fingerprint, seed) if net else []
        sessions = (faces["session"] != "").any()
        rows += session_rows(answers, seed) if sessions else enrolled_rows(answers, seed)
    elif len(faces):
        rows += detection_rows(answers)
    if answers.dataset.table["x1"].isna().any():
        # dlib's detector has a threshold of its own, and its scores are margins above it.
        rows += empty_rows(answers, USER_SCORE if net else 0.0)
    taught = net is not None and set(LANDMARKS) <= set(faces)
    if taught and (answers.match >= 0).any():
        rows += landmark_rows(answers, seed)
    if (answers.dataset.folder / ATTRIBUTES).is_file():
        groups = groups_of(answers.dataset, faces)
        rows += false_match_rows(answers, groups, seed, draws)
        if taught:
            rows += distance_rows(answers, _taught(answers, out), groups, seed)
    return rows


def groups_of(dataset: Dataset, faces: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Faces of each group, bool [F] by ``attribute: value``, and the whole first.

    Raises:
        DatasetError: the file of attributes names no photos, or one twice.
    """
    file = dataset.folder / ATTRIBUTES
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if "photo" not in table:
        raise DatasetError(f"{file}: no column `photo`")
    if (twice := table["photo"].duplicated()).any():
        raise DatasetError(f"{file}: row {int(twice.idxmax()) + 2}: a photo for the second time")
    told = table.set_index("photo").reindex(faces["photo"]).fillna("").replace(SPREADSHEET_DATES)
    groups = {WHOLE: np.ones(len(faces), bool)}
    for attribute in told:
        for value in sorted(set(told[attribute]) - {""}, key=_number_first):
            members = (told[attribute] == value).to_numpy()
            if members.sum() >= MIN_GROUP:
                groups[f"{attribute}: {value}"] = members
    return groups


def _number_first(value: str) -> tuple[float, str]:
    """Order of a group among others: ages by their first number, words as words."""
    number = value.split("-")[0]
    return (float(number) if number.isdecimal() else np.inf, value)


def _taught(answers: Answers, out: Path) -> NDArray[np.float32]:
    """dlib's embeddings of the annotated faces, float [F, E]; NaN of those without landmarks."""
    known = answers.faces[LANDMARKS].notna().all(axis=1).to_numpy()
    faces = answers.faces[known]
    alone = [
        FacePhoto(answers.dataset.folder / photo, box[None], points[None], np.empty((0, 4)))
        for photo, box, points in zip(
            faces["photo"],
            faces[BOX].to_numpy(np.float32),
            faces[LANDMARKS].to_numpy(np.float32).reshape(-1, 5, 2),
            strict=True,
        )
    ]
    told = np.full((len(known), EMBEDDING_DIM), np.nan, np.float32)
    told[known] = teacher_answers(alone, read_weights(), out, progress=False)[:, 0]
    return told


def run(
    folders: Sequence[Path | str],
    net: Path | str = "default",
    *,
    engine: str | None = None,
    closer: bool = False,
    leave: int = 0,
    photos: int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a net and dlib's own pipeline, and keep the rows in ``recogniser.csv``.

    Args:
        folders: datasets; one without annotations holds photos without a face.
        net: as :func:`thesislib.engine.checkpoint.load_net` takes it.
        engine: measure the exported net on this engine of ``deploy.engines.ENGINES`` instead,
            alone; its system is ``<net>_<engine>``.
        closer: measure the net in a :class:`thesislib.deploy.closer_look.CloserLook` instead,
            alone; its system is ``<net>_closer``.
        leave: of a dataset without names, take only photos whose number is divisible by this.
        photos: the first so many people's photos, or photos where nobody is named; None for all.
        seed: of splits, folds and bootstraps.
        draws: bootstrap resamples of people.
        progress: show bars.

    Returns:
        the rows.

    Raises:
        DatasetError: no such folder, or a dataset that breaks the form.
        ValueError: an unknown engine, or one with ``closer``; a net whose folder has the name of
            another system; a folder without photos.
    """
    if engine not in (None, "auto", *ENGINES):
        raise ValueError(f"engine: {engine!r} is unknown; choose auto, {', '.join(ENGINES)}")
    if engine and closer:
        raise ValueError("closer: exported nets read photos at one size")
    own_name = system_name(net)
    loaded: JointNet = load_net(net)
    systems: dict[str, Any]
    if engine:
        made = Recogniser(exported(loaded), engine)
        systems = {f"{own_name}_{made.engine}": made}
    elif closer:
        systems = {f"{own_name}{CLOSER}": CloserLook(loaded)}
    else:
        systems = {own_name: loaded}
        systems["teacher_aligned"] = DlibPipeline(device=loaded.device)
    parts = []
    for folder in map(data_folder, folders):
        of_dataset = []
        dataset = _chosen(_read(folder), leave, photos)
        for system, answering in systems.items():
            about: dict[str, Any] = {"data": dataset.content_hash}
            about |= {"system": answering.answers_key, "least_score": least_score(answering)}
            out = cache.folder("recogniser", f"{dataset.name}-{system}", **about) / "answers"
            answers = answers_of(answering, dataset, out, progress)
            taught = None if isinstance(answering, DlibPipeline) else loaded
            teacher = cache.folder("recogniser", f"{dataset.name}-taught", data=about["data"])
            rows = rows_of(answers, taught, teacher, seed, draws)
            of_dataset.append(
                pd.DataFrame(rows).assign(
                    dataset=dataset.name,
                    system=system,
                    machine="",
                    profile="default" if photos is None and draws == DRAWS else "smoke",
                    seed=seed,
                    backbone="dlib",
                    start="dlib",
                    input_px=taught.input_px if taught else CHIP_PX,
                    precision=_precision(answering),
                    **_learned_from(None if engine else taught),
                    commit=commit(),
                    run=cache.key(**about, seed=seed, draws=draws),
                    command=_command(folder, net, engine, closer, leave, photos, seed, draws),
                )
            )
        parts.append(pd.concat(of_dataset, ignore_index=True))
        merge_table(paths.TABLES / TABLE, parts[-1])
    return pd.concat(parts, ignore_index=True)


def exported(net: JointNet, px: int | None = None) -> Path:
    """The net's export at an input size, in int8 too, made once.

    Args:
        net: as loaded.
        px: shorter side that photos are scaled to; None for the net's own.
    """
    px = px or net.input_px
    told = {"net": net.answers_key, "input_px": px, "form": FORM, "calibration": CALIBRATION}
    folder = cache.folder("exports", "recogniser", **told)
    if not (folder / ABOUT).exists():
        scaled = copy.deepcopy(net)
        scaled.input_px = px
        # From one face that fills half of the photo to crowds, as users' photos have them.
        seen = [render_scene(at, (0, 100), 1, px, at % 17)[0] for at in range(CALIBRATION)]
        try:
            export(scaled, folder, seen)
        except ExportError as error:  # a net that finds nobody in them
            print(f"{error}: exported without int8")
            export(scaled, folder)
    return folder


def _precision(system: Any) -> str:
    if isinstance(system, Recogniser):
        lowered = system.engine.rpartition("_")[2]
        return lowered if lowered in PRECISIONS else "fp32"
    known = getattr(system, "provenance", None)
    return (known or {}).get("precision", "fp32")


def system_name(net: Path | str) -> str:
    """Name of a net among the systems: that of its folder, or of a file of another name than all
    nets have, or ``default``.

    Raises:
        ValueError: a folder with the name of another system, whose rows it would replace.
    """
    name = Path(net).parent.name if Path(net).name == NET else Path(net).name
    if name in RECOGNISERS and str(net) != "default":
        raise ValueError(f"{net}: rows of {name!r} are those of another system; rename the folder")
    return name


def _learned_from(net: JointNet | None) -> dict[str, float]:
    """Portraits and views of a net that was distilled to read faces at landmarks, from portraits
    alone; NaN of others, and of one that another had begun."""
    known: dict[str, Any] = (net.provenance if net else None) or {}
    alone = known.get("scene_photos") == [] and known["start"] is None
    if net is None or net.embedding_source != "landmarks" or not alone:
        return {"portraits": np.nan, "views": np.nan}
    return {
        "portraits": known["portraits"],
        "views": known["steps"] * known["profile"]["batch"],
    }


def _command(
    folder: Path | str,
    net: Path | str,
    engine: str | None,
    closer: bool,
    leave: int,
    photos: int | None,
    seed: int,
    draws: int,
) -> str:
    words = ["python -m thesislib recogniser --data", Path(folder).name]
    usual = {"net": "default", "engine": None, "leave": 0, "photos": None, "seed": 0}
    usual["draws"] = DRAWS
    given = {"net": Path(net).name, "engine": engine, "leave": leave, "photos": photos}
    given |= {"seed": seed, "draws": draws}
    words += [f"--{name} {value}" for name, value in given.items() if value != usual[name]]
    words += ["--closer"] if closer else []
    return " ".join(words)


def _read(folder: Path) -> Dataset:
    """A dataset, or the photos of a plain folder, in none of which is a face."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    if (folder / ANNOTATIONS).is_file():
        return read_dataset(folder)
    names = [path.relative_to(folder).as_posix() for path in photos_in(folder)]
    table = pd.DataFrame({"photo": names, "identity": "", "session": ""})
    return Dataset(folder, table.reindex(columns=COLUMNS))


def _chosen(dataset: Dataset, leave: int, count: int | None) -> Dataset:
    """The part of a dataset that is measured."""
    names = dataset.photos
    if leave and not dataset.identities:
        names = [name for name in names if is_left_out(Path(name), leave)]
    if count is not None and dataset.identities:
        people = set(dataset.identities[:count])
        rows = dataset.table[dataset.table["identity"].isin(people)]
        names = [name for name in names if name in set(rows["photo"])]
    elif count is not None:
        names = names[:count]
    return subset(dataset, set(names))
