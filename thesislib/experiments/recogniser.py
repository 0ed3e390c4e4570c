"""How well a net that was trained on nobody in particular finds and tells apart anybody.

Every measure is of the product's own answers: whole photos in, the net's own boxes, landmarks and
embeddings out. A face that it does not find is compared by noise, so that a miss costs what a
wrong answer costs.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import cache, paths, seeds
from thesislib.baselines.dlib_pipeline import MIN_IOU, DlibPipeline
from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.schema import Dataset, read_dataset, subset
from thesislib.data.splits import make_split
from thesislib.engine.checkpoint import load_net
from thesislib.engine.embed import annotated_faces
from thesislib.engine.evaluate import SCORE_THRESHOLD, as_prediction, truths_of
from thesislib.engine.predict import predict
from thesislib.environment import commit
from thesislib.experiments.embedding_measures import enrolled
from thesislib.faces import Face
from thesislib.metrics import identification, verification
from thesislib.metrics.boxes import (
    apply_box_calibration,
    average_precision,
    box_iou,
    fit_box_calibration,
)
from thesislib.metrics.similarity import normalise
from thesislib.metrics.statistics import bootstrap_interval, person_bootstrap
from thesislib.models.dlib_resnet import CHIP_PX
from thesislib.models.joint import JointNet
from thesislib.tables import merge_table

USER_THRESHOLD = 0.5  # of the score, at which predict() drops detections
ASKED, ENROLLED = 2, 10  # photos of a person in the enrolled measure: asked, and enrolled at most
LARGE_PX = 32.0  # shorter side of a face from which it counts in ap50_32px
MIN_PEOPLE = 40  # of ten folds, in every draw of a bootstrap
DRAWS = 200
TABLE = "recogniser.csv"


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a system says of a dataset's photos.

    Attributes:
        dataset: whose photos they are.
        found: per photo the faces found, best first.
        faces: one row per annotated face, see :func:`thesislib.engine.embed.annotated_faces`.
        match: int64 [F], place of each annotated face's detection in its photo, or -1.
        embeddings: float32 [F, E], noise where the face was not found.
    """

    dataset: Dataset
    found: list[list[Face]]
    faces: pd.DataFrame
    match: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    def of(self, kept: NDArray[np.bool_]) -> tuple[NDArray[np.float32], list[str]]:
        """Embeddings and identities of some of the faces."""
        return self.embeddings[kept], self.faces["identity"][kept].tolist()


def answers_of(system: Any, dataset: Dataset, out: Path, progress: bool = True) -> Answers:
    """A system's answers, kept in ``out`` while they come."""
    files = [dataset.folder / photo for photo in dataset.photos]
    found = predict(system, files, SCORE_THRESHOLD, out=out, progress=progress)
    faces = annotated_faces(dataset)
    of_photo = dict(zip(dataset.photos, found, strict=True))
    match = np.full(len(faces), -1)
    noise = seeds.generator(0, "faces not found").normal(size=(len(faces), system.embedding_dim))
    embeddings = noise.astype(np.float32)
    boxes = faces[BOX].to_numpy(np.float32)
    for at, photo in enumerate(faces["photo"]):
        answer = of_photo[photo]
        if answer:
            overlap = box_iou(np.stack([one.box for one in answer]), boxes[at : at + 1])[:, 0]
            if overlap.max() >= MIN_IOU:
                match[at] = overlap.argmax()
                embeddings[at] = answer[match[at]].embedding
    return Answers(dataset, found, faces, match, embeddings)


# --- measures ---------------------------------------------------------------------------------


def verification_rows(answers: Answers, seed: int, draws: int) -> list[dict]:
    """``verification``, and where sessions are known ``verification_other_sittings``, in which
    everybody has one photo of each session."""
    known = (answers.faces["identity"] != "").to_numpy()
    cases = {"verification": known}
    if (answers.faces["session"] != "").any():
        first = ~answers.faces.duplicated(["identity", "session"]).to_numpy()
        cases = {"verification_other_sittings": known & first, **cases}
    rows = []
    for measure, kept in cases.items():
        embeddings, identities = answers.of(kept)

        def accuracy(vectors: Any, names: Any, copies: Any = None) -> float:
            return verification.verification_accuracy(vectors, names, seed=seed, copies=copies).mean

        low, high = person_bootstrap(accuracy, embeddings, identities, seed=seed, draws=draws)
        value = accuracy(embeddings, identities)
        rows.append(_row(measure, value, float(low), float(high), int(kept.sum())))
    return rows


def open_set_rows(answers: Answers, seed: int, draws: int) -> list[dict]:
    """Misses at two rates of strangers let in; half of the people are enrolled."""
    known = (answers.faces["identity"] != "").to_numpy()
    embeddings, identities = answers.of(known)
    sessions = answers.faces["session"].to_numpy(object)[known]
    gallery = enrolled(np.array(identities, object), sessions, seed)
    curve = identification.open_set(embeddings, identities, gallery)
    rows = []
    for measure, fpir in (("fnir_at_fpir_1e2", 0.01), ("fnir_at_fpir_1e1", 0.1)):
        value = identification.fnir_at_fpir(curve, fpir, 0).fnir

        def missed(
            vectors: Any, names: Any, gallery: Any, copies: Any, rate: float = fpir
        ) -> float:
            sample = identification.open_set(vectors, names, gallery, copies=copies)
            return identification.fnir_at_fpir(sample, rate, 0).fnir

        low, high = person_bootstrap(
            missed, embeddings, identities, seed=seed, draws=draws, gallery=gallery
        )
        rows.append(_row(measure, value, float(low), float(high), curve.mated_probes))
    return rows


def named_rows(
    answers: Answers, asked: NDArray[np.bool_], known: NDArray[np.bool_], measure: str, seed: int
) -> list[dict]:
    """Share of faces found with an IoU of 0.5 and named rightly by the nearest class mean.

    Boxes are brought to the dataset's framing by a calibration fitted on the enrolled photos.

    Args:
        answers: of a system.
        asked: bool [F], which faces are asked for.
        known: bool [F], which are enrolled.
        measure: name of the row.
        seed: of the bootstrap.
    """
    faces, boxes = answers.faces, answers.faces[BOX].to_numpy(np.float32)
    detected = np.full_like(boxes, np.nan)
    of_photo = dict(zip(answers.dataset.photos, answers.found, strict=True))
    for at in np.flatnonzero(answers.match >= 0):
        detected[at] = of_photo[faces["photo"][at]][answers.match[at]].box
    enrolled_ = known & (answers.match >= 0)
    calibration = fit_box_calibration(detected[enrolled_], boxes[enrolled_])
    vectors = normalise(answers.embeddings)
    names = np.unique(faces["identity"].to_numpy(str)[enrolled_])
    means = np.stack(
        [vectors[enrolled_ & (faces["identity"] == name)].mean(axis=0) for name in names]
    )
    nearest = names[(vectors[asked] @ normalise(means).T).argmax(axis=1)]
    found = answers.match[asked] >= 0
    iou = np.zeros(int(asked.sum()))
    if found.any():
        moved = apply_box_calibration(detected[asked][found], calibration)
        iou[found] = [
            box_iou(a[None], b[None])[0, 0] for a, b in zip(moved, boxes[asked][found], strict=True)
        ]
    identities = faces["identity"].to_numpy(str)[asked]
    right = (nearest == identities) & (iou >= 0.5)
    low, high = bootstrap_interval(right.astype(float), groups=identities, seed=seed)
    return [_row(measure, float(right.mean()), low, high, len(right))]


def session_rows(answers: Answers, seed: int) -> list[dict]:
    """Names by class means of the other clips, on the session split's test part."""
    split = make_split(answers.dataset, "session", seed)
    part = answers.faces["photo"].map(dict(zip(split["photo"], split["part"], strict=True)))
    known = answers.faces["identity"] != ""
    asked, enrolled_ = ((part == name) & known for name in ("test", "train"))
    return named_rows(
        answers, asked.to_numpy(), enrolled_.to_numpy(), "session_joint_accuracy_50", seed
    )


def enrolled_rows(answers: Answers, seed: int) -> list[dict]:
    """Two photos of everybody are asked; up to ten of the others are enrolled."""
    faces = answers.faces.sample(frac=1, random_state=seed)
    place = faces.groupby("identity").cumcount().reindex(answers.faces.index).to_numpy()
    known = (answers.faces["identity"] != "").to_numpy()
    asked, enrolled_ = known & (place < ASKED), known & (place >= ASKED)
    enrolled_ &= place < ASKED + ENROLLED
    return named_rows(answers, asked, enrolled_, "enrolled_joint_accuracy_50", seed)


def detection_rows(answers: Answers) -> list[dict]:
    """``ap50`` of all faces, and ``ap50_32px``, in which smaller ones are ignored."""
    predictions = [as_prediction(faces) for faces in answers.found]
    truths = truths_of(answers.dataset)
    rows = [_row("ap50", average_precision(predictions, truths)["ap50"], n=len(truths))]
    for truth in truths:
        sides = truth["boxes"][:, 2:] - truth["boxes"][:, :2]
        truth["ignored"] = sides.min(axis=1, initial=np.inf) < LARGE_PX
    large = average_precision(predictions, truths)["ap50"]
    return [*rows, _row("ap50_32px", large, n=len(truths))]


def landmark_rows(answers: Answers, seed: int) -> list[dict]:
    """Mean distance of landmarks from the annotated ones, in distances of the eyes."""
    known = answers.faces[LANDMARKS].notna().all(axis=1).to_numpy() & (answers.match >= 0)
    true = answers.faces[LANDMARKS].to_numpy(float).reshape(-1, 5, 2)[known]
    of_photo = dict(zip(answers.dataset.photos, answers.found, strict=True))
    found = np.stack(
        [
            np.asarray(of_photo[answers.faces["photo"][at]][answers.match[at]].landmarks)
            for at in np.flatnonzero(known)
        ]
    )
    eyes = np.linalg.norm(true[:, 1] - true[:, 0], axis=1)
    errors = np.linalg.norm(found - true, axis=2).mean(axis=1) / eyes
    low, high = bootstrap_interval(errors, seed=seed)
    return [_row("landmark_error", float(errors.mean()), low, high, len(errors))]


def _row(measure: str, value: float, low: float = np.nan, high: float = np.nan, n: int = 0) -> dict:
    return {"measure": measure, "value": value, "low": low, "high": high, "n": n}


# --- the table --------------------------------------------------------------------------------


def measures_of(answers: Answers, seed: int, draws: int) -> list[Callable[[], list[dict]]]:
    """What is measured on a dataset, by what it has: names, sessions, landmarks, crowds."""
    faces = answers.faces
    chosen: list[Callable[[], list[dict]]] = []
    per_person = faces["identity"][faces["identity"] != ""].value_counts()
    if len(per_person) >= MIN_PEOPLE:
        chosen.append(functools.partial(verification_rows, answers, seed, draws))
        chosen.append(functools.partial(open_set_rows, answers, seed, draws))
        if (faces["session"] != "").any():
            chosen.append(functools.partial(session_rows, answers, seed))
        else:
            chosen.append(functools.partial(enrolled_rows, answers, seed))
    else:
        chosen.append(functools.partial(detection_rows, answers))
    if (
        set(LANDMARKS) <= set(faces)
        and answers.found
        and any(face.landmarks is not None for found in answers.found for face in found[:1])
    ):
        chosen.append(functools.partial(landmark_rows, answers, seed))
    return chosen


def run(
    folders: Sequence[Path | str],
    net: Path | str = "default",
    *,
    leave: int = 0,
    photos: int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a net and dlib's own pipeline, and keep the rows in ``recogniser.csv``.

    Args:
        folders: datasets.
        net: as :func:`thesislib.engine.checkpoint.load_net` takes it.
        leave: of a dataset without names, take only photos whose number is divisible by this.
        photos: the first so many people's photos, or photos where nobody is named; None for all.
        seed: of splits, folds and bootstraps.
        draws: bootstrap resamples of people.
        progress: show bars.

    Returns:
        the rows.
    """
    loaded: JointNet = load_net(net)
    systems: dict[str, JointNet | DlibPipeline] = {Path(net).name: loaded}
    systems["teacher_aligned"] = DlibPipeline(device=loaded.device)
    parts = []
    for folder in folders:
        dataset = _chosen(read_dataset(folder), leave, photos)
        for system, made in systems.items():
            about = {"data": dataset.content_hash, "system": made.answers_key}
            out = cache.folder("recogniser", f"{dataset.name}-{system}", **about) / "answers"
            answers = answers_of(made, dataset, out, progress)
            rows = [row for measure in measures_of(answers, seed, draws) for row in measure()]
            known = made.provenance if isinstance(made, JointNet) else None
            parts.append(
                pd.DataFrame(rows).assign(
                    dataset=dataset.name,
                    system=system,
                    profile="default" if photos is None else "smoke",
                    seed=seed,
                    backbone="dlib",
                    start="dlib",
                    input_px=made.input_px if isinstance(made, JointNet) else CHIP_PX,
                    precision=(known or {}).get("precision", "fp32"),
                    commit=commit(),
                    run=cache.key(**about, seed=seed, draws=draws),
                    command=_command(folder, net, leave, photos, seed, draws),
                )
            )
    table = pd.concat(parts, ignore_index=True)
    merge_table(paths.TABLES / TABLE, table)
    return table


def _command(
    folder: Path | str, net: Path | str, leave: int, photos: int | None, seed: int, draws: int
) -> str:
    words = ["python -m thesislib recogniser --data", Path(folder).name]
    usual = {"net": "default", "leave": 0, "photos": None, "seed": 0, "draws": DRAWS}
    given = {"net": Path(net).name, "leave": leave, "photos": photos, "seed": seed, "draws": draws}
    words += [f"--{name} {value}" for name, value in given.items() if value != usual[name]]
    return " ".join(words)


def _chosen(dataset: Dataset, leave: int, count: int | None) -> Dataset:
    """The part of a dataset that is measured."""
    names = dataset.photos
    if leave and not dataset.identities:
        numbers = ["".join(c for c in Path(name).stem if c.isdigit()) for name in names]
        names = [n for n, d in zip(names, numbers, strict=True) if d and int(d) % leave == 0]
    if count is not None and dataset.identities:
        people = set(dataset.identities[:count])
        rows = dataset.table[dataset.table["identity"].isin(people)]
        names = [name for name in names if name in set(rows["photo"])]
    elif count is not None:
        names = names[:count]
    return subset(dataset, set(names))
