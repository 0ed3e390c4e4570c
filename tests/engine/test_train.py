"""A run that was interrupted, killed or shared among processes ends as one that was not."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import distributed_worker as worker
import pytest
import torch
from conftest import ANCHORS, NO_BOX, face, thin_net

from thesislib.benchmarks import limits
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.engine import optimiser as rates
from thesislib.engine import train
from thesislib.engine.checkpoint import CheckpointError, load_net, read_tensors
from thesislib.engine.interruption import held_back
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import IdentityLoss, JointLoss
from thesislib.profiles import Profile
from thesislib.storage import FolderInUseError, bytes_hash, folder_lock

TIMES = ("photos_per_second", "data_wait_share")
WORKER = Path(worker.__file__)


@pytest.fixture
def dataset(write_dataset):
    """Twelve photos with none, one, two or three faces, of known and of unknown people."""
    rows = []
    for at in range(12):
        size = {"width": 90, "height": 70}
        boxes = [(5, 5, 25, 30), (35, 20, 70, 62), (68, 3, 86, 20)][: at % 4]
        for box, who in zip(boxes, ("anna", "boris", ""), strict=False):
            rows.append(face(f"{at:02}.png", who, box, **size))
        if not boxes:
            rows.append(face(f"{at:02}.png", "", NO_BOX, **size))
    return write_dataset(rows)


def losses_of(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history]


def assert_same_run(one, other):
    """Bit for bit: weights, running statistics and losses."""
    for (name, value), again in zip(
        one[0].state_dict().items(), other[0].state_dict().values(), strict=True
    ):
        assert torch.equal(value, again), name
    assert losses_of(one[1]) == losses_of(other[1])


def finished(process):
    """Output of a subprocess, which it waits for."""
    out, _ = process.communicate(timeout=300)
    return out


def start(*command):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(WORKER.parent), str(WORKER.parents[1]), str(WORKER.parents[2])]
        ),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


# The schedule


@pytest.mark.parametrize(("steps", "warm_up"), [(100, 0.2), (7, 0.0), (10, 1.0), (1, 0.3)])
def test_the_learning_rate_against_a_loop(steps, warm_up):
    rising = max(1, round(steps * warm_up))
    for step in range(steps):
        if step < rising:
            wanted = 0.003 / rising * (step + 1)
        else:
            wanted = 0.003 * math.cos(math.pi / 2 * (step - rising) / (steps - rising)) ** 2
        told = rates.learning_rate(step, steps, 0.003, warm_up)
        assert told == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_part_may_learn_at_a_share_of_the_rate():
    net = thin_net()
    net.embedding_head.learning_share = 0.1
    shares = {}
    for group in rates.make_optimiser(net, Profile("x")).param_groups:
        shares |= {id(parameter): group["share"] for parameter in group["params"]}
    for name, parameter in net.named_parameters():
        assert shares[id(parameter)] == (0.1 if name.startswith("embedding_head") else 1.0)


def test_only_matrices_and_kernels_are_decayed():
    net = train.WithLoss(thin_net(), JointLoss(learned=True))
    decayed, spared = rates.make_optimiser(net, Profile("x", weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    kernels = {names[id(parameter)] for parameter in decayed["params"]}
    rest = {names[id(parameter)] for parameter in spared["params"]}
    assert kernels | rest == set(names.values()) and not kernels & rest
    assert "net.backbone.conv1.weight" in kernels
    assert {"net.backbone.bn1.weight", "net.regression_head.bias", "loss.log_variances"} <= rest


# Runs


def test_the_loss_goes_down_and_the_history_has_its_columns(dataset, tmp_path):
    net = thin_net()
    profile = Profile("tiny", epochs=12, batch=6, learning_rate=3e-3)
    crops = worker.crops_of(dataset)
    history = train.fit(net, JointLoss(), crops, profile, 0, tmp_path / "run", {}, progress=False)
    terms = {"box", "confidence", "no_object", "identity", "identity_accuracy", "total"}
    for epoch, row in enumerate(history, 1):
        assert set(row) == {"epoch", *terms, *TIMES} and row["epoch"] == epoch
        assert row["photos_per_second"] > 0 and 0 < row["data_wait_share"] < 1
        total = 2 * row["box"] + row["confidence"] + row["no_object"] + row["identity"]
        assert row["total"] == pytest.approx(total, rel=1e-4)
    assert len(history) == 12
    assert history[-1]["total"] < 0.6 * history[0]["total"]


def test_a_net_just_trained_answers_as_the_same_net_loaded(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "precision", lambda: "bf16")
    net = FaceClassifier(["anna", "boris"], 64, "resnet18", embedding_dim=8)
    profile = Profile("tiny", epochs=1, batch=6)
    crops = worker.crops_of(dataset)
    train.fit(net, IdentityLoss(), crops, profile, 0, tmp_path / "run", {}, progress=False)
    loaded = FaceClassifier(["anna", "boris"], 64, "resnet18", embedding_dim=8)
    loaded.load_state_dict(net.state_dict())
    photos = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(photos), loaded.eval()(photos), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stops", [[2], [3], [1, 1, 3]])
def test_a_run_that_stops_and_goes_on_equals_one_that_does_not(dataset, tmp_path, stops):
    whole = worker.run(dataset, tmp_path / "whole")
    assert len(whole[1]) == 2
    for stop in stops:
        worker.run(dataset, tmp_path / "parts", stop_after=stop)
    assert read_tensors(tmp_path / "parts" / train.CHECKPOINT)[1]["step"] == sum(stops)
    assert_same_run(worker.run(dataset, tmp_path / "parts"), whole)
    # A finished run is not trained any further.
    assert_same_run(worker.run(dataset, tmp_path / "parts"), whole)


def test_a_real_net_that_stops_and_goes_on_equals_one_that_does_not(dataset, tmp_path):
    crops, profile = worker.crops_of(dataset), Profile("tiny", epochs=1, batch=4)

    def run(name, stop=None):
        torch.manual_seed(0)
        net = JointNet(["anna", "boris"], ANCHORS, 64, "resnet18", pooling=1, embedding_dim=8)
        folder = tmp_path / name
        fitted = train.fit(net, JointLoss(), crops, profile, 0, folder, {}, False, stop_after=stop)
        return net, fitted

    whole = run("whole")
    run("parts", stop=2)
    assert_same_run(run("parts"), whole)


@pytest.mark.parametrize("embedding_source", ["grid", "roi"])
def test_gradients_and_weights_are_laid_out_alike(dataset, tmp_path, embedding_source):
    # AdamW's fused steps on a CPU are wrong, without a word, where they are not.
    net = JointNet(
        ["anna", "boris"],
        ANCHORS,
        64,
        "resnet18",
        embedding_dim=8,
        embedding_source=embedding_source,
    )
    profile = Profile("tiny", epochs=1, batch=4)
    crops = worker.crops_of(dataset)
    train.fit(net, JointLoss(), crops, profile, 0, tmp_path, {}, False, stop_after=1)
    for name, weight in net.named_parameters():
        assert weight.grad.stride() == weight.stride(), name


def test_training_leaves_how_new_tensors_are_filled_as_it_was(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    worker.run(dataset, tmp_path, stop_after=1)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_killed_run_goes_on_to_the_same_end(dataset, tmp_path):
    process = start(WORKER, dataset, tmp_path / "killed", "killed")
    whole = worker.run(dataset, tmp_path / "whole")
    out = finished(process)
    assert process.returncode == -signal.SIGKILL, out
    step = read_tensors(tmp_path / "killed" / train.CHECKPOINT)[1]["step"]
    assert step == worker.KILLED_AFTER and step % 3 != 0
    assert_same_run(worker.run(dataset, tmp_path / "killed"), whole)


def test_two_processes_train_as_one_does(dataset, tmp_path):
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    processes = {
        "two": start(*launch, WORKER, dataset, tmp_path / "two", "frozen"),
        "one": start(WORKER, dataset, tmp_path / "one", "frozen"),
    }
    histories, weights = {}, {}
    for name, process in processes.items():
        out = finished(process)
        assert process.returncode == 0, out
        histories[name] = json.loads((tmp_path / name / "history.json").read_text())
        weights[name], _ = read_tensors(tmp_path / name / train.CHECKPOINT)
    rows = zip(losses_of(histories["one"]), losses_of(histories["two"]), strict=True)
    for row, other in rows:
        assert set(row) == set(other)
        for name, value in row.items():
            assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    fresh = thin_net()
    worker.freeze(fresh)
    for name, value in fresh.named_parameters():
        whole, shared = (weights[run][f"model.net.{name}"] for run in ("one", "two"))
        assert (shared - whole).norm() < 0.02 * (whole - value).norm(), name


# Refused


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(dataset, tmp_path):
    worker.run(dataset, tmp_path, stop_after=1)
    before = (tmp_path / train.CHECKPOINT).read_bytes()
    other = {"dataset": "tiny", "seed": 1, "start": "abc"}
    with pytest.raises(CheckpointError, match="of another training; seed, start differ"):
        crops = worker.crops_of(dataset)
        train.fit(thin_net(), JointLoss(), crops, worker.PROFILE, 0, tmp_path, other)
    assert (tmp_path / train.CHECKPOINT).read_bytes() == before


def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(dataset, tmp_path):
    (tmp_path / train.CHECKPOINT).write_bytes(b"half of a checkpoint")
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint"):
        worker.run(dataset, tmp_path)
    assert (tmp_path / train.CHECKPOINT).read_bytes() == b"half of a checkpoint"


def test_a_second_run_in_the_same_folder_is_refused(dataset, tmp_path):
    with (
        folder_lock(tmp_path / "run"),
        pytest.raises(FolderInUseError, match="another run is writing here"),
    ):
        worker.run(dataset, tmp_path / "run")
    assert not (tmp_path / "run" / train.CHECKPOINT).exists()
    worker.run(dataset, tmp_path / "run", stop_after=1)


@pytest.fixture
def listening():
    """Ctrl-C as in a terminal; a suite in the background is started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class InterruptedLoss(JointLoss):
    """Ctrl-C comes in the middle of the second step, when running statistics have moved."""

    steps, times = 0, 1

    def forward(self, *arguments):
        self.steps += 1
        for _ in range(self.times if self.steps == 2 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(*arguments)


def interrupted_run(dataset, folder, workers=0, times=1):
    loss, crops = InterruptedLoss(), worker.crops_of(dataset)
    loss.times = times
    profile = dataclasses.replace(worker.PROFILE, workers=workers)
    with pytest.raises(KeyboardInterrupt):
        train.fit(thin_net(), loss, crops, profile, 0, folder, worker.RUN, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return loss.steps


@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_ends_after_the_step_under_way_and_loses_nothing(
    dataset, tmp_path, workers, listening
):
    whole = worker.run(dataset, tmp_path / "whole")
    assert interrupted_run(dataset, tmp_path / "run", workers) == 2
    assert read_tensors(tmp_path / "run" / train.CHECKPOINT)[1]["step"] == 2
    assert_same_run(worker.run(dataset, tmp_path / "run"), whole)


def test_a_second_ctrl_c_ends_at_once_with_the_checkpoint_before(
    dataset, tmp_path, monkeypatch, listening
):
    whole = worker.run(dataset, tmp_path / "whole")
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    interrupted_run(dataset, tmp_path / "run", times=2)
    assert read_tensors(tmp_path / "run" / train.CHECKPOINT)[1]["step"] == 1
    assert_same_run(worker.run(dataset, tmp_path / "run"), whole)


def test_ctrl_c_at_the_end_of_a_training_is_not_forgotten(listening):
    with pytest.raises(KeyboardInterrupt), held_back() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
    with pytest.raises(ValueError, match="another error"), held_back():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("another error")
    with ThreadPoolExecutor(1) as thread:  # where no signal can be held back

        def ask():
            with held_back() as interrupted:
                return interrupted()

        assert thread.submit(ask).result() is False


def test_what_a_killed_run_left_half_written_is_swept_away(dataset, tmp_path):
    folder = tmp_path / "run"
    halves = [folder / ".tmpAbCd12", folder / ".0123456789abcdef.part.safetensors"]
    folder.mkdir()
    for half in halves:
        half.write_bytes(b"half")
    with folder_lock(folder), pytest.raises(FolderInUseError):
        worker.run(dataset, folder)
    assert all(half.exists() for half in halves)  # of the run that holds the folder, maybe
    worker.run(dataset, folder, stop_after=1)
    assert {path.name for path in folder.iterdir()} - {".lock"} == {train.CHECKPOINT}


class LossOfNan(torch.nn.Module):
    """Its loss is not a number from the third step on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.seen = []

    def forward(self, net, outputs, targets):
        self.seen.append([target["photo"] for target in targets])
        worth = math.nan if len(self.seen) == 3 else 1.0
        total = (self.weight * worth).sum() + 0 * outputs.sum()
        return {"box": total.detach(), "total": total}


def test_a_loss_that_is_not_finite_names_the_photos_and_spoils_nothing(
    dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    loss = LossOfNan()
    with pytest.raises(train.NonFiniteLossError) as caught:
        net = FaceClassifier(["anna"], 64, "resnet18", embedding_dim=8)
        train.fit(net, loss, worker.crops_of(dataset), worker.PROFILE, 0, tmp_path, {}, False)
    message = str(caught.value)
    assert "not finite at step 2 (epoch 0)" in message and "'box': nan" in message
    assert f"photos: {', '.join(loss.seen[2])}. Lower the learning rate" in message
    tensors, about = read_tensors(tmp_path / train.CHECKPOINT)
    assert about["step"] == 2 and all(value.isfinite().all() for value in tensors.values())
    assert torch.equal(loss.weight, tensors["model.loss.weight"])


# Costs


def test_flops_of_training_are_three_times_the_forward_ones():
    class OneConvolution(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 5, 3, padding=1)

        def forward(self, photos):
            return self.conv(photos.float())

    multiplications = 5 * 16 * 16 * 3 * 3 * 3
    assert limits.training_flops(OneConvolution(), 16) == 3 * 2 * multiplications
    assert limits.peak_flops(seconds=0.05) > 1e8


def test_settings_hold_what_changes_the_result_as_json():
    profile = Profile("x", workers=3)
    values = train.training_settings(profile)
    assert "workers" not in values and values["epochs"] == profile.epochs
    assert json.loads(json.dumps(values)) == values


# Whole trainings


TINY = Profile(
    "tiny",
    "resnet18",
    64,
    pooling=1,
    anchors=1,
    embedding_dim=8,
    normalised=True,
    epochs=1,
    batch=4,
)


def test_a_dataset_becomes_a_net_that_stands_alone(party, tmp_path):
    dataset = read_dataset(party)
    net = train.train(dataset, TINY, out=str(tmp_path / "net"), progress=False)
    assert net.identities == dataset.identities and not net.training
    assert [path.name for path in (tmp_path / "net").glob("*.safetensors")] == ["net.safetensors"]
    about = load_net(tmp_path / "net").provenance
    assert about["data"] == dataset.content_hash and about["seed"] == 0
    assert about["profile"]["epochs"] == 1 and about["precision"] in ("bf16", "fp32")
    assert about["start"] is None and about["commit"]
    assert [row["epoch"] for row in about["history"]] == [1]


def test_asked_again_it_opens_what_is_there_and_trains_nothing(party, tmp_path, monkeypatch):
    dataset = read_dataset(party)
    net = train.train(dataset, TINY, out=tmp_path, progress=False)
    monkeypatch.setattr(train, "fit", None)
    again = train.train(dataset, TINY, out=tmp_path, progress=False)
    for one, other in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"seed": 1}, "seed"),
        ({"profile": dataclasses.replace(TINY, batch=3)}, "profile"),
        ({"profile": dataclasses.replace(TINY, epochs=2)}, "profile"),
        ({"start": True}, "start"),
        ({"dataset": True}, "data"),
    ],
)
def test_two_different_trainings_never_share_a_folder(party, dataset, tmp_path, change, differs):
    usual = {"dataset": read_dataset(party), "profile": TINY, "seed": 0, "start": None}
    train.train(**usual, out=tmp_path, progress=False)
    before = (tmp_path / "net.safetensors").read_bytes()
    if "start" in change:
        change = {"start": tmp_path / "net.safetensors"}
    if "dataset" in change:
        change = {"dataset": read_dataset(dataset)}
    with pytest.raises(CheckpointError, match=f"of another training; {differs} differ"):
        train.train(**usual | change, out=tmp_path, progress=False)
    assert (tmp_path / "net.safetensors").read_bytes() == before


def test_a_training_may_begin_with_another_nets_weights(party, dataset, tmp_path):
    first = train.train(read_dataset(party), TINY, out=tmp_path / "first", progress=False)
    profile = dataclasses.replace(TINY, learning_rate=1e-12, weight_decay=0.0)
    data = read_dataset(dataset)
    second = train.train(
        data, profile, tmp_path / "second", start=tmp_path / "first", progress=False
    )
    weight = "backbone.conv1.weight"
    torch.testing.assert_close(first.state_dict()[weight], second.state_dict()[weight])
    assert second.provenance["start"] == bytes_hash(tmp_path / "first" / "net.safetensors")


def test_a_folders_name_is_no_dataset(party, tmp_path):
    with pytest.raises(TypeError, match=r"expected a Dataset, as tl\.read_dataset\(\.\.\.\) gives"):
        train.train(str(party), TINY, out=tmp_path / "net", progress=False)
    assert not (tmp_path / "net").exists()


def test_a_seed_below_0_is_refused_before_there_is_a_folder(party, tmp_path):
    with pytest.raises(ValueError, match="seed: expected a whole number of at least 0, got -1"):
        train.train(read_dataset(party), TINY, out=tmp_path / "net", seed=-1, progress=False)
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("name", "told"), [("", "nobody in it is named"), ("anna", "only 'anna' is named in it")]
)
def test_a_dataset_of_no_or_one_name_is_refused_before_there_is_a_folder(
    write_dataset, tmp_path, name, told
):
    rows = [face(f"{at}.png", name if at else "") for at in range(4)]
    with pytest.raises(DatasetError, match=told):
        train.train(read_dataset(write_dataset(rows)), TINY, out=tmp_path / "net")
    assert not (tmp_path / "net").exists()
