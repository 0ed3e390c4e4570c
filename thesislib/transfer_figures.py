"""Figures of Experiment 2: what must be retrained for new people, and what it costs.

Drawn from ``experiment2.csv``. A variant has the same colour and marker in every figure.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from thesislib.figures import GREY, PALE, TEXT, in_order, styled

VARIANTS = {
    "class_mean": "class mean, no training",
    "classifier": "classifier",
    "classifier_embedding": "classifier, embedding head",
    "all": "everything",
    "scratch": "everything, from scratch",
}
METRICS = {
    "accuracy": "accuracy",
    "joint_accuracy_50": "joint accuracy, IoU ≥ 0.5",
    "mean_iou": "mean IoU",
    "old_joint_accuracy_50": "joint accuracy, IoU ≥ 0.5",
    "old_mean_iou": "mean IoU",
    "old_ap50": "AP50",
}


@styled
def transfer_accuracy(table: pd.DataFrame, metric: str = "joint_accuracy_50") -> Figure:
    """How well new people are recognised, against photos of each, by what was retrained.

    Lines are means over seeds, bars their range; with one seed, its 95 % interval.

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value, low, high``; shares in 0–1. A panel a source and target.
        metric: the one shown.

    Raises:
        ValueError: no rows of the metric.
    """
    raise NotImplementedError


@styled
def transfer_time(table: pd.DataFrame, metric: str = "joint_accuracy_50") -> Figure:
    """How well new people are recognised, against the seconds it took to add them.

    A point a variant and number of photos, which stands in it: means over seeds.

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value, seconds``; shares in 0–1. A panel a source and target.
        metric: the one shown.

    Raises:
        ValueError: no rows of the metric.
    """
    raise NotImplementedError


@styled
def forgetting(table: pd.DataFrame) -> Figure:
    """What the net can still do on the old dataset once it has learnt the new people.

    Enrolling by class means leaves the net as it was: that is the line "before".

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, seed, metric,
            value``; shares in 0–1. A row of panels a source and target.

    Raises:
        ValueError: no rows of a metric of the old dataset.
    """
    raise NotImplementedError
