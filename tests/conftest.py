"""What several tests share: photos and datasets made with NumPy, and a net that is quick."""

import os

# Bit-equal runs are promised on the CPU alone.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from thesislib.data.schema import COLUMNS
from thesislib.models.joint import JointNet
from thesislib.models.loss import JointLoss

ANCHORS = ((16.0, 20.0), (36.0, 40.0))


def noise(height, width, seed=0):
    """A uint8 photo [H, W, 3] unlike that of any other seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_boxes(rng, count, size=128, low=8, high=60):
    """Boxes float32 [count, 4] whose centres lie in a photo of ``size`` x ``size`` pixels."""
    middle = rng.uniform(0, size, (count, 2))
    half = rng.uniform(low, high, (count, 2)) / 2
    return torch.tensor(np.concatenate([middle - half, middle + half], axis=1), dtype=torch.float32)


def face(photo, identity="anna", box=(5, 4, 25, 24), session="", width=48, height=32):
    """One row of annotations."""
    return dict(zip(COLUMNS, (photo, identity, session, width, height, *box), strict=True))


NO_BOX = (None, None, None, None)


@pytest.fixture
def write_dataset(tmp_path):
    """Function that writes rows, and for each photo they name an image, to a folder."""

    def write(rows, name="people", equal=()):
        folder = tmp_path / name
        for at, photo in enumerate(dict.fromkeys(row["photo"] for row in rows)):
            row = next(row for row in rows if row["photo"] == photo)
            path = folder / photo
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = 999 if photo in equal else at
            Image.fromarray(noise(int(row["height"]), int(row["width"]), seed)).save(path)
        pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "annotations.csv", index=False)
        return folder

    return write


def thin_net(seed=0, identities=("anna", "boris"), embedding_source="grid", **loss):
    """A JointNet with cells of 32 px whose backbone is a small stand-in for a ResNet."""
    torch.manual_seed(seed)
    net = JointNet(
        identities,
        ANCHORS,
        "resnet18",
        pooling=1,
        embedding_dim=8,
        loss=JointLoss(**loss),
        embedding_source=embedding_source,
    )
    body = net.backbone
    body.layer1 = nn.Identity()
    for name, out in (("layer2", 64), ("layer3", 64), ("layer4", 512)):
        kernel = 1 if out == 512 else 3
        conv = nn.Conv2d(64, out, kernel, stride=2, padding=kernel // 2, bias=False)
        setattr(body, name, nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU()))
    return net
