"""Training: one plain loop for every net and its loss, and the front door's ``train``."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from tqdm.auto import tqdm

from thesislib import seeds, storage
from thesislib.data.loading import (
    Augmentation,
    Crops,
    EpochBatches,
    Photo,
    PhotoStore,
    list_photos,
    training_batches,
)
from thesislib.data.schema import Dataset, check_dataset, check_named
from thesislib.data.views import Views
from thesislib.engine.checkpoint import (
    CHECKPOINT,
    NET,
    best_device,
    load_checkpoint,
    load_net,
    refuse_other_run,
    save_checkpoint,
    save_net,
    start_from,
    start_hash,
)
from thesislib.engine.interruption import held_back
from thesislib.engine.optimiser import deterministic, learning_rate, make_optimiser, precision
from thesislib.engine.processes import this_process
from thesislib.environment import commit
from thesislib.models.anchors import fit_anchors
from thesislib.models.convolutions import use_channels_last
from thesislib.models.joint import JointNet
from thesislib.models.loss import JointLoss
from thesislib.models.pyramid_loss import PyramidLoss
from thesislib.profiles import Profile, get_profile

CHECKPOINT_SECONDS = 60.0  # at most this much work is done again after a kill


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or not a number; the message names the photos of the batch."""


class WithLoss(nn.Module):
    """A net and its loss as one module, so that distributed training waits for both."""

    def __init__(self, net: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, photos: torch.Tensor, targets: list[dict]) -> dict[str, torch.Tensor]:
        """Named losses of a batch, with their ``total``."""
        return self.loss(self.net, self.net(photos), targets)


def fit(
    net: nn.Module,
    loss: nn.Module,
    crops: Crops | Views,
    profile: Profile,
    seed: int,
    folder: Path | str,
    run: dict,
    progress: bool = True,
    stop_after: int | None = None,
    steps: int | None = None,
    label: str | None = None,
) -> list[dict]:
    """Train a net, or go on where an interrupted call with the same folder stopped.

    Runs on whatever Accelerate finds (CPU, GPU, several processes under ``torchrun``), in bf16
    where :func:`precision` says so; ``profile.batch`` is the global batch. Ctrl-C ends it after the
    step under way, with a checkpoint; a second Ctrl-C, a kill, or Ctrl-C under ``torchrun`` end it
    at once and cost up to ``CHECKPOINT_SECONDS`` of work.

    Args:
        net: called with photos uint8 [N, 3, S, S]; trained in place.
        loss: called with ``(net, net(photos), targets)``; gives named losses with a ``total``.
        crops: training crops.
        profile: settings.
        seed: of the run.
        folder: where the checkpoint is kept; one run at a time.
        run: what this training is (JSON); a checkpoint of another one is refused.
        progress: show a bar.
        stop_after: stop after this many steps of this call, checkpointed; None runs to the end.
        steps: length of the whole training and its schedule, in place of ``profile.epochs``; the
            history has no row of an epoch that it breaks off.
        label: of the bar; None for the folder's name.

    Returns:
        history, one dict per epoch: ``epoch``, mean losses, ``photos_per_second``,
        ``data_wait_share``.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        NonFiniteLossError: names the photos of the offending batch.
        CheckpointError: the folder's checkpoint is damaged or of another training.
        FolderInUseError: another run is writing to the folder.
        OSError: the checkpoint cannot be written; it is named, and the one before stays.
        ValueError: fewer training photos than processes, or none.
    """
    cuda = torch.cuda.is_available()
    accelerator = Accelerator(
        cpu=not cuda, mixed_precision="bf16" if precision() == "bf16" else "no"
    )
    folder = Path(folder)
    lock = storage.folder_lock(folder) if accelerator.is_main_process else contextlib.nullcontext()
    with lock, deterministic(accelerator.device):
        if accelerator.is_main_process:
            storage.sweep(folder)
        return _fit(
            accelerator,
            WithLoss(net, loss),
            crops,
            profile,
            seed,
            folder,
            run,
            progress,
            stop_after,
            steps,
            label or folder.name,
        )


def _fit(
    accelerator: Accelerator,
    model: WithLoss,
    crops: Crops | Views,
    profile: Profile,
    seed: int,
    folder: Path,
    run: dict,
    progress: bool,
    stop_after: int | None,
    steps: int | None,
    label: str,
) -> list[dict]:
    if len(crops) < accelerator.num_processes:
        raise ValueError(
            f"{len(crops)} training photos are too few for {accelerator.num_processes} processes"
        )
    path = folder / CHECKPOINT
    step, history, running = 0, [], {}
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model.to(accelerator.device).train()
    use_channels_last(model)
    optimiser = make_optimiser(model, profile)
    if path.exists():
        saved = load_checkpoint(path, model, optimiser, run)
        step, history, running = saved["step"], saved["history"], saved["running"]
    per_epoch = len(crops) // min(profile.batch, len(crops))
    steps = steps or per_epoch * profile.epochs
    sampler = EpochBatches(
        len(crops),
        profile.batch,
        -(-steps // per_epoch),
        seed,
        step,
        accelerator.process_index,
        accelerator.num_processes,
    )
    if step >= steps:
        return history
    wrapped, optimiser = accelerator.prepare(model, optimiser)
    bare = accelerator.unwrap_model(wrapped)
    cuda = accelerator.device.type == "cuda"
    workers = min(profile.workers, os.cpu_count() or 1)
    batches = iter(training_batches(crops, sampler, workers, pin=cuda))
    last_saved = time.monotonic()
    call_end = steps if stop_after is None else min(steps, step + stop_after)

    def save() -> None:
        if accelerator.is_main_process:
            state = {"run": run, "step": step, "history": history, "running": running}
            save_checkpoint(path, bare, optimiser, state)

    bar = tqdm(
        total=steps,
        initial=step,
        desc=label,
        unit="step",
        disable=not (progress and accelerator.is_main_process),
    )
    # One of several processes would be waited for by the others.
    alone = accelerator.num_processes == 1
    with bar, held_back() if alone else contextlib.nullcontext(lambda: False) as interrupted:
        while step < call_end:
            began = time.monotonic()
            photos, targets = next(batches)
            photos = photos.to(accelerator.device, non_blocking=True)
            waited = time.monotonic() - began
            rate = learning_rate(step, steps, profile.learning_rate, profile.warm_up)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
            with accelerator.autocast():
                losses = wrapped(photos, targets)
            if not torch.isfinite(losses["total"]):
                named = {name: round(float(value.detach()), 4) for name, value in losses.items()}
                names = ", ".join(target["photo"] for target in targets)
                raise NonFiniteLossError(
                    f"loss is not finite at step {step} (epoch {step // per_epoch}): {named}; "
                    f"photos: {names}. Lower the learning rate, or look at these photos"
                )
            optimiser.zero_grad(set_to_none=True)
            accelerator.backward(losses["total"])
            optimiser.step()
            step += 1
            gathered = accelerator.reduce({k: v.detach() for k, v in losses.items()}, "mean")
            sums = {name: float(value) for name, value in gathered.items()}
            sums |= {"seconds": time.monotonic() - began, "waited": waited, "steps": 1}
            running = {name: running.get(name, 0.0) + value for name, value in sums.items()}
            bar.update()
            if step % per_epoch == 0:
                history.append(_epoch_row(step // per_epoch, running, sampler.batch))
                running = {}
                bar.set_postfix(
                    loss=f"{history[-1]['total']:.3f}",
                    photos_s=f"{history[-1]['photos_per_second']:.0f}",
                )
            stop = step == call_end or interrupted()
            if stop or time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                save()
                last_saved = time.monotonic()
            if stop:
                break
    accelerator.wait_for_everyone()
    # Takes autocast out of ``forward`` again: a net just trained is tested as one that was loaded.
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    return history


def _epoch_row(epoch: int, running: dict, batch: int) -> dict:
    steps = running["steps"]
    losses = {
        name: value / steps
        for name, value in running.items()
        if name not in ("seconds", "waited", "steps")
    }
    return {
        "epoch": epoch,
        **losses,
        "photos_per_second": steps * batch / running["seconds"],
        "data_wait_share": running["waited"] / running["seconds"],
    }


# --- whole trainings --------------------------------------------------------------------------


def train(
    dataset: Dataset,
    profile: str | Profile = "laptop",
    out: Path | str = "runs/net",
    *,
    seed: int = 0,
    start: Path | str | None = None,
    progress: bool = True,
) -> JointNet:
    """Train a joint net on all photos of a dataset, or go on where an earlier call stopped.

    Called again with the same arguments it opens the net that is there.

    Args:
        dataset: photos with boxes and identities.
        profile: name of a profile in :mod:`thesislib.profiles`, or one of your own.
        out: folder of this training; gets ``net.safetensors``, which stands alone.
        seed: of everything random.
        start: file or folder of a net whose weights to begin with, ``"default"`` or ``"dlib"``, see
            :func:`thesislib.engine.checkpoint.start_from`; None for random ones.
        progress: show a bar.

    Returns:
        the net in evaluation mode, on the GPU where there is one.

    Raises:
        TypeError: ``dataset`` is none, a folder's name, say.
        DatasetError: nobody in the dataset is named, or one person alone.
        CheckpointError: ``out`` holds another training, or ``start`` cannot be used.
        NonFiniteLossError, FolderInUseError, ValueError: see :func:`fit`.
    """
    check_dataset(dataset)
    profile = get_profile(profile) if isinstance(profile, str) else profile
    check_named(dataset)
    photos = list_photos(dataset, dataset.identities)
    net = new_joint_net(dataset.identities, photos, profile, seed)
    about = provenance(dataset.content_hash, profile, seed, start)
    return train_net(
        net,
        joint_loss(profile),
        lambda: training_crops(dataset, photos, profile, seed, progress),
        profile,
        out,
        about,
        start=start,
        progress=progress,
        label="joint net",
    )


def train_net(
    net: Any,
    loss: nn.Module,
    make_crops: Callable[[], Crops | Views],
    profile: Profile,
    out: Path | str,
    about: dict,
    *,
    start: Path | str | None = None,
    progress: bool = True,
    steps: int | None = None,
    label: str | None = None,
) -> Any:
    """Train a new net into a folder of its own, or open the one that is there.

    Args:
        net: untrained; a class that :func:`save_net` knows.
        loss: see :func:`fit`.
        make_crops: gives the training crops; not called where the net is there already.
        profile: settings.
        out: folder; gets ``net.safetensors``.
        about: what this training is, from :func:`provenance`; two that differ never share a
            folder.
        start, progress: see :func:`train`.
        steps, label: see :func:`fit`.

    Returns:
        the trained net in evaluation mode; its ``provenance`` is ``about`` and ``history``.

    Raises:
        CheckpointError, NonFiniteLossError, FolderInUseError, ValueError: see :func:`train`.
    """

    def trained(run: dict) -> tuple[Any, list[dict]]:
        if start is not None:
            start_from(net, start)
        history = fit(
            net,
            loss,
            make_crops(),
            profile,
            about["seed"],
            out,
            run,
            progress,
            steps=steps,
            label=label,
        )
        return net, history

    return kept_net(out, about, trained)


def kept_net(out: Path | str, about: dict, make: Callable[[dict], tuple[Any, list[dict]]]) -> Any:
    """The net that a folder holds, made and written where there is none.

    Args:
        out, about: see :func:`train_net`.
        make: called with ``about`` less its commit; gives the net and its history.

    Returns:
        the net in evaluation mode.

    Raises:
        CheckpointError: the folder holds another training.
    """
    out = Path(out)
    run = {key: value for key, value in about.items() if key != "commit"}
    if (out / NET).exists():
        done = load_net(out)
        found = {k: v for k, v in (done.provenance or {}).items() if k not in ("commit", "history")}
        refuse_other_run(out / NET, found, run)
        return done
    net, history = make(run)
    net.provenance = {**about, "history": history}
    # Not an Accelerator: what is made first here would settle the arithmetic of all trainings.
    process = this_process()
    if process.is_main_process:
        with storage.folder_lock(out, wait=True):  # another call may sweep the folder just now
            save_net(out, net)
            (out / CHECKPOINT).unlink(missing_ok=True)
    process.wait_for_everyone()
    if not process.is_main_process:
        return load_net(out)  # running statistics of batch norm are each process's own
    return net.to(best_device()).eval()


def provenance(
    data_hash: str, profile: Profile, seed: int, start: Path | str | None = None, **more: Any
) -> dict:
    """What a training depends on, as plain JSON values, and the commit it ran at.

    Args:
        data_hash: content hash of the training photos and annotations.
        profile: settings; those that a trained net does not depend on are left out.
        seed: of the run.
        start: net to begin with, known by its bytes.
        more: what else tells this training from others.
    """
    return {
        "data": data_hash,
        "profile": training_settings(profile),
        "seed": seed,
        "precision": precision(),
        "start": start_hash(start),
        "commit": commit(),
        **more,
    }


def training_settings(profile: Profile) -> dict:
    """A profile as plain JSON values, without what a trained net does not depend on."""
    values = dataclasses.asdict(profile)
    values["crop_scale"] = list(values["crop_scale"])
    # The dataset is known by its content, whoever made it.
    for name in ("workers", "people", "many_people", "new_people"):
        del values[name]
    for name in ("transfer_steps", "trainings", "started_px"):
        del values[name]
    return values


def new_joint_net(
    identities: list[str], photos: list[Photo], profile: Profile, seed: int
) -> JointNet:
    """An untrained joint net, the same for the same seed.

    Args:
        identities: names.
        photos: training photos, whose boxes the anchors are fitted to.
        profile: settings.
        seed: of anchors and weights.

    Raises:
        ValueError: a seed below 0.
    """
    seeds.check(seed)
    sizes = [
        (photo.boxes[:, 2:] - photo.boxes[:, :2]).numpy() * (profile.input_px / min(photo.size))
        for photo in photos
    ]
    anchors = np.empty((0, 2), np.float32)
    if profile.embedding_source != "landmarks":  # whose places expect sizes of their own
        anchors = fit_anchors(np.concatenate(sizes), profile.anchors, seed)
    torch.manual_seed(seeds.torch_seed(seed, "weights"))
    return JointNet(
        identities,
        anchors,
        input_px=profile.input_px,
        backbone=profile.backbone,
        stride=profile.stride,
        pooling=profile.pooling,
        embedding_dim=profile.embedding_dim,
        normalised=profile.normalised,
        scale=profile.margin.scale if profile.margin else None,
        embedding_source=profile.embedding_source,
    )


def joint_loss(profile: Profile) -> JointLoss | PyramidLoss:
    """The loss that a profile asks for."""
    if profile.embedding_source == "landmarks":
        return PyramidLoss(
            profile.lambda_box,
            lambda_identity=profile.lambda_identity,
            label_smoothing=profile.label_smoothing,
            margin=profile.margin,
        )
    return JointLoss(
        profile.lambda_box,
        profile.lambda_no_object,
        profile.lambda_identity,
        label_smoothing=profile.label_smoothing,
        margin=profile.margin,
        learned=profile.learned_balance,
    )


def training_crops(
    dataset: Dataset, photos: list[Photo], profile: Profile, seed: int, progress: bool = True
) -> Crops:
    """Random crops of whole photos, as a profile asks for them."""
    store = PhotoStore(dataset, photos, stored_px(profile), progress)
    augmentation = Augmentation(profile.crop_scale, profile.flip, profile.colour)
    return Crops(photos, store, profile.input_px, augmentation, seed)


def stored_px(profile: Profile) -> int:
    """Shorter side in pixels of photos kept for training; crops of less than the whole photo are
    enlarged and need more pixels than the input has."""
    return round(profile.input_px / min(1.0, profile.crop_scale[0]))
