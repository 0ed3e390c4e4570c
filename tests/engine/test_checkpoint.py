"""A checkpoint comes back whole, or is refused by name; a failed write leaves the old one."""

import errno
import pickle
import re

import pytest
import torch
from conftest import thin_net
from safetensors.torch import save_file

pass
from thesislib.engine.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    load_optimiser,
    save_checkpoint,
    start_from,
)

ABOUT = {"run": "Анна", "step": 3, "history": [{"epoch": 1, "total": 0.1}]}


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
    save_checkpoint(path, net, ABOUT, optimiser)
    tensors, about = load_checkpoint(path)
    assert about == ABOUT
    other, other_optimiser = trained(seed=1)
    load_model(other, tensors)
    load_optimiser(other_optimiser, tensors)
    assert_equal_states(net, other)
    for step in (7, 8):
        one_step(net, optimiser, step)
        one_step(other, other_optimiser, step)
    assert_equal_states(net, other)


def test_a_checkpoint_without_an_optimiser_holds_the_weights_alone(path):
    net, _ = trained()
    save_checkpoint(path, net, {})
    tensors, about = load_checkpoint(path)
    assert set(tensors) == {f"model.{name}" for name in net.state_dict()} and about == {}


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_missing_checkpoint_is_refused(path):
    assert "no such checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint_is_refused(path, share):
    save_checkpoint(path, trained()[0], ABOUT)
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
                pass
            assert mark.exists()


def test_weights_of_another_net_are_refused(path):
    save_checkpoint(path, trained()[0], {})
    tensors, _ = load_checkpoint(path)
    wider = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5))
    deeper = torch.nn.Sequential(*trained()[0], torch.nn.Conv2d(4, 4, 1))
    for other in (wider, deeper, torch.nn.Conv2d(3, 4, 3)):
        with pytest.raises(CheckpointError, match=re.escape(f"{path}: weights of another model")):
            load_model(other, tensors, path)


def test_a_full_disk_leaves_the_old_checkpoint_and_nothing_beside_it(path, monkeypatch):
    save_checkpoint(path, trained()[0], ABOUT)
    before = path.read_bytes()

    def half(tensors, aside, metadata):
        aside.write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(aside))

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(path, trained(seed=1)[0], ABOUT)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# Beginning with another run's weights


def test_start_from_takes_everything_but_the_people_and_the_anchors(path):
    source, net = thin_net(seed=0), thin_net(seed=1, identities=("x", "y"))
    net.anchors += 1
    save_checkpoint(path, source, {})
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
    save_checkpoint(path, source, {}, torch.optim.AdamW(source.parameters()))
    net.embedding_head = torch.nn.Conv2d(512, 6, 1)
    before = net.embedding_head.weight.clone()
    taken = start_from(net, path)
    assert "regression_head.weight" in taken and "embedding_head.weight" not in taken
    assert torch.equal(net.embedding_head.weight, before)


def test_start_from_a_file_in_which_nothing_fits_is_refused(path):
    save_checkpoint(path, trained()[0], {})
    net = thin_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: no weights in it fit")):
        start_from(net, path)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
