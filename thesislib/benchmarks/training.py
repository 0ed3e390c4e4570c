"""How much faster the training loop is than the same loop written naively, side by side.

Naive: photos decoded one by one from their files when they are needed, contiguous NCHW, fp32,
torchvision's ResNet as it is, plain AdamW. Both train the same network on the same crops. Command
line::

    python -m thesislib.training_speed [--data <folder>] [--profile quick] [--rounds 5]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from thesislib import paths
from thesislib.benchmarks.limits import peak_flops, training_flops
from thesislib.data.images import read_photo
from thesislib.data.loading import Crops, EpochBatches, Photo, PhotoStore, collate, training_batches
from thesislib.data.transforms import Augmentation
from thesislib.engine.train import make_optimiser, precision
from thesislib.experiments.baseline_comparison import Experiment
from thesislib.models.backbone import BACKBONES
from thesislib.models.convolutions import use_channels_last
from thesislib.profiles import get_profile


class FileStore:
    """Photos decoded anew at each access."""

    def __init__(self, folder: Path, photos: list[Photo]) -> None:
        self.folder, self.photos = folder, photos

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, at: int) -> torch.Tensor:
        return torch.from_numpy(read_photo(self.folder / self.photos[at].name)).permute(2, 0, 1)


def _crops(experiment: Experiment, store) -> Crops:
    p = experiment.profile
    augmentation = Augmentation(p.crop_scale, p.flip, p.colour)
    return Crops(experiment.train_photos, store, p.input_px, augmentation, experiment.seed)


def _naive(experiment: Experiment) -> Callable[[int], None]:
    crops = _crops(experiment, FileStore(experiment.dataset.folder, experiment.train_photos))
    net = experiment.new_net("joint").train()
    net.backbone = BACKBONES[experiment.profile.backbone]()  # every map convolved
    net.backbone.fc = torch.nn.Identity()
    net.normalise.layout = torch.contiguous_format
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4, foreach=False, fused=False)
    batches = iter(_sampler(experiment, len(crops)))

    def steps(count: int) -> None:
        for _ in range(count):
            photos, targets = collate([crops[key] for key in next(batches)])
            loss = net(photos, targets)["total"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return steps


def _ours(experiment: Experiment) -> Callable[[int], None]:
    p = experiment.profile
    stored_px = round(p.input_px / min(1.0, p.crop_scale[0]))
    store = PhotoStore(experiment.dataset, experiment.train_photos, stored_px, progress=False)
    crops = _crops(experiment, store)
    net = experiment.new_net("joint").train()
    use_channels_last(net)
    optimiser = make_optimiser(net, p)
    batches = iter(training_batches(crops, _sampler(experiment, len(crops)), p.workers))

    def steps(count: int) -> None:
        for _ in range(count):
            photos, targets = next(batches)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision() == "bf16"):
                loss = net(photos, targets)["total"]
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return steps


def _sampler(experiment: Experiment, photos: int) -> EpochBatches:
    return EpochBatches(photos, experiment.profile.batch, 1000, experiment.seed)


def compare(experiment: Experiment, rounds: int = 5, steps: int = 4) -> pd.DataFrame:
    """Time both loops turn by turn.

    Args:
        experiment: data and settings.
        rounds: turns of each loop.
        steps: training steps a turn.

    Returns:
        one row a loop and turn: ``loop, turn, photos_per_second``.
    """
    loops = {"naive": _naive(experiment), "ours": _ours(experiment)}
    rows = []
    for turn in range(-1, rounds):  # turn -1 warms up
        for name, loop in loops.items():
            began = time.perf_counter()
            loop(steps)
            seconds = time.perf_counter() - began
            rows.append((name, turn, steps * experiment.profile.batch / seconds))
    table = pd.DataFrame(rows, columns=["loop", "turn", "photos_per_second"])
    return table[table["turn"] >= 0]


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m thesislib.training_speed")
    parser.add_argument("--data", type=Path, help="dataset folder; else synthetic people")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    profile = get_profile(arguments.profile)
    data = arguments.data or paths.synthetic(profile.people)
    experiment = Experiment(data, "photo", profile)
    experiment.prepare()
    table = compare(experiment, arguments.rounds)
    median = table.groupby("loop")["photos_per_second"].median()
    turns = table.pivot(index="turn", columns="loop", values="photos_per_second")
    ratio = float(np.median(turns["ours"] / turns["naive"]))
    flops = training_flops(experiment.new_net("joint"), experiment.profile.input_px)
    share = median["ours"] * flops / peak_flops()
    print(f"naive {median['naive']:.1f} photos/s, ours {median['ours']:.1f} photos/s")
    print(f"ratio, median of {len(turns)} turns: {ratio:.2f}")
    print(f"share of measured peak: {share:.0%}; threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
