"""What several tests share: photos and datasets made with NumPy, and a net that is quick."""

import thesislib  # noqa: F401 # before PyTorch is loaded: its threads are to wait briefly

# isort: split

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from thesislib import paths
from thesislib.data.schema import COLUMNS
from thesislib.engine import checkpoint
from thesislib.models.heads import NOBODY
from thesislib.models.joint import JointNet
from thesislib.synthetic.parameters import VERSION

# The same examples in every run, however busy the machine is.
hypothesis.settings.register_profile("thesislib", deadline=None, derandomize=True)
hypothesis.settings.load_profile("thesislib")

ANCHORS = ((16.0, 20.0), (36.0, 40.0))
# Where a net may run on this machine.
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


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


PARTY = ("001", "NA", "Анна Ким")  # names that a table's reader may take for something else


@pytest.fixture
def party(tmp_path):
    """Folder of a dataset with several faces per photo, see :func:`make_party`."""
    return make_party(tmp_path)


def make_party(parent):
    """Make a dataset with several faces per photo, in two sessions; returns its folder.

    Everybody in ``PARTY`` is in six photos, three a session, alone and with others, strangers
    among them. One photo shows nobody, another only people nobody knows. A face is a patch that
    is the person's own.
    """
    size = (96, 72)
    alone = [(name,) for name in PARTY]
    together = [PARTY, PARTY[:2], ("", PARTY[2])]
    shown = [(session, faces) for session in ("01", "02") for faces in alone + together]
    shown += [("01", ()), ("02", ("", ""))]
    folder, rows = parent / "party", []
    (folder / "photos/лето 2020").mkdir(parents=True)
    for at, (session, faces) in enumerate(shown):
        name = f"photos/лето 2020/{at + 1:03d}.png"
        pixels = noise(size[1], size[0], seed=at) // 4
        for place, identity in enumerate(faces):
            left, top = 4 + 31 * place + at % 3, 20 + 3 * (at % 5)
            person = PARTY.index(identity) if identity else 3 + at + place
            patch = noise(7, 5, seed=1000 + person).repeat(4, axis=0).repeat(5, axis=1)
            pixels[top : top + 28, left : left + 25] = patch
            box = (left, top, left + 25, top + 28)
            rows.append(face(name, identity, box, session, *size))
        if not faces:
            rows.append(face(name, "", NO_BOX, session, *size))
        Image.fromarray(pixels).save(folder / name)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "annotations.csv", index=False)
    return folder


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    """Data, runs and tables of these tests alone."""
    for name in ("DATA", "RUNS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    return tmp_path


@pytest.fixture
def kept_folders(own_folders, pytestconfig, monkeypatch):
    """As ``own_folders``, but nets and exports stay, in pytest's cache, as a user's do in runs/.

    They are known by configuration and data; ``pytest --cache-clear`` makes them anew.
    """
    kept = pytestconfig.cache.mkdir(f"nets-{VERSION}")
    for name in ("DATA", "RUNS"):
        monkeypatch.setattr(paths, name, kept / name.lower())
    return own_folders


def student_net(**settings):
    """A net that reads faces at landmarks, from random weights, and knows nobody."""
    torch.manual_seed(0)
    usual = {"input_px": 96, "backbone": "dlib", "stride": 4, "pooling": 1, "embedding_dim": 128}
    usual |= {"normalised": True, "embedding_source": "landmarks"}
    return JointNet(NOBODY, [], **usual | settings).eval()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small net in the place of the published one."""
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "weights")
    net = student_net()
    net.save(tmp_path / "weights/default.safetensors")
    return net


def thin_net(seed=0, identities=("anna", "boris"), **settings):
    """A JointNet with cells of 32 px whose backbone is a small stand-in for a ResNet."""
    torch.manual_seed(seed)
    usual = {"input_px": 64, "pooling": 1, "embedding_dim": 8}
    net = JointNet(identities, ANCHORS, backbone="resnet18", **usual | settings)
    body = net.backbone
    body.layer1 = nn.Identity()
    for name, out in (("layer2", 64), ("layer3", 64), ("layer4", 512)):
        kernel = 1 if out == 512 else 3
        conv = nn.Conv2d(64, out, kernel, stride=2, padding=kernel // 2, bias=False)
        setattr(body, name, nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU()))
    return net
