"""Checkpoints: weights, optimiser state and history in one safetensors file, never a pickle."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from thesislib import storage

# torch.save's zip, and pickle protocols 2 to 5
_PICKLE_STARTS = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and why."""


def save_checkpoint(
    path: Path | str,
    model: torch.nn.Module,
    about: dict,
    optimiser: torch.optim.Optimizer | None = None,
) -> None:
    """Write model, ``about`` (JSON) and optimiser state, whole or not at all."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimiser is not None:
        for index, state in optimiser.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimiser.{index}.{key}"] = torch.as_tensor(value)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with storage.atomic_write(path) as aside:
        save_file(tensors, aside, metadata={"about": json.dumps(about)})


def load_checkpoint(
    path: Path | str, kind: str = "checkpoint"
) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a checkpoint's tensors and its ``about``.

    Args:
        path: the file.
        kind: what the errors call it.

    Raises:
        CheckpointError: missing, truncated, altered in its header, or another kind of file, a
            pickle among them, which is never executed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such {kind}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        with path.open("rb") as file:
            start = file.read(9)
        # Our own files begin with a length that may look like a pickle's start, then a brace.
        if start[:2] in _PICKLE_STARTS and start[8:] != b"{":
            raise CheckpointError(
                f"{path}: this is a pickle, which can carry code; it was not opened. "
                "Checkpoints here are safetensors files"
            ) from None
        raise CheckpointError(f"{path}: truncated or not a {kind} ({error})") from None
    return tensors, about


def load_model(model: torch.nn.Module, tensors: dict[str, torch.Tensor], path="checkpoint") -> None:
    """Copy a checkpoint's weights into a model of the same form.

    Raises:
        CheckpointError: weights missing, too many, or of another shape.
    """
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights of another model ({error})") from None


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Restore the optimiser state saved by :func:`save_checkpoint`."""
    saved = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:
                # Fused steps walk memory in order: the state must lie as its parameter does.
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": saved["param_groups"]})


def start_from(model: torch.nn.Module, path: Path | str) -> list[str]:
    """Begin with another run's weights: every tensor of the same name and shape but the people.

    The classifier belongs to the people it was trained on and is left as it is, as are anchors.

    Returns:
        names of the tensors taken.

    Raises:
        CheckpointError: the file cannot be used, or nothing in it fits.
    """
    tensors, _ = load_checkpoint(path)
    own = model.state_dict()
    taken = {}
    for name, value in tensors.items():
        name = name.removeprefix("model.")
        fits = name in own and own[name].shape == value.shape
        if fits and not name.startswith(("classifier.", "anchors", "loss.")):
            taken[name] = value
    if not any(name.startswith("backbone.") for name in taken):
        raise CheckpointError(f"{path}: no weights in it fit this backbone")
    model.load_state_dict(taken, strict=False)
    return sorted(taken)
