"""From a trained net to a folder that can be deployed: one graph from the photo to the answer.

:func:`export` writes a folder with the net as ONNX and as OpenVINO (fp32 and, where accuracy
allows, int8), its weights for PyTorch, and ``about.json`` with a checksum of each. The graph takes
uint8 photos as they were decoded and holds everything up to non-maximum suppression and naming, so
that a runtime alone, without this project, turns a photo into boxes and identities.

Scaling follows Pillow's antialiased bilinear filter on uint8 in every engine, as in training.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torchvision.ops import nms

from thesislib import metrics, storage
from thesislib.anchors import cell_centres, decode
from thesislib.checkpoint import save_checkpoint
from thesislib.data.loader import PADDING
from thesislib.model import FaceClassifier, JointNet
from thesislib.systems import scaled_size

VERSION = 1
ABOUT = "about.json"
WEIGHTS, ONNX, OPENVINO, INT8 = "net.safetensors", "net.onnx", "openvino.xml", "openvino_int8.xml"
OUTPUTS = ("photo", "boxes", "scores", "identities", "identity_scores", "embeddings")
# int8 may cost this much on the photos it is checked on, or it is not offered.
MOST_ACCURACY_LOST = 0.005  # joint accuracy at IoU 0.5, share of faces
MOST_IOU_LOST = 0.01
_OPSET = 18  # the first whose Resize is antialiased


class ExportError(ValueError):
    """A net that cannot be exported, or exported files that cannot be used; says which and why."""


# --- the graph ------------------------------------------------------------------------------------


@torch.library.custom_op("thesislib::survivors", mutates_args=())
def survivors(
    boxes: torch.Tensor, scores: torch.Tensor, iou: float, threshold: float, most: int
) -> torch.Tensor:
    """Non-maximum suppression, photo by photo; in ONNX one NonMaxSuppression.

    Args:
        boxes: float [N, M, 4].
        scores: float [N, M].
        iou: overlap above which the lesser of two boxes goes.
        threshold: scores up to this one go.
        most: boxes kept of a photo.

    Returns:
        int64 [D, 2]: photo and box, by photo, best first.
    """
    found = []
    for photo, (own, score) in enumerate(zip(boxes, scores, strict=True)):
        alive = (score > threshold).nonzero()[:, 0]
        kept = alive[nms(own[alive], score[alive], iou)[:most]]
        found.append(torch.stack([torch.full_like(kept, photo), kept], dim=1))
    return torch.cat(found)


@survivors.register_fake
def _(boxes, scores, iou, threshold, most):
    return boxes.new_empty((torch.library.get_ctx().new_dynamic_size(), 2), dtype=torch.int64)


def _survivors_in_onnx() -> Callable:
    from onnxscript import opset18 as op

    def suppression(boxes, scores, iou: float, threshold: float, most: int):
        found = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[most]),
            op.Constant(value_floats=[iou]),
            op.Constant(value_floats=[threshold]),
        )
        return op.Gather(found, op.Constant(value_ints=[0, 2]), axis=1)  # photo, class, box

    return suppression


class PhotosToFaces(nn.Module):
    """What is exported: a joint net with scaling before it and decoding behind it.

    Args:
        net: a trained :class:`JointNet`.
        input_px: shorter side that photos are scaled to.
    """

    def __init__(self, net: JointNet, input_px: int) -> None:
        super().__init__()
        self.net, self.input_px = net.eval(), input_px
        self.heads = net.heads  # replaced by its compiled form

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Detect in a batch.

        Args:
            photos: uint8 [N, H, W, 3] RGB, any size.

        Returns:
            for all D faces found, by photo, best first: ``photo`` int64 [D], ``boxes`` float32
            [D, 4] pixels of the photo, ``scores`` float32 [D], ``identities`` int64 [D],
            ``identity_scores`` float32 [D], ``embeddings`` float32 [D, E], L2-normalised.
        """
        batch, size = self.scale(photos)
        regression, embeddings = self.heads(batch)
        return self.answer(regression, embeddings, size, photos.shape[1:3])

    def scale(self, photos: torch.Tensor) -> tuple[torch.Tensor, tuple]:
        """Scaled and padded to whole cells, uint8 [N, 3, h', w'], and its (h, w) unpadded."""
        height, width = photos.shape[1:3]
        size = scaled_size(height, width, self.input_px)
        scaled = photos.permute(0, 3, 1, 2)
        scaled = F.interpolate(scaled, size=size, mode="bilinear", antialias=True)
        rows, columns = (-size[0] % self.net.cell, -size[1] % self.net.cell)
        return F.pad(scaled, (0, columns, 0, rows), value=PADDING), size

    def answer(self, regression, embeddings, size, photo_size) -> tuple[torch.Tensor, ...]:
        """Detections from the raw outputs of the heads, as :meth:`forward` returns them."""
        net = self.net
        centres = cell_centres(regression.shape[-2:], net.cell, regression.device)
        codes = regression[:, :, :4].permute(0, 1, 3, 4, 2)  # [N, A, rows, columns, 4]
        boxes = decode(codes, centres, net.anchors[:, None, None], net.cell).flatten(1, 3)
        x1, y1, x2, y2 = boxes.unbind(dim=2)
        (height, width) = size
        boxes = torch.stack(
            [x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)],
            dim=2,
        )
        scores = regression[:, :, 4].sigmoid().flatten(1)
        whole = (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
        scores = torch.where(whole, scores, -1.0)
        vectors = embeddings.flatten(2).transpose(1, 2)  # [N, A*rows*columns, E]
        found = torch.ops.thesislib.survivors(
            boxes, scores, net.nms_iou, net.score_threshold, net.max_detections
        )
        photo, at = found.unbind(dim=1)
        kept = vectors[photo, at]
        # The classifier is linear in people; only detections that survive pay for it.
        best, identities = net.classifier.at(kept).softmax(dim=1).max(dim=1)
        x1, y1, x2, y2 = boxes[photo, at].unbind(dim=1)
        across, down = photo_size[1] / width, photo_size[0] / height
        boxes = torch.stack([x1 * across, y1 * down, x2 * across, y2 * down], dim=1)
        return photo, boxes, scores[photo, at], identities, best, F.normalize(kept, dim=1)


class PhotosToLogits(nn.Module):
    """What is exported of the two-stage baseline's classifier: uint8 [N, 3, H, W] to logits."""

    def __init__(self, net: FaceClassifier) -> None:
        super().__init__()
        self.net = net.eval()

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.net(photos)


# --- writing --------------------------------------------------------------------------------------


def export(
    net: JointNet | FaceClassifier,
    input_px: int,
    folder: Path | str,
    calibration: Sequence[np.ndarray] = (),
    check: Callable[[Callable], dict] | None = None,
) -> dict:
    """Write a trained net as files that can be deployed.

    Args:
        net: trained; put into evaluation mode.
        input_px: shorter side that photos are scaled to.
        folder: where the files go; what an earlier export left there is replaced.
        calibration: for int8: training photos, uint8 [H, W, 3], or for a classifier what it
            sees, uint8 [3, H, W]; a few hundred. Without them int8 is not made.
        check: for int8: given the function that the exported graph is, returns its
            ``joint_accuracy_50`` and ``mean_iou`` (see :func:`accuracy_check`) on photos that are
            not used for calibration; layers are kept in fp32 until int8 costs no more than
            ``MOST_ACCURACY_LOST`` and ``MOST_IOU_LOST``. None takes it as it is.

    Returns:
        what ``about.json`` says.

    Raises:
        ExportError: a net of a kind that has no deployable form.
        ModuleNotFoundError: a package that exporting needs is not installed.
    """
    if getattr(net, "reads", "cell") != "cell":
        raise ExportError(
            f"reads={net.reads!r}: only nets that read embeddings at the face's cell "
            "(reads='cell') can be exported"
        )
    folder = Path(folder)
    joint = isinstance(net, JointNet)
    net = net.cpu()
    graph = PhotosToFaces(net, input_px) if joint else PhotosToLogits(net)
    about = {
        "version": VERSION,
        "kind": "joint" if joint else "classifier",
        "input_px": input_px,
        "identities": net.identities,
        "net": _settings(net),
    }
    with storage.folder_lock(folder):
        # Without it nothing of the folder is used, so that an export is whole or not there.
        (folder / ABOUT).unlink(missing_ok=True)
        save_checkpoint(folder / WEIGHTS, net, {})
        with storage.written_aside(folder / ONNX) as aside:
            _write_onnx(graph, aside, about)
        written = [WEIGHTS, ONNX]
        model = _to_openvino(folder / ONNX)
        written += _write_openvino(model, folder / OPENVINO)
        about["int8"] = None
        if len(calibration):
            about["int8"], quantised = _quantise(model, calibration, check)
            if about["int8"]["offered"]:
                written += _write_openvino(quantised, folder / INT8)
        about["sha256"] = {name: storage.bytes_hash(folder / name) for name in sorted(written)}
        about["checksum"] = _checksum(about)
        storage.write_json(folder / ABOUT, about)
    return about


def _settings(net) -> dict | None:
    """What it takes to build the net again; None for nets of another class."""
    if type(net) not in (JointNet, FaceClassifier):
        return None
    settings = {"backbone": net.backbone_name, "normalised": net.classifier.normalised}
    if isinstance(net, JointNet):
        settings["anchors"] = net.anchors.tolist()
        settings["pooling"] = net.cell // 32
        settings["embedding_dim"] = net.embedding_dim
    else:
        settings["embedding_dim"] = net.embedding_head.out_features
    return settings


def build(about: dict, folder: Path | str) -> nn.Module:
    """The PyTorch net of an exported folder, in evaluation mode.

    Raises:
        ExportError: it is of a class that only its own code can build.
    """
    if about["net"] is None:
        raise ExportError(f"{folder}: this net cannot be built from its file; use another engine")
    kind = JointNet if about["kind"] == "joint" else FaceClassifier
    net = kind(about["identities"], **about["net"])
    weights = load_file(Path(folder) / WEIGHTS)
    net.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    return net.eval()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Exporters talk; nothing of it is for the user."""
    loggers = [logging.getLogger(name) for name in ("nncf", "torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _write_onnx(graph: nn.Module, path: Path, about: dict) -> None:
    joint = isinstance(graph, PhotosToFaces)
    example = torch.zeros(2, 200, 333, 3, dtype=torch.uint8)
    if not joint:
        example = example.permute(0, 3, 1, 2).contiguous()
    free = {0: "photos", 1: "height", 2: "width"} if joint else {0: "photos", 2: "rows", 3: "cols"}
    shape = {axis: torch.export.Dim(name, min=1, max=2**20) for axis, name in free.items()}
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            dynamic_shapes=(shape,),
            input_names=["photos"],
            output_names=list(OUTPUTS) if joint else ["logits"],
            custom_translation_table={
                torch.ops.thesislib.survivors.default: _survivors_in_onnx(),
            },
        )
    model = program.model_proto
    # So that the file can be used by itself.
    for name in ("version", "kind", "input_px", "identities"):
        model.metadata_props.add(key=name, value=json.dumps(about[name], ensure_ascii=False))
    path.write_bytes(model.SerializeToString())


def _to_openvino(onnx: Path):
    """OpenVINO's model of an ONNX file, scaling done as Pillow and PyTorch do it."""
    import openvino as ov
    from openvino import opset11

    model = ov.Core().read_model(onnx)
    for node in model.get_ordered_ops():
        # OpenVINO's own linear mode leaves out antialiasing on a CPU; Pillow's has it built in.
        if node.get_type_name() == "Interpolate":
            sizes = node.input(1).get_source_output()
            sizes = opset11.gather(sizes, np.array([2, 3]), np.int64(0))
            # Before the photo's channels are moved to the front: scaling wants them last, and
            # what comes after is vectorised only with them first.
            moved = node.input(0).get_source_output().get_node()
            photos, order = (moved.input(at).get_source_output() for at in (0, 1))
            like_pillow = opset11.interpolate(
                photos, sizes, "bilinear_pillow", "sizes", axes=np.array([1, 2])
            )
            node.output(0).replace(opset11.transpose(like_pillow, order).output(0))
    model.validate_nodes_and_infer_types()
    return model


def _write_openvino(model, path: Path) -> list[str]:
    import openvino as ov

    path.with_suffix(".bin").unlink(missing_ok=True)
    ov.save_model(model, path, compress_to_fp16=False)
    return [path.name, path.with_suffix(".bin").name]


# --- int8 -----------------------------------------------------------------------------------------


def accuracy_check(photos: Sequence[np.ndarray], truths: Sequence[dict], identities: Sequence[str]):
    """The function ``check`` of :func:`export` for a joint net.

    Args:
        photos: uint8 [H, W, 3].
        truths: for each ``boxes`` float [F, 4] pixels and ``identities``, F names.
        identities: of the net, in its order.

    Returns:
        function from a graph (photos uint8 [1, H, W, 3] to the six outputs) to a dict with
        ``joint_accuracy_50`` and ``mean_iou``, over all faces.
    """

    def check(graph: Callable) -> dict:
        predictions = []
        for photo in photos:
            _, boxes, scores, found, _, _ = graph(photo[None])
            names = [identities[at] for at in found]
            predictions.append({"boxes": boxes, "scores": scores, "identities": names})
        return accuracy(predictions, truths)

    return check


def accuracy(predictions: Sequence[dict], truths: Sequence[dict]) -> dict:
    """``joint_accuracy_50``, ``mean_iou`` and ``recall_50`` over all faces, each in 0..1."""
    names = [str(at) for at in range(len(truths))]
    faces = metrics.faces_table(names, predictions, truths)
    return {
        "joint_accuracy_50": float(metrics.jointly_correct(faces, 0.5).mean()),
        "mean_iou": float(faces["iou"].mean()),
        "recall_50": float((faces["iou"] >= 0.5).mean()),
    }


def within_limits(lowered: dict, full: dict) -> bool:
    """Whether a net of lower precision is as accurate as it must be to be offered."""
    # A hair for the rounding of shares such as 0.965 - 0.96.
    return (
        full["joint_accuracy_50"] - lowered["joint_accuracy_50"] <= MOST_ACCURACY_LOST + 1e-9
        and full["mean_iou"] - lowered["mean_iou"] <= MOST_IOU_LOST + 1e-9
    )


def _quantise(model, calibration: Sequence[np.ndarray], check: Callable | None) -> tuple:
    """Post-training static quantisation; convolutions kept in fp32 until the check is passed."""

    # NNCF reports its use over the network unless it takes itself to be under test.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    convolutions, others = _backbone(model)
    trials = [0] if check is None else [0, 1, len(convolutions) // 4, len(convolutions) // 2]
    full = check(_graph(model)) if check else None
    tried = []
    for kept in trials:
        with _quietly():
            quantised = nncf.quantize(
                model.clone(),
                nncf.Dataset([photo[None] for photo in calibration]),
                subset_size=len(calibration),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=others + convolutions[:kept], validate=False),
            )
        found = check(_graph(quantised)) if check else None
        tried.append({"fp32_convolutions": kept, "found": found})
        offered = check is None or within_limits(found, full)
        if offered:
            break
    return {"offered": offered, "fp32": full, "tried": tried}, quantised


def _graph(model) -> Callable:
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: tuple(compiled([photos]).values())


def _backbone(model) -> tuple[list[str], list[str]]:
    """Names of the backbone's convolutions in their order, and of all operations outside it.

    The heads stay in fp32: they are a few per cent of the work, and boxes and cosines need the
    digits. They are the operations behind which no convolution comes.
    """
    order = [op for op in model.get_ordered_ops() if op.get_type_name() != "Constant"]
    convolutions = [op for op in order if op.get_type_name() == "Convolution"]
    after = {op.get_friendly_name(): _descendants(op) for op in convolutions}
    names = set(after)
    heads = [name for name in after if not after[name] & names]
    first = convolutions[0].get_friendly_name()
    inside = {first} | after[first]
    if len(heads) > 1:  # a joint net: box and embedding heads; a classifier's are no convolutions
        for head in heads:
            inside -= {head} | after[head]
    others = [op.get_friendly_name() for op in order if op.get_friendly_name() not in inside]
    others += [op.get_friendly_name() for op in order if op.get_type_name() == "MatMul"]
    return [name for name in after if name in inside], sorted(set(others))


def _descendants(op) -> set[str]:
    found, waiting = set(), [op]
    while waiting:
        for output in waiting.pop().outputs():
            for target in output.get_target_inputs():
                node = target.get_node()
                if node.get_friendly_name() not in found:
                    found.add(node.get_friendly_name())
                    waiting.append(node)
    return found


# --- reading --------------------------------------------------------------------------------------


def _checksum(about: dict) -> str:
    content = {key: value for key, value in about.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_about(folder: Path | str) -> dict:
    """What an exported folder says of itself, each file compared with its checksum.

    Raises:
        ExportError: missing, of another version, truncated, or altered.
    """
    path = Path(folder) / ABOUT
    if not path.is_file():
        raise ExportError(f"{path}: no exported net; its export is missing or was interrupted")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        version = about["version"]
    except (ValueError, KeyError, TypeError):
        raise ExportError(f"{path}: truncated or not a description of an exported net") from None
    if version != VERSION:
        raise ExportError(
            f"{path}: version {version} of the exported form, this code reads {VERSION}; "
            "export the net again"
        )
    if about.get("checksum") != _checksum(about):
        raise ExportError(f"{path}: altered since the export (its checksum differs)")
    for name, wanted in about["sha256"].items():
        file = path.with_name(name)
        if not file.is_file():
            raise ExportError(f"{file}: missing")
        if storage.bytes_hash(file) != wanted:
            raise ExportError(f"{file}: truncated or altered since the export (checksum differs)")
    return about
