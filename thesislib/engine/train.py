"""Training: one plain loop for every model that returns named losses."""

import contextlib
import dataclasses
import math
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.loading import Crops, EpochBatches, training_batches
from thesislib.engine.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    load_optimiser,
    save_checkpoint,
)
from thesislib.models.convolutions import use_channels_last
from thesislib.profiles import Profile

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 60.0  # at most this much work is done again after an interruption


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or not a number; the message names the photos of the batch."""


def learning_rate(step: int, steps: int, highest: float, warm_up: float) -> float:
    """One-cycle schedule: linear up over the first ``warm_up`` share, cosine down to zero.

    After Smith & Topin 2018 (super-convergence), without its momentum cycle.

    >>> [round(learning_rate(s, 10, 1.0, 0.2), 3) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rising = max(1, round(steps * warm_up))
    if step < rising:
        return highest * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return highest * 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(model: torch.nn.Module, profile: Profile) -> torch.optim.Optimizer:
    """AdamW; biases, norms and scalars are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2]},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=profile.learning_rate,
        weight_decay=profile.weight_decay,
        fused=True,
    )


def precision() -> str:
    """Arithmetic of training: ``"bf16"`` where the processor multiplies it natively, or ``"no"``.

    Weights, heads, losses and optimiser stay in fp32 either way. CPUs without bf16 units emulate
    it, slower than fp32.
    """
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16" if torch.cuda.is_available() or native else "no"


@contextlib.contextmanager
def _deterministic(device: torch.device):
    """Bit-equal reruns on the CPU; on a GPU speed goes first."""
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Else every new tensor is filled with NaN first, which takes time; none is read unwritten.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def train(
    model: torch.nn.Module,
    crops: Crops,
    profile: Profile,
    seed: int,
    folder: Path | str,
    about: dict,
    progress: bool = True,
    stop_after: int | None = None,
    steps: int | None = None,
) -> list[dict]:
    """Train a model, or go on where an interrupted call with the same folder stopped.

    Runs on whatever Accelerate finds (CPU, GPU, several processes under ``torchrun``), in bf16
    where :func:`precision` says so; ``profile.batch`` is the global batch.

    Args:
        model: in training mode ``model(photos, targets)`` returns losses with a ``total``.
        crops: training photos.
        profile: settings.
        seed: of the run.
        folder: where the checkpoint is kept; one run at a time.
        about: what this run is (JSON); a checkpoint of another run is refused.
        progress: show a bar.
        stop_after: stop after this many steps of this call, checkpointed; None runs to the end.
        steps: length of the whole training and its schedule, in place of ``profile.epochs``; the
            history has no row of an epoch that it breaks off.

    Returns:
        history, one dict an epoch: ``epoch``, mean losses, ``photos_per_second``,
        ``data_wait_share``. The model is trained in place.

    Raises:
        NonFiniteLossError: names the photos of the offending batch.
        CheckpointError: the folder's checkpoint is damaged or of another run.
        FolderInUseError: another run is writing to the folder.
        ValueError: fewer training photos than processes, or none.
    """
    cuda = torch.cuda.is_available()
    accelerator = Accelerator(cpu=not cuda, mixed_precision=precision())
    folder = Path(folder)
    lock = storage.folder_lock(folder) if accelerator.is_main_process else contextlib.nullcontext()
    with lock, _deterministic(accelerator.device):
        return _train(
            accelerator, model, crops, profile, seed, folder, about, progress, stop_after, steps
        )


def _train(accelerator, model, crops, profile, seed, folder, about, progress, stop_after, steps):
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
        tensors, saved = load_checkpoint(path)
        if "run" not in saved:
            raise CheckpointError(f"{path}: no checkpoint of a training")
        if saved["run"] != about:
            differs = [
                key for key in {*about, *saved["run"]} if about.get(key) != saved["run"].get(key)
            ]
            raise CheckpointError(f"{path}: checkpoint of another run; {sorted(differs)} differ")
        load_model(model, tensors, path)
        load_optimiser(optimiser, tensors)
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
    batches = iter(training_batches(crops, sampler, profile.workers, pin=cuda))
    last_saved = time.monotonic()
    call_end = steps if stop_after is None else min(steps, step + stop_after)

    def save() -> None:
        if accelerator.is_main_process:
            state = {"run": about, "step": step, "history": history, "running": running}
            save_checkpoint(path, bare, state, optimiser)

    bar = tqdm(
        total=steps,
        initial=step,
        desc=folder.name,
        unit="step",
        disable=not (progress and accelerator.is_main_process),
    )
    with bar:
        while step < call_end:
            began = time.monotonic()
            photos, targets = next(batches)
            photos = photos.to(accelerator.device, non_blocking=True)
            waited = time.monotonic() - began
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, steps, profile.learning_rate, profile.warm_up)
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
            if step == call_end or time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                save()
                last_saved = time.monotonic()
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


def settings(profile: Profile) -> dict:
    """A profile and the precision as JSON, without what a trained net does not depend on."""
    values = dataclasses.asdict(profile) | {"precision": precision()}
    values["crop_scale"] = list(values["crop_scale"])
    # The dataset is known by its content, whoever made it.
    for name in ("workers", "people", "many_people", "new_people", "transfer_steps"):
        del values[name]
    return values
