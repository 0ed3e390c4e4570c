"""Does a net that has learned synthetic people learn real ones better?

The joint net is trained on real photos twice, from random weights and from a net trained on
thousands of synthetic people, with the same number of steps on the same photos in the same order;
the test split is read once for each. Command line::

    python -m thesislib.pretraining --data <folder> --split photo --epochs 6 --batch 32
"""

import argparse
import dataclasses
import os
from pathlib import Path

import pandas as pd

from thesislib import paths
from thesislib.experiments.baseline_comparison import MODEL, Experiment
from thesislib.metrics import statistics
from thesislib.profiles import get_profile
from thesislib.synthetic import sets
from thesislib.tables import merge_table

TABLE = "pretraining.csv"
ARMS = ("random weights", "synthetic people")
PEOPLE = "pretraining"  # the set that is learned first
EPOCHS = 8  # on that set
_KEPT = ("accuracy", "joint_accuracy_50", "joint_accuracy_75", "mean_iou")


def pretrained(progress: bool = True) -> Path:
    """The checkpoint of a net trained on the set ``PEOPLE``, made and trained if need be."""
    folder = paths.synthetic(PEOPLE)
    sets.make(folder, sets.SETS[PEOPLE], progress=progress)
    profile = dataclasses.replace(get_profile("laptop"), epochs=EPOCHS)
    experiment = Experiment(folder, "photo", profile, progress=progress)
    experiment.trained("joint")
    return experiment.run_folder("joint") / MODEL


def compare(experiment: Experiment, start: Path) -> pd.DataFrame:
    """Train the joint net from both starts and test both.

    Args:
        experiment: real photos, without a start.
        start: the pre-trained checkpoint.

    Returns:
        Rows ``arm, metric, value, low, high, n, steps`` with the experiment's columns, merged
        into ``figures/tables/pretraining.csv``; metric ``mcnemar_p`` compares the two arms'
        accuracy on the same photos.
    """
    tables, correct = [], []
    for arm, begin in zip(ARMS, (None, start), strict=True):
        one = dataclasses.replace(experiment, start=begin)
        rows, photos, _ = one.evaluate("joint")
        tables.append(rows[rows["metric"].isin(_KEPT)].assign(arm=arm))
        correct.append(photos["correct"].to_numpy(bool))
    p = statistics.mcnemar_exact(*correct)
    tables.append(
        pd.DataFrame([{"arm": ARMS[1], "metric": "mcnemar_p", "value": p, "n": len(correct[0])}])
    )
    profile = experiment.profile
    words = f"--data {experiment.data.name} --split {experiment.split_kind}"
    words += f" --epochs {profile.epochs} --batch {profile.batch} --seed {experiment.seed}"
    columns = experiment.columns() | {
        "system": "joint",
        "steps": len(experiment.train_photos) // profile.batch * profile.epochs,
        "command": f"python -m thesislib.pretraining {words}",
    }
    table = pd.concat(tables, ignore_index=True).assign(**columns)
    merge_table(paths.TABLES / TABLE, table)
    return table


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.pretraining", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder of real people")
    parser.add_argument("--split", choices=("photo", "session"), default="photo")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    progress = "TQDM_DISABLE" not in os.environ
    profile = dataclasses.replace(
        get_profile("laptop"), epochs=arguments.epochs, batch=arguments.batch
    )
    start = pretrained(progress)
    experiment = Experiment(
        arguments.data, arguments.split, profile, arguments.seed, progress=progress
    )
    table = compare(experiment, start)
    print(table[["arm", "metric", "value", "low", "high", "n"]].to_string(index=False))


if __name__ == "__main__":
    main()
