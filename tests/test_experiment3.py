"""Experiment 3: who is kept unseen, measures against loops, and what is written."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import face

from thesislib import paths
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.experiments import embeddings
from thesislib.metrics import checks, compactness, identification, retrieval, verification
from thesislib.metrics.boxes import box_iou
from thesislib.profiles import get_profile
from thesislib.tables import read_table


def clusters(people=12, photos=6, spread=0.6, seed=0):
    """Embeddings [n, 8] in clusters, and names."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 8)).repeat(photos, axis=0)
    names = np.array([f"p{at // photos:02}" for at in range(people * photos)], object)
    return centres + spread * rng.normal(size=centres.shape), names


# Parts


@pytest.fixture
def experiment(write_dataset, tmp_path, monkeypatch):
    """Sixteen people of six photos in two sittings, nothing trained."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    rows = [
        face(f"p{who:02}_{at}.png", f"p{who:02}", session=str(at // 3))
        for who in range(16)
        for at in range(6)
    ]
    folder = write_dataset(rows)
    return embeddings.EmbeddingExperiment(folder, profile=get_profile("smoke"), progress=False)


def people_of(experiment, part):
    return set(experiment.part(part).identities)


def test_unseen_people_are_in_no_other_part_and_seen_photos_were_kept(experiment):
    unseen, seen, train = (people_of(experiment, part) for part in ("unseen", "seen", "train"))
    assert len(unseen) == 4
    assert not unseen & (seen | train)
    assert seen == train and len(train) == 12
    photos = [set(experiment.part(part).photos) for part in ("unseen", "seen", "train")]
    assert sum(map(len, photos)) == len(set().union(*photos)) == 96
    assert experiment.identities == sorted(train)


def test_a_holdout_reads_nobody_who_is_kept_for_the_test(experiment):
    tuning = dataclasses.replace(experiment, holdout=True)
    allowed = set(experiment.part("train").photos)
    for part in ("train", "seen", "unseen"):
        assert set(tuning.part(part).photos) <= allowed
    assert people_of(tuning, "unseen") <= people_of(experiment, "train")
    assert tuning.run_folder("joint") != experiment.run_folder("joint")


def test_arms_change_what_they_say_and_have_runs_of_their_own(experiment):
    folders = set()
    for arm, changes in embeddings.ARMS.items():
        one = embeddings.EmbeddingExperiment(
            experiment.data, profile=get_profile("quick"), progress=False, arm=arm
        )
        assert dataclasses.replace(get_profile("quick"), **changes) == one.profile
        folders.add(one.run_folder("joint"))
    assert len(folders) == len(embeddings.ARMS)
    with pytest.raises(ValueError, match="sphere"):
        dataclasses.replace(experiment, arm="sphere")


def test_a_group_has_the_photos_of_one_known_face(write_dataset):
    rows = [
        face("a.png", "anna"),
        face("b.png", "anna"),
        face("b.png", "boris", (25, 4, 45, 24)),
        face("c.png", ""),
        face("d.png", "", (None,) * 4),
        face("e.png", "boris", session="2"),
    ]
    group = embeddings.Group.of(read_dataset(write_dataset(rows)))
    assert [photo.name for photo in group.photos] == list(group.rows["photo"]) == ["a.png", "e.png"]
    assert group.identities.tolist() == ["anna", "boris"]
    assert group.sessions.tolist() == ["", "2"]


def test_one_photo_a_sitting(experiment):
    apart = embeddings._one_a_session(experiment.group("unseen"))
    assert len(apart.rows) == 4 * 2
    assert not apart.rows.duplicated(["identity", "session"]).any()
    assert [photo.name for photo in apart.photos] == list(apart.rows["photo"])


def test_people_unseen_are_also_shown_with_as_few_photos_as_those_seen(experiment):
    unseen = experiment.group("unseen")
    few = embeddings._as_few(experiment, unseen)
    assert set(few.rows["photo"]) < set(unseen.rows["photo"])
    assert set(few.identities) == set(unseen.identities)
    seen = experiment.group("seen").rows.groupby("identity").size().mean()
    assert abs(few.rows.groupby("identity").size().mean() - seen) < 0.5


# Measures


def test_measures_are_those_of_embedding_metrics():
    vectors, names = clusters(people=30, photos=5)
    gallery = embeddings.enrolled(names, np.full(len(names), ""), seed=0)
    table = embeddings.measure(vectors, names, gallery, seed=0, draws=0)
    value = table.set_index("metric")["value"]
    curve = verification.roc(vectors, names)
    assert value["equal_error_rate"] == verification.equal_error_rate(curve)
    assert value["tar_at_far_1e2"] == verification.tar_at_far(curve, 0.01).tar
    assert value["map_at_r"] == retrieval.retrieval(vectors, names).map_at_r
    assert value["dprime"] == compactness.dprime(vectors, names)
    assert value["rank_one"] == identification.open_set(vectors, names, gallery).rank_one
    assert (
        value["verification_accuracy"]
        == verification.verification_accuracy(vectors, names, seed=0).mean
    )
    assert (table["n"] == 150).all() and table["low"].isna().all()


def test_what_data_cannot_support_has_no_row():
    vectors, names = clusters(people=4, photos=3)
    gallery = embeddings.enrolled(names, np.full(len(names), ""), seed=0)
    found = set(embeddings.measure(vectors, names, gallery, seed=0, draws=0)["metric"])
    # Four people are too few for ten folds, 54 impostor pairs for FAR 1 %, 6 strangers for FPIR,
    # 4 probes of people enrolled for anything.
    absent = {"verification_accuracy", "tar_at_far_1e2", "tar_at_far_1e3", "fnir_at_fpir_1e1"}
    assert not found & {*absent, "rank_one"}
    assert {"map_at_r", "dprime", "silhouette"} <= found


def test_a_measure_at_a_rate_tells_the_rate_reached_and_of_how_many():
    vectors, names = clusters(people=30, photos=8, spread=2.0)
    gallery = embeddings.enrolled(names, np.full(len(names), ""), seed=0)
    rows = embeddings.measure(vectors, names, gallery, seed=0, draws=0).set_index("metric")
    far = verification.tar_at_far(verification.roc(vectors, names), 0.01)
    fpir = identification.fnir_at_fpir(identification.open_set(vectors, names, gallery), 0.1)
    assert rows.loc["tar_at_far_1e2", "achieved"] == far.far
    assert rows.loc["tar_at_far_1e2", "trials"] == far.impostor_pairs
    assert rows.loc["fnir_at_fpir_1e1", "achieved"] == fpir.fpir
    assert rows.loc["fnir_at_fpir_1e1", "trials"] == fpir.non_mated_probes
    assert rows.loc[["map_at_r", "rank_one"], ["achieved", "trials"]].isna().all(axis=None)


def test_verification_of_few_people_has_an_interval_over_folds():
    vectors, names = clusters(people=21, photos=4, spread=1.5)
    gallery = np.zeros(len(names), dtype=bool)
    rows = embeddings.measure(vectors, names, gallery, seed=0, draws=20).set_index("metric")
    found = verification.verification_accuracy(vectors, names, seed=0)
    low, high = rows.loc["verification_accuracy", ["low", "high"]]
    assert high - found.mean == pytest.approx(2.262 * found.standard_error, rel=1e-3)
    assert low + high == pytest.approx(2 * found.mean)


def test_gains_are_differences_of_measures_and_paired():
    better, names = clusters(people=25, photos=4, spread=0.7)
    noise = np.random.default_rng(1).normal(size=better.shape)
    worse = np.concatenate([better + 0.4 * noise, noise[:, :3]], axis=1)
    worse[5] = np.nan
    table = embeddings.gains(better, worse, names, seed=0, draws=60).set_index("metric")
    there = np.arange(len(names)) != 5
    first, second = (
        retrieval.retrieval(vectors[there], names[there]).map_at_r for vectors in (better, worse)
    )
    row = table.loc["map_at_r_gain"]
    assert row["value"] == pytest.approx(first - second)
    assert row["low"] < row["value"] < row["high"]
    assert (table["n"] == 99).all()
    once = np.zeros(len(names), dtype=bool)
    alone = embeddings.measure(better, names, once, seed=0, draws=60).set_index("metric")
    assert row["high"] - row["low"] < np.diff(alone.loc["map_at_r", ["low", "high"]])[0]
    same = embeddings.gains(better, better, names, seed=0, draws=5)
    assert (same[["value", "low", "high"]] == 0).all(axis=None)
    assert embeddings.gains(better[:4], worse[:4], names[:4], seed=0, draws=5).empty


def test_intervals_hold_the_value_and_lost_faces_are_left_out():
    vectors, names = clusters(people=24, photos=4, spread=1.5)
    vectors[5] = np.nan
    gallery = embeddings.enrolled(names, np.full(len(names), ""), seed=0)
    table = embeddings.measure(vectors, names, gallery, seed=0, draws=60)
    assert (table["n"] == 95).all()
    there = table.dropna(subset=["low"])
    assert len(there) > 10
    assert (there["low"] <= there["value"] + 1e-9).all()
    assert (there["value"] <= there["high"] + 1e-9).all()
    shares = there[there["metric"].isin(["map_at_r", "precision_at_1", "verification_accuracy"])]
    assert shares[["low", "high"]].stack().between(0, 1).all()


def test_enrolled_people_are_half_and_their_probes_are_of_later_sittings():
    names = np.repeat(np.array([f"p{at}" for at in range(10)], object), 6)
    sessions = np.tile(np.array(["2", "1", "1", "2", "1", "2"], object), 10)
    gallery = embeddings.enrolled(names, sessions, seed=3)
    people = set(names[gallery])
    assert len(people) == 5
    for person in people:
        mine = names == person
        assert set(sessions[mine & gallery]) == {"1"} and set(sessions[mine & ~gallery]) == {"2"}
    assert (gallery == embeddings.enrolled(names, sessions, seed=3)).all()
    assert (gallery != embeddings.enrolled(names, sessions, seed=4)).any()


def test_no_probe_is_from_a_sitting_that_is_enrolled():
    names = np.repeat(np.array([f"p{at}" for at in range(8)], object), 9)
    sessions = np.tile(np.repeat(np.array(["a", "b", "c"], object), (2, 3, 4)), 8)
    names[-9:] = "once"
    sessions[-9:] = "a"  # a single sitting: a stranger, since all probes would be from it
    gallery = embeddings.enrolled(names, sessions, seed=0)
    people = set(names[gallery])
    assert len(people) == 3 and "once" not in people
    for person in people:
        mine = names == person
        assert set(sessions[mine & gallery]) == {"a"} and set(sessions[mine & ~gallery]) == {
            "b",
            "c",
        }


def test_similarities_against_loops():
    vectors, names = clusters(people=4, photos=3)
    table = embeddings.similarities(vectors, names)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = {"intra": {}, "inter": {}}
    for i in range(12):
        for j in range(i):
            kind = "intra" if names[i] == names[j] else "inter"
            cosine = float(unit[i] @ unit[j])
            low = np.floor((cosine + 1) / 0.05) * 0.05 - 1
            counts[kind][round(low, 2)] = counts[kind].get(round(low, 2), 0) + 1
    for kind, total in (("intra", 12), ("inter", 54)):
        rows = table[table["pairs"] == kind]
        assert rows["share"].sum() == pytest.approx(1)
        found = {
            low: round(share * total) for low, share in rows[["low", "share"]].to_numpy() if share
        }
        assert found == counts[kind]


def test_curves_run_from_end_to_end_and_say_what_is_supported():
    vectors, names = clusters(people=40, photos=6, spread=1.2)
    gallery = embeddings.enrolled(names, np.full(len(names), ""), seed=0)
    table = embeddings.curves(vectors, names, gallery)
    assert set(table["curve"]) == {"roc", "open_set", "cmc"}
    whole = verification.roc(vectors, names)
    drawn = table[table["curve"] == "roc"]
    assert len(drawn) <= embeddings._CURVE_POINTS
    points = set(zip(whole.far, whole.tar, strict=True))
    assert set(zip(drawn["x"], drawn["y"], strict=True)) <= points
    assert (drawn["x"].iloc[0], drawn["x"].iloc[-1], drawn["y"].iloc[-1]) == (0, 1, 1)
    assert drawn["supported"].iloc[0] == 10 / whole.impostor_pairs
    cmc = table[table["curve"] == "cmc"]
    assert (cmc["x"].iloc[0], cmc["x"].iloc[-1]) == (1, 20)
    assert cmc["supported"].isna().all()


def test_factors_against_loops():
    vectors, names = clusters(people=6, photos=4, spread=0.9)
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "identity": names,
            "session": np.tile(["1", "1", "2", "2"], 6),
            "factor_yaw": rng.uniform(-40, 40, 24),
            "factor_light_azimuth": rng.uniform(-60, 60, 24),
            "factor_light_elevation": rng.uniform(10, 60, 24),
        }
    )
    table = embeddings.factors(vectors, rows, seed=0, draws=50)
    assert set(table["factor"]) == {"yaw", "light", "session"}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def light(at):
        azimuth, elevation = np.radians(
            rows.loc[at, ["factor_light_azimuth", "factor_light_elevation"]].to_numpy(float)
        )
        across = np.cos(elevation)
        return [across * np.sin(azimuth), np.sin(elevation), across * np.cos(azimuth)]

    def difference(factor, i, j):
        if factor == "yaw":
            return abs(rows["factor_yaw"][i] - rows["factor_yaw"][j])
        if factor == "light":
            return np.degrees(np.arccos(np.dot(light(i), light(j))))
        return float(rows["session"][i] != rows["session"][j])

    for row in table.itertuples():
        values = [
            float(unit[i] @ unit[j])
            for i in range(24)
            for j in range(i)
            if (names[i] == names[j]) == (row.pairs == "intra")
            and (
                # Sittings of two people have nothing in common.
                (row.factor == "session" and row.pairs == "inter")
                or row.low <= difference(row.factor, i, j) < row.high
            )
        ]
        assert row.n == len(values)
        assert row.mean == pytest.approx(np.mean(values))
        if row.pairs == "intra" and row.n > 3:
            assert row.interval_low <= row.mean <= row.interval_high


def test_factors_that_are_not_known_are_not_drawn():
    rows = pd.DataFrame({"identity": ["a", "a"], "session": ["", "1"]})
    assert embeddings.factor_differences(rows) == {}


# Whole photos


@pytest.fixture
def looked_at(write_dataset):
    """Six people of four photos, what a net would find in them, and who is enrolled."""
    rows = [face(f"p{who}_{at}.png", f"p{who}") for who in range(6) for at in range(4)]
    group = embeddings.Group.of(read_dataset(write_dataset(rows)))
    vectors, _ = clusters(people=6, photos=4, spread=0.5)
    rng = np.random.default_rng(2)
    found = []
    for at, vector in enumerate(vectors):
        boxes = [[5, 4, 25, 24], [28, 6, 44, 22]] if at % 3 == 0 else [[6, 5, 26, 24]]
        boxes = [] if at in (7, 14) else boxes  # missed
        faces = np.stack([vector, rng.normal(size=8)])[: len(boxes)]
        found.append(
            {
                "boxes": np.array(boxes, np.float32).reshape(-1, 4),
                "scores": np.array([0.9, 0.4], np.float32)[: len(boxes)],
                "embeddings": faces / np.linalg.norm(faces, axis=-1, keepdims=True),
            }
        )
    return group, found, embeddings.enrolled(group.identities, group.sessions, seed=0)


def test_detections_in_whole_photos_against_loops(looked_at):
    group, found, gallery = looked_at
    table = embeddings.open_set_detections(group, found, gallery)
    truth = np.array([5.0, 4, 25, 24])
    wanted = []
    for at in range(24):
        if gallery[at]:
            continue
        for box, vector in zip(found[at]["boxes"], found[at]["embeddings"], strict=True):
            best, who = -2.0, ""
            for other in range(24):
                if gallery[other] and len(found[other]["boxes"]):
                    cosine = float(found[other]["embeddings"][0] @ vector)
                    if cosine > best:
                        best, who = cosine, group.identities[other]
            iou = box_iou(box[None], truth[None])[0, 0]
            known = group.identities[at] in set(group.identities[gallery]) and iou >= 0.5
            wanted.append((best, who, iou, group.identities[at] if known else ""))
    assert len(table) == len(wanted) > 12
    for row, (score, who, iou, identity) in zip(table.itertuples(), wanted, strict=True):
        assert row.score == pytest.approx(score, abs=1e-6)
        assert (row.predicted_identity, row.identity) == (who, identity)
        assert row.iou == pytest.approx(iou, abs=1e-6)


def repeated(looked_at, times):
    """The same several times over, each time as other people."""
    group, found, gallery = looked_at
    rows = [
        group.rows.assign(identity=f"{copy} " + group.rows["identity"]) for copy in range(times)
    ]
    many = dataclasses.replace(group, rows=pd.concat(rows, ignore_index=True))
    return many, found * times, np.tile(gallery, times)


def test_a_missed_face_counts_against_the_rate(looked_at):
    with pytest.raises(checks.NotSupportedError, match="6 probes of people enrolled"):
        embeddings.joint_open_set(*looked_at, seed=0, draws=10)
    group, found, gallery = repeated(looked_at, 2)
    numbers, curve = embeddings.joint_open_set(group, found, gallery, seed=0, draws=10)
    assert numbers.empty  # 36 probes cannot tell 0.1 false positives a photo
    probes = ~gallery
    known = np.isin(group.identities, group.identities[gallery]) & probes
    detections = embeddings.open_set_detections(group, found, gallery)
    right = (detections["identity"] != "") & (
        detections["identity"] == detections["predicted_identity"]
    )
    assert curve["y"].max() == pytest.approx(right.sum() / known.sum())
    assert curve["supported"].iloc[0] == 10 / probes.sum()


def test_known_people_taken_for_another_are_told_apart(looked_at):
    many, found, gallery = repeated(looked_at, 8)
    vectors, _ = clusters(people=48, photos=4, spread=1.5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = [
        {**one, "embeddings": unit[at : at + 1].repeat(len(one["boxes"]), axis=0)}
        for at, one in enumerate(found)
    ]
    numbers, _ = embeddings.joint_open_set(many, found, gallery, seed=0, draws=30)
    numbers = numbers.set_index("metric")
    detections = embeddings.open_set_detections(many, found, gallery)
    known = np.isin(many.identities, many.identities[gallery]) & ~gallery
    point = identification.tpir_at_fpipi(
        identification.joint_open_set(detections, known.sum(), (~gallery).sum()), 0.1
    )
    row = numbers.loc["taken_for_another_at_fpipi_1e1"]
    assert row["value"] == point.taken_for_another > 0
    assert row["low"] <= row["value"] <= row["high"]
    assert numbers.loc["tpir_at_fpipi_1e1", "value"] == point.tpir
    assert (numbers["achieved"] == point.fpipi).all()


def test_a_gallery_without_a_found_face_says_so(looked_at):
    group, found, gallery = looked_at
    blind = [{**one, "boxes": one["boxes"][:0]} for one in found]
    with pytest.raises(checks.NotSupportedError, match="finds no face to enrol"):
        embeddings.open_set_detections(group, blind, gallery)


# Maps


def test_maps_are_the_same_again_and_say_how_far_to_trust_them():
    vectors, names = clusters(people=8, photos=8, spread=0.3)
    rows = pd.DataFrame({"photo": [f"{at}.png" for at in range(64)], "identity": names})
    rows = rows.assign(session="", people="seen", factor_yaw=0.0)
    threads = torch.get_num_threads()
    table = embeddings.maps(vectors, rows, map_seeds=(0,))
    assert torch.get_num_threads() == threads
    assert set(table["method"]) == {"umap", "tsne"} and len(table) == 128
    assert table[["trustworthiness", "continuity"]].stack().between(0.7, 1).all()
    pd.testing.assert_frame_equal(table, embeddings.maps(vectors, rows, map_seeds=(0,)))
    other = embeddings.maps(vectors, rows, map_seeds=(1,))
    assert not np.allclose(table["x"], other["x"])


# Everything


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    root = tmp_path_factory.mktemp("experiment3")
    patch = pytest.MonkeyPatch()
    patch.setattr(paths, "RUNS", root / "runs")
    patch.setattr(paths, "TABLES", root / "tables")
    patch.setattr(paths, "DATA", root / "data")
    patch.setattr(experiment3, "_MAP_SEEDS", (0,))
    patch.setenv("PROFILE", "smoke")
    patch.setenv("TQDM_DISABLE", "1")
    for name in ("DATA", "EPOCHS", "BATCH", "SEED", "SPLIT"):
        patch.delenv(name, raising=False)
    experiment = embeddings.from_environment()
    yield experiment, embeddings.run_arm(experiment, draws=5), root
    patch.undo()


def test_the_main_arm_has_groups_controls_and_a_map(smoke):
    experiment, tables, root = smoke
    numbers = tables[embeddings.RESULTS_TABLE]
    groups = {"seen", "unseen", "unseen_matched", "unseen_apart"}
    groups |= {"untrained", "two_stage", "shuffled", "untrained_apart", "two_stage_apart"}
    assert groups <= set(numbers["people"])
    assert set(tables[embeddings.MAP_TABLE]["people"]) == {"seen", "unseen"}
    for name, table in tables.items():
        stored = read_table(root / "tables" / name)
        assert len(stored) == len(table)
        for column in ("dataset", "arm", "profile", "seed", "backbone", "input_px", "command"):
            assert stored[column].notna().all()
    assert set(numbers["command"]) == {
        "python -m thesislib.experiment3 --data synthetic-smoke_many --profile smoke --seed 0 "
        "--arms normalised"
    }
    unseen = people_of(experiment, "unseen")
    assert set(tables[embeddings.MAP_TABLE].query("people == 'unseen'")["identity"]) <= unseen


def test_people_of_another_collection_must_be_new(smoke):
    experiment, _, _ = smoke
    with pytest.raises(DatasetError, match=r"is in .* too; these people must be new"):
        embeddings.run_arm(experiment, [experiment.data], draws=5)


def test_another_arm_is_compared_with_the_main_one(smoke):
    _, tables, _ = smoke
    box = embeddings.from_environment("roi")
    rows = embeddings.run_arm(box, draws=5)[embeddings.RESULTS_TABLE]
    rows = rows.set_index(["people", "metric"])["value"]
    main = tables[embeddings.RESULTS_TABLE].set_index(["people", "metric"])["value"]
    for people in ("unseen", "unseen_apart"):
        gain = rows[people, "map_at_r"] - main[people, "map_at_r"]
        assert rows[people, "map_at_r_gain"] == pytest.approx(gain, abs=1e-5)
    assert not any("gain" in metric for _, metric in main.index)


def test_asked_again_nothing_is_measured(smoke, monkeypatch):
    experiment, tables, _ = smoke

    def never(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(experiment3, "measure", never)
    monkeypatch.setattr(inference, "embed", never)
    again = embeddings.run_arm(dataclasses.replace(experiment), draws=5)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, again[name])


def test_a_dataset_of_few_people_gives_way_to_synthetic_ones(smoke, write_dataset, monkeypatch):
    rows = [face(f"{who}{at}.png", who) for who in ("anna", "boris") for at in range(3)]
    monkeypatch.setenv("DATA", str(write_dataset(rows)))
    assert embeddings.from_environment().data.name == "synthetic-smoke_many"
