"""Does a net that has learned synthetic people learn real ones better?

The joint net is trained on real photos twice, from random weights and from a net trained on
thousands of synthetic people, with as many steps on the same photos in the same order; the test
part is read once for each. On the command line::

    python -m thesislib pretraining --data <folder> --split photo --epochs 6
"""

import dataclasses
from pathlib import Path

import pandas as pd

from thesislib import paths
from thesislib.engine.checkpoint import net_file
from thesislib.engine.processes import this_process
from thesislib.experiments import baseline_comparison
from thesislib.experiments.config import (
    Config,
    columns,
    command,
    key,
    make_synthetic,
    parts,
    with_columns,
)
from thesislib.experiments.systems import net_folder, trained_joint
from thesislib.metrics.statistics import mcnemar_exact
from thesislib.profiles import PROFILES, Profile
from thesislib.storage import bytes_hash
from thesislib.tables import merge_table

TABLE = "pretraining.csv"
ARMS = ("random weights", "synthetic people")
PEOPLE = "pretraining"  # the set of synthetic people that is learned first
PROFILE = dataclasses.replace(PROFILES["laptop"], epochs=8)  # with which it is learned
_METRICS = ("accuracy", "joint_accuracy_50", "joint_accuracy_75", "mean_iou")


def pretrained(people: str = PEOPLE, profile: Profile = PROFILE) -> Path:
    """Folder of a joint net that has learned synthetic people; trained if that was not done yet.

    Args:
        people: a name in ``thesislib.synthetic.sets.SETS``; made if they are not there.
        profile: settings of the training.
    """
    config = Config(make_synthetic(people), profile)
    trained_joint(config)
    return net_folder(config, "joint")


def compare(config: Config, start: Path | str | None = None) -> pd.DataFrame:
    """Train the joint net from both starts and test both.

    Args:
        config: real photos, split by photo or session, without a start.
        start: file or folder of the pre-trained net; None for :func:`pretrained`'s.

    Returns:
        rows ``arm, metric, value, low, high, n, steps`` with all columns of a table, merged into
        ``pretraining.csv``; metric ``mcnemar_p`` compares the accuracies of the two arms on the
        same photos.

    Raises:
        ValueError: the config has a start of its own.
        DatasetError: see :func:`thesislib.experiments.config.parts`.
    """
    if config.start is not None:
        raise ValueError("the arms begin from random weights and from a pre-trained net")
    parts(config)  # before the pre-training: what cannot be learned and tested is told first
    start = Path(start) if start is not None else pretrained()
    run = key(config, begun_from=bytes_hash(net_file(start)))
    tables, photos = [], []
    for arm, begin in zip(ARMS, (None, start), strict=True):
        one = dataclasses.replace(config, start=begin)
        tested = baseline_comparison.evaluate(one, "joint")
        rows = tested.results[tested.results["metric"].isin(_METRICS)].assign(arm=arm)
        about = columns(one, run, command(config, "pretraining"))
        tables.append(with_columns(rows, about))
        photos.append(tested.photos)
    known = photos[0]["known"].to_numpy()
    p = mcnemar_exact(*(table["correct"][known] for table in photos))
    compared = {"arm": ARMS[1], "metric": "mcnemar_p", "value": p, "n": int(known.sum())}
    tables.append(with_columns(pd.DataFrame([compared]), about))
    train = parts(config).train
    batch = min(config.profile.batch, len(train.photos))
    table = pd.concat(tables, ignore_index=True).assign(
        system="joint", steps=len(train.photos) // batch * config.profile.epochs
    )
    if this_process().is_main_process:
        merge_table(paths.TABLES / TABLE, table)
    this_process().wait_for_everyone()
    return table
