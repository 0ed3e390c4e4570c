"""A checkpoint comes back whole, or is refused by name; a failed write leaves the old one."""

import errno
import pickle
import re

import pytest
import torch
from conftest import ANCHORS, DEVICES, noise, thin_net
from safetensors.torch import save_file

from thesislib.engine import checkpoint
from thesislib.engine.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_net,
    load_state,
    read_tensors,
    save_checkpoint,
    save_net,
    start_from,
    write_tensors,
)
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

RUN = {"data": "Анна", "seed": 0}
ABOUT = {"run": RUN, "step": 3, "history": [{"epoch": 1, "total": 0.1}]}


def trained(seed=0, steps=3):
    """A small net after some steps of an optimiser with momentum, in channels-last layout."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    for step in range(steps):
        one_step(net, optimiser, step)
    return net, optimiser


def one_step(net, optimiser, step):
    photos = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
    optimiser.zero_grad()
    net(photos).pow(2).mean().backward()
    optimiser.step()


def assert_equal_states(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "checkpoint.safetensors"


def test_a_checkpoint_comes_back_as_it_was_saved(path):
    net, optimiser = trained()
    save_checkpoint(path, net, optimiser, ABOUT)
    other, other_optimiser = trained(seed=1)
    assert load_checkpoint(path, other, other_optimiser, RUN) == ABOUT
    assert_equal_states(net, other)
    for step in (7, 8):
        one_step(net, optimiser, step)
        one_step(other, other_optimiser, step)
    assert_equal_states(net, other)


def test_a_checkpoint_of_another_training_is_refused_with_what_differs(path):
    net, optimiser = trained()
    save_checkpoint(path, net, optimiser, ABOUT)
    with pytest.raises(CheckpointError, match="of another training; seed, start differ"):
        load_checkpoint(path, net, optimiser, {**RUN, "seed": 1, "start": "x"})
    write_tensors(path, net.state_dict(), {})
    with pytest.raises(CheckpointError, match="no checkpoint of a training"):
        load_checkpoint(path, net, optimiser, RUN)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_missing_checkpoint_is_refused(path):
    assert "no such checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint_is_refused(path, share):
    write_tensors(path, trained()[0].state_dict(), ABOUT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or not a checkpoint" in refusal(path)


@pytest.mark.parametrize("metadata", [None, {}, {"other": "1"}, {"about": "{half"}])
def test_a_safetensors_file_that_is_no_checkpoint_is_refused(path, metadata):
    path.parent.mkdir()
    save_file({"a": torch.zeros(2)}, path, metadata=metadata)
    assert "truncated or not a checkpoint" in refusal(path)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "write",
    [
        torch.save,
        lambda bomb, path: torch.save(bomb, path, _use_new_zipfile_serialization=False),
        *(
            lambda bomb, path, protocol=protocol: path.write_bytes(pickle.dumps(bomb, protocol))
            for protocol in (2, 3, 4, 5)
        ),
    ],
)
def test_a_pickle_is_refused_and_its_code_not_executed(path, tmp_path, write):
    path.parent.mkdir()
    mark = tmp_path / "executed"
    write(Bomb(mark), path)
    assert "pickle, which can carry code; it was not opened" in refusal(path)
    assert not mark.exists()
    with path.open("rb") as file:  # the bomb is a real one
        if file.read(2) != b"PK":
            file.seek(0)
            try:
                while not mark.exists():
                    pickle.load(file)
            except pickle.UnpicklingError:
                assert mark.exists()


@pytest.mark.parametrize("what", ["weights", "about"])
def test_an_altered_checkpoint_is_refused(path, what):
    write_tensors(path, trained()[0].state_dict(), ABOUT)
    whole = bytearray(path.read_bytes())
    at = len(whole) - 7 if what == "weights" else whole.index(b"total") + 1
    whole[at] ^= 1
    path.write_bytes(whole)
    assert "damaged or altered" in refusal(path)


def test_weights_of_another_net_are_refused(path):
    tensors = trained()[0].state_dict()
    wider = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5))
    deeper = torch.nn.Sequential(*trained()[0], torch.nn.Conv2d(4, 4, 1))
    for other in (wider, deeper, torch.nn.Conv2d(3, 4, 3)):
        with pytest.raises(CheckpointError, match=re.escape(f"{path}: weights of another model")):
            load_state(other, tensors, path)


def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_beside_it(path, monkeypatch):
    save_checkpoint(path, *trained(), ABOUT)
    before = path.read_bytes()

    def half(tensors, aside, metadata):
        aside.write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(aside))

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(path, *trained(seed=1), ABOUT)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_safetensors_cannot_write_is_an_os_error_that_names_the_file(path):
    resource = pytest.importorskip("resource")  # not on Windows
    save_checkpoint(path, *trained(), ABOUT)
    before = path.read_bytes()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
    try:
        with pytest.raises(OSError, match=re.escape(f"{path}: cannot be written")):
            save_checkpoint(path, *trained(seed=1), ABOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match=re.escape(f"{path / 'a'}: cannot be written")):
        write_tensors(path / "a", {}, {})


# Beginning with another run's weights


def test_start_from_takes_everything_but_the_people_and_the_anchors(path):
    source, net = thin_net(seed=0), thin_net(seed=1, identities=("x", "y"))
    net.anchors += 1
    write_tensors(path, source.state_dict(), {})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    taken = start_from(net, path)
    own = {"anchors", "classifier.conv.weight", "classifier.conv.bias"}
    assert set(taken) == set(before) - own and taken == sorted(taken)
    for name, value in net.state_dict().items():
        wanted = before[name] if name in own else source.state_dict()[name]
        assert torch.equal(value, wanted), name
    assert not torch.equal(before["backbone.conv1.weight"], net.backbone.conv1.weight)


def test_start_from_leaves_what_has_another_shape(path):
    source, net = thin_net(seed=0), thin_net(seed=1, identities=("x", "y", "z"))
    write_tensors(path, source.state_dict(), {})
    net.embedding_head = torch.nn.Conv2d(512, 6, 1)
    before = net.embedding_head.weight.clone()
    taken = start_from(net, path)
    assert "regression_head.weight" in taken and "embedding_head.weight" not in taken
    assert torch.equal(net.embedding_head.weight, before)


def test_start_from_a_file_in_which_nothing_fits_is_refused(path):
    write_tensors(path, trained()[0].state_dict(), {})
    net = thin_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: no weights in it fit")):
        start_from(net, path)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# Nets that stand alone


def untrained(kind, **settings):
    torch.manual_seed(0)
    names = ["001", "NA", "Анна Ким"]
    if kind is FaceClassifier:
        return FaceClassifier(names, 64, "resnet18", embedding_dim=8, **settings)
    return JointNet(names, ANCHORS, 96, "resnet18", embedding_dim=8, **settings)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (JointNet, {}),
        (JointNet, {"normalised": True, "scale": 16.0, "embedding_source": "roi", "pooling": 1}),
        (JointNet, {"stride": 16, "pooling": 4}),
        (FaceClassifier, {"normalised": True}),
    ],
)
def test_a_saved_net_opens_by_itself(tmp_path, kind, settings, device):
    net = untrained(kind, **settings)
    net.provenance = {"data": "abc", "seed": 3, "history": [{"epoch": 1, "total": 0.5}]}
    save_net(tmp_path / "run", net)
    loaded = load_net(str(tmp_path / "run"), device=device)
    assert type(loaded) is kind and not loaded.training and loaded.device.type == device
    assert loaded.identities == ["001", "NA", "Анна Ким"]
    assert loaded.settings == net.settings and loaded.provenance == net.provenance
    assert_equal_states(loaded.cpu(), net)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["net.safetensors"]


def test_a_loaded_net_answers_as_the_one_that_was_saved(tmp_path):
    net = untrained(JointNet).eval()
    net.save(tmp_path / "net.safetensors")
    loaded = load_net(tmp_path / "net.safetensors", "cpu")
    photo = noise(120, 90)
    found, again = (one.predict(photo, score_threshold=0.01) for one in (net, loaded))
    assert found and len(found) == len(again)
    for one, other in zip(found, again, strict=True):
        assert one.name == other.name and one.score == other.score
        assert (one.box == other.box).all() and (one.embedding == other.embedding).all()


def test_the_fingerprint_is_of_what_embeds_not_of_who_is_known():
    net = untrained(JointNet)
    before = net.fingerprint
    net.identities[0] = "somebody"
    net.classifier.conv.weight.data += 1
    assert net.fingerprint == before
    net.embedding_head.weight.data[0, 0] += 1
    assert net.fingerprint != before


def test_a_file_of_something_else_or_of_a_later_version_is_no_net(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.zeros(2)}, {"format": "gallery"})
    with pytest.raises(CheckpointError, match="not a net of this project"):
        load_net(path)
    save_net(path, untrained(JointNet))
    tensors, about = read_tensors(path)
    write_tensors(path, tensors, about | {"version": 99})
    with pytest.raises(CheckpointError, match="version 99 of the format; this code reads 1"):
        load_net(path)
    with pytest.raises(CheckpointError, match="no such net"):
        load_net(tmp_path / "nothing")


def test_a_net_that_could_not_be_built_again_is_not_saved(tmp_path):
    class Other(JointNet):
        pass

    with pytest.raises(CheckpointError, match="Other: no net that can be saved"):
        save_net(tmp_path, Other(["a"], ANCHORS, backbone="resnet18"))
    assert not any(tmp_path.iterdir())
