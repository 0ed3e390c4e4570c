"""Splits of a dataset into a training and a test part, and the checks that nothing leaks."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pandas as pd

from thesislib import seeds
from thesislib.data.names import told_names
from thesislib.data.schema import ANNOTATIONS, Dataset, DatasetError

TEST_FRACTION = 1 / 6  # the thesis tested on 651 of 3928 photos
SPLIT_KINDS = ("photo", "session", "identity")


def make_split(
    dataset: Dataset, kind: str, seed: int, test_fraction: float = TEST_FRACTION, least: int = 1
) -> pd.DataFrame:
    """Divide a dataset's photos into a training and a test part, the same for the same seed.

    ``photo``: photos at random, stratified by person; the thesis's split. ``session``: no session
    of a person on both sides. ``identity``: no person on both sides. Photos that are equal byte
    for byte always stay together.

    By ``photo`` and ``session`` everybody is in both parts. Only where photos show several people
    may somebody be in the training part alone, since a photo is tested only if each person in it
    has another one to train on. By ``identity`` people who share a photo stay together.

    Args:
        dataset: a checked dataset.
        kind: one of ``SPLIT_KINDS``.
        seed: of the run.
        test_fraction: share of photos (of people, for ``identity``) aimed at, in (0, 1).
        least: photos or sessions of each person that are tested, where one more is left to learn;
            not used by ``identity``.

    Returns:
        Table ``photo, part`` in the dataset's photo order; part is ``train`` or ``test``.

    Raises:
        DatasetError: people have too few photos or sessions to be on both sides (the message
            names them), photos have no session, or there is one person alone, or one group who
            share photos.
    """
    if kind not in SPLIT_KINDS:
        raise DatasetError(f"split {kind!r} is unknown; choose one of {', '.join(SPLIT_KINDS)}")
    rng = seeds.generator(seed, "split", kind)
    units = inseparable(dataset, kind)
    in_photo = dataset.table.groupby("photo")["identity"].agg(lambda names: set(names) - {""})
    people_of = {key: set().union(*in_photo[photos]) for key, photos in units.items()}
    if kind == "identity":
        chosen = _random_units(dataset, people_of, rng, test_fraction)
    else:
        chosen = _stratified_units(dataset, kind, units, people_of, rng, test_fraction, least)
    test = {photo for key in chosen for photo in units[key]}
    parts = ["test" if photo in test else "train" for photo in dataset.photos]
    split = pd.DataFrame({"photo": dataset.photos, "part": parts})
    check_split(dataset, split, kind)
    return split


def inseparable(dataset: Dataset, kind: str) -> dict[str, list[str]]:
    """Groups of photos that must stay on one side: of equal bytes, of a session, or of a person.

    Groups that share a photo are one.

    Args:
        dataset: a checked dataset.
        kind: one of ``SPLIT_KINDS``.

    Returns:
        the photos of each group, by one of them.

    Raises:
        DatasetError: by ``session``, a face of somebody known has none.
    """
    parent = {photo: photo for photo in dataset.photos}

    def root(photo: str) -> str:
        while parent[photo] != photo:
            parent[photo] = parent[parent[photo]]
            photo = parent[photo]
        return photo

    links: dict[tuple[str, ...], str] = {}
    for photo, digest in dataset.photo_hashes.items():
        parent[root(photo)] = root(links.setdefault(("bytes", digest), photo))
    for photo, identity, session in zip(
        *(dataset.table[name] for name in ("photo", "identity", "session")), strict=True
    ):
        if kind == "session" and identity and not session:
            raise DatasetError(
                f"{dataset.folder / ANNOTATIONS}: {photo} has no session; "
                "a split by session needs one for every known person"
            )
        if identity and kind != "photo":
            key = (identity, session) if kind == "session" else (identity,)
            parent[root(photo)] = root(links.setdefault((kind, *key), photo))
    units: dict[str, list[str]] = defaultdict(list)
    for photo in dataset.photos:
        units[root(photo)].append(photo)
    return dict(units)


def _random_units(
    dataset: Dataset, people_of: Mapping[str, set[str]], rng: np.random.Generator, fraction: float
) -> set[str]:
    """Units to test, drawn among those of people and then among those of nobody who is known."""
    known = [key for key, people in people_of.items() if people]
    if len(known) < 2:
        raise DatasetError(
            f"{dataset.name}: a split by identity needs at least two people, or groups of people "
            f"who share photos; here is {len(known)}"
        )
    everybody = len(dataset.identities)
    count = int(np.clip(round(everybody * fraction), 1, everybody - 1))
    drawn = [known[at] for at in rng.permutation(len(known))]
    chosen: set[str] = set()
    taken = 0  # people; a large group is passed over where smaller ones come nearer to the share
    for key in drawn:
        if taken + len(people_of[key]) <= count:
            chosen.add(key)
            taken += len(people_of[key])
    if not chosen:
        chosen = {min(drawn, key=lambda key: len(people_of[key]))}
    others = [key for key, people in people_of.items() if not people]
    return chosen | {
        others[at] for at in rng.permutation(len(others))[: round(len(others) * fraction)]
    }


def _stratified_units(
    dataset: Dataset,
    kind: str,
    units: Mapping[str, list[str]],
    people_of: Mapping[str, set[str]],
    rng: np.random.Generator,
    fraction: float,
    least: int,
) -> set[str]:
    """Units to test, drawn person by person."""
    units_of: dict[str, list[str]] = defaultdict(list)
    for key, people in people_of.items():
        for person in people or {""}:  # photos of nobody who is known are a stratum of their own
            units_of[person].append(key)
    few = sorted(person for person in units_of if person and len(units_of[person]) < 2)
    if few:
        raise DatasetError(_too_few(dataset, kind, few))
    test: set[str] = set()
    photo_count = {key: len(photos) for key, photos in units.items()}
    # People with few units first: they leave the least choice when photos show several people.
    for person in sorted(units_of, key=lambda name: (len(units_of[name]), name)):
        mine = sorted(units_of[person])
        total = sum(photo_count[key] for key in mine)
        # A random rounding, so that the whole comes to the fraction without favouring anyone.
        target = max(1, int(total * fraction + rng.random()))
        have = sum(photo_count[key] for key in mine if key in test)
        in_test = sum(key in test for key in mine)
        for at in rng.permutation(len(mine)):
            key = mine[at]
            if (have >= target and in_test >= least) or in_test >= len(mine) - 1:
                break
            if key in test or not all(
                any(other != key and other not in test for other in units_of[name])
                for name in people_of[key]
            ):
                continue  # somebody in these photos would have none left to train on
            test.add(key)
            have += photo_count[key]
            in_test += 1
    return test


def _too_few(dataset: Dataset, kind: str, few: list[str]) -> str:
    """What is said of people who have one photo or session, and so cannot be on both sides."""
    everybody = few == dataset.identities
    if kind == "session":
        way = "leave such people out, leave their identity empty, or split by photo"
    elif everybody:
        way = "`python -m thesislib train` learns them without a test"
    else:
        way = "`python -m thesislib data ... --min-photos 2` leaves such people out"
        way += ", or leave their identity empty"
    told = "everybody who is named" if everybody else told_names(few)
    has = "has" if everybody or len(few) == 1 else "have"
    equal = kind == "photo" and dataset.table["identity"].isin(few).sum() > len(few)
    return (
        f"{dataset.folder / ANNOTATIONS}: {told} {has} one {kind}"
        f"{' (equal ones count once)' if equal else ''}; a split by {kind} needs at least two of "
        f"each person, one to learn and one to test; {way}"
    )


def check_split(dataset: Dataset, split: pd.DataFrame, kind: str) -> None:
    """Refuse a split that leaks.

    Args:
        dataset: whose photos are split.
        split: table ``photo, part``.
        kind: one of ``SPLIT_KINDS``.

    Raises:
        DatasetError: a photo on both sides or on none, byte-equal photos, a session (kind
            ``session``) or a person (``identity``) on both sides, a test person never trained
            on (``photo``, ``session``), a part without known people (``identity``) or without
            photos.
    """
    if kind not in SPLIT_KINDS:
        raise DatasetError(f"split {kind!r} is unknown; choose one of {', '.join(SPLIT_KINDS)}")
    part = dict(zip(split["photo"], split["part"], strict=True))
    if len(part) != len(split) or set(part) != set(dataset.photos):
        raise DatasetError("split: photos are not those of the dataset, each once")
    if set(part.values()) != {"train", "test"}:
        raise DatasetError("split: needs a train part and a test part, and no other")
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for photo, digest in dataset.photo_hashes.items():
        sides["equal photos", digest].add(part[photo])
    people: dict[str, set[str]] = {"train": set(), "test": set()}
    for photo, identity, session in zip(
        *(dataset.table[name] for name in ("photo", "identity", "session")), strict=True
    ):
        if not identity:
            continue
        people[part[photo]].add(identity)
        if kind == "session":
            sides["session", f"{session} of {identity}"].add(part[photo])
        if kind == "identity":
            sides["person", identity].add(part[photo])
    for (what, which), found in sides.items():
        if len(found) > 1:
            raise DatasetError(f"split by {kind} leaks: {what} {which} on both sides")
    for side, present in people.items():
        if kind == "identity" and not present:
            raise DatasetError(f"split by identity: nobody who is known is in the {side} part")
    untrained = people["test"] - people["train"]
    if kind != "identity" and untrained:
        raise DatasetError(
            f"split by {kind}: {sorted(untrained)[0]!r} is tested but not trained on"
        )
