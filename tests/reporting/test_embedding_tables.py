"""Tables of Experiment 3 say who is compared, what sees them, and what may be claimed."""

import pandas as pd
import pytest

from thesislib.reporting import embedding_tables
from thesislib.reporting.labels import PEOPLE_LABELS
from thesislib.tables import MAIN_ARM, STARTED_ARM

from .embedding_tables import of_seeds

GROUPS = ("seen", "unseen", "two_stage", "hog_nearest", "lfw", "lfw_hog_nearest")


def lines(printed, *columns):
    return [tuple(row[name] for name in columns) for _, row in printed[1].iterrows()]


def test_people_stand_with_what_sees_them():
    pipeline = of_seeds(("two_stage",), arms=(STARTED_ARM,)).assign(start="dlib")
    table = pd.concat([of_seeds(GROUPS), of_seeds(("unseen",), arms=(STARTED_ARM,)), pipeline])
    printed = embedding_tables.systems(table)
    assert lines(printed, "People", "Seen by") == [
        (PEOPLE_LABELS["seen"], "joint net"),
        ("never seen", "joint net"),
        ("never seen", "joint net, from the published net"),
        ("never seen", "two-stage (face)"),
        ("never seen", "two-stage (face), from dlib's recogniser"),
        ("never seen", "nearest face, HOG"),
        ("LFW, another collection", "joint net"),
        ("LFW, another collection", "nearest face, HOG"),
    ]
    row = table[(table["people"] == "unseen") & (table["arm"] == MAIN_ARM)]
    row = row[row["metric"] == "map_at_r"].iloc[0]
    cell = printed[1].iloc[1]
    assert cell["MAP@R"] == f"{100 * row.value:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    assert cell["Seeds"] == ", ".join(f"{100 * float(v):.1f}" for v in row.seed_values.split())
    assert cell["People × scenes"] == "60 × 4.0"
    seen = printed[1].iloc[0]
    assert seen["MAP@R"] == seen["FNIR at FPIR 10 %"] == "–" and seen["Verification"] != "–"


def test_what_was_not_measured_has_a_dash_and_few_people_no_interval():
    table = of_seeds(("unseen",))
    table = table[table["metric"].isin(["map_at_r", "dprime"])].assign(low=None, high=None)
    (row,) = lines(embedding_tables.systems(table), "Verification", "MAP@R", "d′")
    value = table.set_index("metric")["value"]
    assert row == ("–", f"{100 * value['map_at_r']:.1f}", f"{value['dprime']:.2f}")


def test_arms_are_those_of_people_never_seen_and_curves_stand_apart():
    arms = (MAIN_ARM, "linear", "roi", "people_20", "photos_3", "my_arm")
    table = of_seeds(("unseen", "seen", "lfw"), arms=arms)
    told = lines(embedding_tables.arms(table), "Arm")
    assert [arm for (arm,) in told] == [
        "cross-entropy (thesis)", "normalised softmax", "pooled under the box", "my_arm",
    ]  # fmt: skip
    learned = lines(embedding_tables.learning(table), "People", "People learned", "Photos learned")
    assert learned == [
        ("never seen", "20", "240"),
        ("never seen", "206", "618"),
        ("never seen", "206", "2472"),
        ("LFW, another collection", "20", "240"),
        ("LFW, another collection", "206", "618"),
        ("LFW, another collection", "206", "2472"),
    ]
    with pytest.raises(ValueError, match="no rows of arms people_<number>"):
        embedding_tables.learning(of_seeds(("unseen",)))


def start_of(people, arm):
    if arm != STARTED_ARM:
        return "scratch"
    return "default" if people == "unseen" else "dlib"


def pair(people, arm, against_people, against, value, holds, metric="map_at_r"):
    told = {"people": people, "arm": arm, "against_people": against_people, "against": against}
    told |= {"start": start_of(people, arm), "against_start": start_of(against_people, against)}
    numbers = {"value": value, "low": value - 0.05, "high": value + 0.05, "p_holm": 0.01}
    about = {"dataset": "celeba", "profile": "laptop", "tests": 20, "seed_values": "0.1 0.1 0.1"}
    about |= {"seeds": "0 1 2"}
    return told | numbers | about | {"metric": metric, "holds": holds}


PAIRS = pd.DataFrame(
    [
        pair("unseen", "roi", "unseen", MAIN_ARM, 0.1, True),
        pair("unseen", MAIN_ARM, "hog_nearest", MAIN_ARM, -0.1, True),
        pair("unseen", STARTED_ARM, "two_stage", STARTED_ARM, 0.01, False),
        pair("lfw", MAIN_ARM, "lfw_hog_nearest", MAIN_ARM, -0.2, True),
        pair("unseen", "roi", "unseen", MAIN_ARM, 0.3, True, metric="precision_at_1"),
    ]
)


def test_differences_name_both_and_whether_they_are_claimed():
    printed = embedding_tables.pairs(PAIRS)
    assert lines(printed, "People", "Embeddings", "Against", "Claimed")[1:4] == [
        ("never seen", "joint net, normalised softmax", "nearest face, HOG", "yes"),
        (
            "never seen",
            "joint net, from the published net",
            "two-stage (face), from dlib's recogniser",
            "no",
        ),
        ("LFW, another collection", "joint net, normalised softmax", "nearest face, HOG", "yes"),
    ]
    assert printed[1]["Difference"][0] == "+10.0 [+5.0, +15.0]" and "20 tests" in printed[0]


def test_findings_are_sentences_of_what_holds():
    assert embedding_tables.findings(PAIRS) == [
        "Pooled under the box is ahead of joint net, normalised softmax in MAP@R: "
        "+10.0 [+5.0, +15.0] points.",
        "Joint net, normalised softmax is behind nearest face, HOG in MAP@R: "
        "-10.0 [-15.0, -5.0] points.",
        "Joint net, from the published net and two-stage (face), from dlib's recogniser cannot be "
        "told apart in MAP@R: +1.0 [-4.0, +6.0] points.",
    ]
    (once,) = embedding_tables.findings(PAIRS[2:3].assign(seeds="0"))
    assert once.endswith("+1.0 [-4.0, +6.0] points; of one training, so not claimed.")
    with pytest.raises(ValueError, match="metric 'fps' is none of map_at_r, precision_at_1"):
        embedding_tables.findings(PAIRS, "fps")


@pytest.mark.parametrize("draw", ["systems", "arms", "learning", "pairs", "findings"])
def test_no_rows_and_several_datasets_are_refused(draw):
    table = PAIRS if draw in ("pairs", "findings") else of_seeds(("unseen",))
    with pytest.raises(ValueError, match="no rows"):
        getattr(embedding_tables, draw)(table[:0])
    with pytest.raises(ValueError, match="several in column dataset"):
        getattr(embedding_tables, draw)(pd.concat([table, table.assign(dataset="other")]))
