"""From a trained net to a folder that can be deployed: one graph from the photo to the answer.

:func:`export` writes a folder with the net as ONNX and as OpenVINO (fp32 and, where accuracy
allows, int8), its weights for PyTorch, and ``about.json`` with a checksum of each. The graph takes
uint8 photos as they were decoded and holds everything up to non-maximum suppression and naming, so
that a runtime alone, without this project, turns a photo into boxes and identities.

Scaling follows Pillow's antialiased bilinear filter on uint8 in every engine, as in training.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from thesislib import storage
from thesislib.deploy.graph import OUTPUTS, PhotosToFaces, PhotosToLogits, survivors_in_onnx
from thesislib.deploy.int8 import quantise, quietly
from thesislib.engine.checkpoint import save_checkpoint
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

VERSION = 1
ABOUT = "about.json"
WEIGHTS, ONNX, OPENVINO, INT8 = "net.safetensors", "net.onnx", "openvino.xml", "openvino_int8.xml"
_OPSET = 18  # the first whose Resize is antialiased


class ExportError(ValueError):
    """A net that cannot be exported, or exported files that cannot be used; says which and why."""


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
    if getattr(net, "embedding_source", "grid") != "grid":
        raise ExportError(
            f"embedding_source={net.embedding_source!r}: only nets that read embeddings at the face's cell "
            "(embedding_source='grid') can be exported"
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
        with storage.atomic_write(folder / ONNX) as aside:
            _write_onnx(graph, aside, about)
        written = [WEIGHTS, ONNX]
        model = _to_openvino(folder / ONNX)
        written += _write_openvino(model, folder / OPENVINO)
        about["int8"] = None
        if len(calibration):
            about["int8"], quantised = quantise(model, calibration, check)
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


def _write_onnx(graph: nn.Module, path: Path, about: dict) -> None:
    joint = isinstance(graph, PhotosToFaces)
    example = torch.zeros(2, 200, 333, 3, dtype=torch.uint8)
    if not joint:
        example = example.permute(0, 3, 1, 2).contiguous()
    free = {0: "photos", 1: "height", 2: "width"} if joint else {0: "photos", 2: "rows", 3: "cols"}
    shape = {axis: torch.export.Dim(name, min=1, max=2**20) for axis, name in free.items()}
    with torch.no_grad(), quietly():
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
                torch.ops.thesislib.survivors.default: survivors_in_onnx(),
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
