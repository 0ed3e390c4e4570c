"""Nets and checkpoints on disk: safetensors files that stand alone, never a pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from thesislib import storage
from thesislib.engine.processes import this_process
from thesislib.models.dlib_resnet import read_weights
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

NET = "net.safetensors"
CHECKPOINT = "checkpoint.safetensors"  # of a training under way
# The published net, which knows faces but nobody by name: see docs/model_card.md.
DEFAULT = "default"
DLIB = "dlib"  # what a training begins with that takes dlib's recogniser
WEIGHTS = Path(__file__).parents[1] / "weights"
FORMAT, VERSION = "thesislib net", 1
KINDS: dict[str, type[nn.Module]] = {"joint": JointNet, "classifier": FaceClassifier}
# torch.save's zip, and pickle protocols 2 to 5
_PICKLE_STARTS = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class CheckpointError(ValueError):
    """A net or checkpoint that cannot be used; the message names the file and why."""


# --- one safetensors file ---------------------------------------------------------------------


def _checksum(tensors: Mapping[str, torch.Tensor], about: dict) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_tensors(path: Path | str, tensors: Mapping[str, torch.Tensor], about: dict) -> None:
    """Write tensors and ``about`` (JSON) to a safetensors file, whole or not at all.

    A SHA-256 over both is written too, so that a file altered later is refused.

    Raises:
        OSError: it cannot be written, for want of room or of leave; the message names the file,
            and what was there stays.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"about": json.dumps(about), "checksum": _checksum(plain, about)}
    try:
        with storage.atomic_write(path) as aside:
            save_file(plain, aside, metadata=metadata)
    # Both name the file that is written aside, or none.
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path}: cannot be written ({error})") from error


def read_tensors(
    path: Path | str, kind: str = "checkpoint"
) -> tuple[dict[str, torch.Tensor], dict]:
    """Read what :func:`write_tensors` wrote.

    Args:
        path: the file.
        kind: what the errors call it.

    Raises:
        CheckpointError: missing, truncated, altered, or another kind of file, a pickle among
            them, which is never executed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such {kind}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            about = json.loads(metadata["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        with path.open("rb") as file:
            start = file.read(9)
        # Our own files begin with a length that may look like a pickle's start, then a brace.
        if start[:2] in _PICKLE_STARTS and start[8:] != b"{":
            raise CheckpointError(
                f"{path}: this is a pickle, which can carry code; it was not opened. "
                "Nets here are safetensors files"
            ) from None
        raise CheckpointError(f"{path}: truncated or not a {kind} ({error})") from None
    if metadata.get("checksum") != _checksum(tensors, about):
        raise CheckpointError(f"{path}: damaged or altered: its checksum does not fit")
    return tensors, about


# --- nets -------------------------------------------------------------------------------------


def save_net(path: Path | str, net: nn.Module, half: bool = False) -> None:
    """Write a net to one file that holds all it takes to open it.

    The metadata holds the kind, settings and identities of the net, and its ``provenance``: what
    it was trained with (profile, hash of the data, seed, precision, commit, start, history).

    Args:
        path: ``<name>.safetensors``, or a folder, which then gets ``net.safetensors``.
        net: a :class:`JointNet` or :class:`FaceClassifier`.
        half: write weights in half precision (float16), in half the space.

    Raises:
        CheckpointError: a net of another class, which this file could not build again.
    """
    kind = next((kind for kind, of in KINDS.items() if type(net) is of), None)
    if kind is None:
        raise CheckpointError(f"{type(net).__name__}: no net that can be saved")
    about = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "settings": net.settings,
        "identities": net.identities,
        "provenance": net.provenance,
    }
    tensors = net.state_dict()
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    write_tensors(net_file(path), tensors, about)


def load_net(path: Path | str, device: torch.device | str | None = None) -> Any:
    """Open a net that :func:`save_net` wrote; nothing else is needed.

    Args:
        path: the file, or the folder that holds ``net.safetensors``; or ``"default"``, the
            published net.
        device: where it is to run; None for the GPU where there is one.

    Returns:
        the net, in evaluation mode.

    Raises:
        CheckpointError: no such file, a damaged or altered one, a pickle, a file of something
            else, or of a version this code does not read.
    """
    path = net_file(path)
    tensors, about = read_tensors(path, "net")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a safetensors file, but not a net of this project")
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: version {about.get('version')} of the format; this code reads {VERSION}"
        )
    try:
        net = KINDS[about["kind"]](about["identities"], **about["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a net that this code cannot build ({error})") from None
    load_state(net, tensors, path)
    net.provenance = about["provenance"]
    return net.to(device or best_device()).eval()


def holds(path: Path | str, net: nn.Module) -> bool:
    """Whether a file holds this very net: its kind, settings, identities and weights.

    Args:
        path: as for :func:`load_net`; may be missing or damaged.
        net: a :class:`JointNet` or :class:`FaceClassifier`.
    """
    try:
        tensors, about = read_tensors(net_file(path), "net")
    except CheckpointError:
        return False
    own = net.state_dict()
    return (
        isinstance(about, dict)
        and KINDS.get(about.get("kind", "")) is type(net)
        and all(about.get(what) == getattr(net, what) for what in ("settings", "identities"))
        and tensors.keys() == own.keys()
        and all(torch.equal(value, own[name].cpu()) for name, value in tensors.items())
    )


def net_file(path: Path | str) -> Path:
    """The net's file: ``path`` itself if it ends in ``.safetensors``, else the one in it;
    for ``"default"`` the published net's."""
    if str(path) == DEFAULT:
        return WEIGHTS / f"{DEFAULT}.safetensors"
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / NET


def best_device() -> torch.device:
    """This process's GPU where there is one, else the CPU."""
    return this_process().device


def load_state(net: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path | str) -> None:
    """Copy weights into a net of the same form.

    Raises:
        CheckpointError: weights missing, too many, or of another shape.
    """
    try:
        net.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights of another model ({error})") from None


def start_from(net: nn.Module, path: Path | str) -> list[str]:
    """Initialise with another net's weights: all tensors of equal name and shape except the
    classifier, which belongs to its identities, and the anchors.

    Args:
        net: changed in place.
        path: of the other net; ``"default"``, the published one; or ``"dlib"``, dlib's recogniser,
            for a net of that backbone.

    Returns:
        names of the tensors taken.

    Raises:
        CheckpointError: the file cannot be used, or nothing in it fits.
        MissingExtraError, TeacherError: see :func:`thesislib.models.dlib_resnet.read_weights`.
    """
    if str(path) == DLIB:
        tensors = _of_dlib(net)
    else:
        path = net_file(path)
        tensors, _ = read_tensors(path, "net")
    own = net.state_dict()
    taken = {
        name: value
        for name, value in tensors.items()
        if name in own
        and own[name].shape == value.shape
        and not name.startswith(("classifier.", "anchors"))
    }
    if not any(name.startswith("backbone.") for name in taken):
        raise CheckpointError(f"{path}: no weights in it fit this backbone")
    net.load_state_dict(taken, strict=False)
    return sorted(taken)


def start_hash(start: Path | str | None) -> str | None:
    """What a training's record says of the net it began with: its bytes' hash, or ``"dlib"``."""
    if start is None:
        return None
    return DLIB if str(start) == DLIB else storage.bytes_hash(net_file(start))


def _of_dlib(net: nn.Module) -> dict[str, torch.Tensor]:
    """dlib's weights by the names that a net has for them."""
    weights = read_weights()
    parts = {"backbone.": ""}
    if isinstance(net, FaceClassifier):  # whose head is dlib's last layer alone
        parts["embedding_head."] = "embedding.linear."
    elif getattr(net, "embedding_source", None) == "landmarks":
        parts["embedding_head."] = ""
    return {
        part + name.removeprefix(less): value
        for part, less in parts.items()
        for name, value in weights.items()
        if name.startswith(less)
    }


# --- trainings under way ----------------------------------------------------------------------


def save_checkpoint(
    path: Path | str, model: nn.Module, optimiser: torch.optim.Optimizer, about: dict
) -> None:
    """Write model, optimiser state and ``about`` (JSON), whole or not at all."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimiser.{index}.{key}"] = torch.as_tensor(value)
    write_tensors(path, tensors, about)


def load_checkpoint(
    path: Path | str, model: nn.Module, optimiser: torch.optim.Optimizer, run: dict
) -> dict:
    """Restore what :func:`save_checkpoint` wrote of the same training.

    Args:
        path: the file.
        model: of the same form; its weights are replaced.
        optimiser: of the same parameters; its state is replaced.
        run: what this training is (JSON); must equal ``about["run"]`` of the file.

    Returns:
        the file's ``about``.

    Raises:
        CheckpointError: damaged, no checkpoint of a training, or one of another training.
    """
    tensors, about = read_tensors(path)
    if "run" not in about:
        raise CheckpointError(f"{path}: no checkpoint of a training")
    refuse_other_run(path, about["run"], run)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    load_state(model, weights, path)
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
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    return about


def refuse_other_run(path: Path | str, found: dict, wanted: dict) -> None:
    """Refuse what another training left, and say in what it differs.

    Raises:
        CheckpointError: the two are not equal.
    """
    if found != wanted:
        differs = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        raise CheckpointError(f"{path}: of another training; {', '.join(differs)} differ")
