"""How much faster the training loop is than the same loop written naively, side by side.

Naive: photos decoded one by one from their files when they are needed, contiguous NCHW, fp32,
torchvision's ResNet as it is, plain AdamW. Both train the same network on the same crops. On the
command line::

    python -m thesislib training-speed [--data <folder>] [--profile quick] [--rounds 5]
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from thesislib.benchmarks.limits import peak_flops, training_flops
from thesislib.data.images import read_photo
from thesislib.data.loading import (
    Crops,
    EpochBatches,
    Photo,
    collate,
    list_photos,
    training_batches,
)
from thesislib.data.transforms import Augmentation
from thesislib.engine.optimiser import make_optimiser, precision
from thesislib.engine.timing import take_turns
from thesislib.engine.train import WithLoss, joint_loss, training_crops
from thesislib.experiments.config import Config, parts
from thesislib.experiments.systems import new_joint
from thesislib.models.backbone import RESNETS
from thesislib.models.convolutions import use_channels_last


class FileStore:
    """Photos decoded anew at each access."""

    def __init__(self, folder: Path, photos: list[Photo]) -> None:
        self.folder, self.photos = folder, photos

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, at: int) -> torch.Tensor:
        return torch.from_numpy(read_photo(self.folder / self.photos[at].name)).permute(2, 0, 1)


def _naive(config: Config) -> Callable[[int], None]:
    train, p = parts(config).train, config.profile
    photos = list_photos(train, train.identities)
    augmentation = Augmentation(p.crop_scale, p.flip, p.colour)
    store = FileStore(train.folder, photos)
    crops = Crops(photos, store, p.input_px, augmentation, config.seed)  # type: ignore[arg-type]
    model = WithLoss(new_joint(config), joint_loss(p)).train()
    net: Any = model.net
    net.backbone = RESNETS[p.backbone]()  # every map convolved
    net.backbone.fc = torch.nn.Identity()
    net.normalise.layout = torch.contiguous_format
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=False, fused=False)
    keys = _keys(config, len(crops))

    def steps(count: int) -> None:
        for _ in range(count):
            photos, targets = collate([crops[key] for key in next(keys)])
            loss = model(photos, targets)["total"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return steps


def _ours(config: Config) -> Callable[[int], None]:
    train, p = parts(config).train, config.profile
    photos = list_photos(train, train.identities)
    crops = training_crops(train, photos, p, config.seed, progress=False)
    model = WithLoss(new_joint(config), joint_loss(p)).train()
    use_channels_last(model)
    optimiser = make_optimiser(model, p)
    sampler = EpochBatches(len(crops), p.batch, 1000, config.seed)
    batches = iter(training_batches(crops, sampler, p.workers))

    def steps(count: int) -> None:
        for _ in range(count):
            photos, targets = next(batches)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision() == "bf16"):
                loss = model(photos, targets)["total"]
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return steps


def _keys(config: Config, photos: int) -> Iterator[list[tuple[int, int]]]:
    return iter(EpochBatches(photos, config.profile.batch, 1000, config.seed))


def compare(config: Config, rounds: int = 5, steps: int = 4) -> pd.DataFrame:
    """Time both loops turn by turn.

    Args:
        config: data and settings.
        rounds: turns of each loop.
        steps: training steps a turn.

    Returns:
        one row per loop and turn: ``loop, turn, photos_per_second``.
    """

    def of(loop: Callable[[int], None]) -> Callable:
        return lambda _: loop(steps)

    loops = {"naive": [("total", of(_naive(config)))], "ours": [("total", of(_ours(config)))]}
    table = take_turns(loops, [np.empty(0)], rounds, warm_ups=1)
    photos = steps * config.profile.batch
    return table.assign(loop=table["system"], photos_per_second=1000 * photos / table["ms"])[
        ["loop", "turn", "photos_per_second"]
    ]


def summary(config: Config, table: pd.DataFrame) -> str:
    """What :func:`compare` found, in words: the ratio of turns is what may be quoted."""
    median = table.groupby("loop")["photos_per_second"].median()
    turns = table.pivot(index="turn", columns="loop", values="photos_per_second")
    ratio = float(np.median(turns["ours"] / turns["naive"]))
    operations = training_flops(new_joint(config), config.profile.input_px)
    share = median["ours"] * operations / peak_flops()
    return (
        f"naive {median['naive']:.1f} photos/s, ours {median['ours']:.1f} photos/s\n"
        f"ratio, median of {len(turns)} turns: {ratio:.2f}\n"
        f"share of measured peak: {share:.0%}; threads: {torch.get_num_threads()}"
    )
