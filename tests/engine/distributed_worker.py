"""Trains the thin net on the dataset of ``test_train.py``: under ``torchrun``, killed, or whole.

    python distributed_worker.py DATASET RUN [frozen | killed]

``frozen``: batch norm stands still, since on the CPU its statistics are each process's own, and
arithmetic is fp32, since bf16 rounds the sums of half a batch otherwise than those of a whole one.
``killed``: a checkpoint is written at every step, and the process kills itself in the second
epoch with the worst of signals.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from conftest import thin_net
from torchvision.ops import FrozenBatchNorm2d

from thesislib.data.loading import Crops, PhotoStore, list_photos
from thesislib.data.schema import read_dataset
from thesislib.data.transforms import Augmentation
from thesislib.engine import train
from thesislib.models.loss import JointLoss
from thesislib.profiles import Profile

PROFILE = Profile("tiny", input_px=64, epochs=2, batch=4, warm_up=0.3, learning_rate=1e-3)
RUN = {"dataset": "tiny", "seed": 0}
KILLED_AFTER = 4  # steps, of three an epoch


def crops_of(folder):
    """Crops of 64 px of all photos."""
    data = read_dataset(folder)
    photos = list_photos(data, ["anna", "boris"])
    store = PhotoStore(data, photos, 64, progress=False)
    return Crops(photos, store, 64, Augmentation((0.8, 1.1)), seed=0)


def freeze(module):
    """Put batch norm of fixed statistics in the place of each that learns them."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features))
        freeze(child)


def run(dataset, folder, frozen=False, **options):
    """Train, and return the net and its history."""
    net = thin_net()
    if frozen:
        freeze(net)
    crops = crops_of(dataset)
    history = train.fit(net, JointLoss(), crops, PROFILE, 0, folder, RUN, progress=False, **options)
    return net, history


def kill_after(steps):
    """Make the process die when it begins to write the checkpoint after ``steps`` steps."""
    save, train.CHECKPOINT_SECONDS = train.save_checkpoint, 0.0

    def save_or_die(path, model, optimiser, about):
        if about["step"] == steps + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        save(path, model, optimiser, about)

    train.save_checkpoint = save_or_die


if __name__ == "__main__":
    mode = sys.argv[3] if len(sys.argv) > 3 else ""
    if mode == "killed":
        kill_after(KILLED_AFTER)
    if mode == "frozen":
        train.precision = lambda: "fp32"
    _, history = run(Path(sys.argv[1]), Path(sys.argv[2]), frozen=mode == "frozen")
    if int(os.environ.get("RANK", 0)) == 0:
        (Path(sys.argv[2]) / "history.json").write_text(json.dumps(history))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
