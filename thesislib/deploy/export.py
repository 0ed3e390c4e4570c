"""From a trained net to a folder that can be deployed: one graph from the photo to the faces.

:func:`export` writes a folder with the net as ONNX and as OpenVINO (fp32 and, where accuracy
allows, int8), the net itself for PyTorch, and ``about.json`` with a checksum of each. The graph
takes uint8 photos as they were decoded and holds everything up to non-maximum suppression and
naming, so that a runtime alone, without this project, turns a photo into boxes and identities.

Scaling follows Pillow's antialiased bilinear filter on uint8 in every engine, as in training.
"""

import copy
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from thesislib import storage
from thesislib.data.images import open_photo
from thesislib.data.schema import Dataset
from thesislib.data.transforms import scaled_photo
from thesislib.deploy.graph import (
    OUTPUTS,
    USER_SCORE,
    GraphSystem,
    PhotosToFaces,
    PhotosToLogits,
    Run,
    suppress_in_onnx,
)
from thesislib.deploy.int8 import graph_of, quantise, quietly
from thesislib.engine.checkpoint import CHECKPOINT, NET, holds, save_net
from thesislib.engine.embed import annotated_faces
from thesislib.engine.evaluate import SCORE_THRESHOLD, evaluate
from thesislib.engine.predict import Photo, predict
from thesislib.environment import require
from thesislib.metrics.boxes import box_iou
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.heads import NOBODY
from thesislib.models.joint import JointNet

VERSION = 4  # of what can be read; raised when what was written before gives wrong answers
FORM = 6  # of what is written; raised when the same net gives other files
ABOUT = "about.json"
ONNX, OPENVINO, INT8 = "net.onnx", "openvino.xml", "openvino_int8.xml"
_OPSET = 18  # the first whose Resize is antialiased


class ExportError(ValueError):
    """Exported files that cannot be used; the message names them and says why."""


def export(
    net: JointNet | FaceClassifier,
    folder: Path | str,
    calibration: Sequence[Photo] = (),
    check: Dataset | None = None,
) -> dict[str, Any]:
    """Write a trained net as files that can be deployed.

    Args:
        net: trained; it is left as it is.
        folder: where the files go; an earlier export there is replaced, once the new one is whole.
            The folder of a training may hold the export of its own net alone.
        calibration: for int8: training photos, a few hundred, paths or arrays uint8 [H, W, 3];
            of a classifier what it sees, uint8 [3, H, W]. Without them int8 is not made. A net
            that reads at landmarks is calibrated with those in which it finds a face.
        check: for int8 of a joint net: photos, of neither calibration nor test, of people the net
            knows, or of anybody with several photos where it knows nobody; layers are kept in fp32
            until int8 costs no more than ``MOST_ACCURACY_LOST`` and ``MOST_IOU_LOST`` there. None
            takes int8 as it is.

    Returns:
        what ``about.json`` says.

    Raises:
        ExportError: ``folder`` is a training's, of another net; or a net that reads at landmarks
            finds no face in the photos of the calibration.
        CheckpointError: a net of a class that cannot be saved.
        MissingExtraError: what exporting needs is not installed.
        PhotoError: a photo of the calibration cannot be read.
        ValueError: a classifier with ``check``.
    """
    require("onnxscript", extra="deploy")
    require("openvino", extra="deploy")
    if len(calibration):
        require("nncf", extra="deploy")
    joint = isinstance(net, JointNet)
    if check is not None and not joint:
        raise ValueError("check: a classifier finds no faces; it cannot be checked on a dataset")
    folder = Path(folder)
    # Before the lock, as taking it would already leave a file in the folder.
    _check_folder(folder, net)
    photos = [_seen(photo, net) for photo in calibration]
    net = copy.deepcopy(net).cpu().eval()
    graph = PhotosToFaces(net) if joint else PhotosToLogits(net)
    about: dict[str, Any] = {
        "version": VERSION,
        "kind": "joint" if joint else "classifier",
        "input_px": net.input_px,
        "identities": net.identities,
    }
    if isinstance(net, JointNet):
        about["embedding_dim"] = net.embedding_dim
        about["landmarks"] = net.embedding_source == "landmarks"
        about["fingerprint"] = net.fingerprint
        about["gallery_threshold"] = net.gallery_threshold
    with storage.folder_lock(folder):
        _check_folder(folder, net)
        storage.sweep(folder)
        with storage.folder_aside(folder) as aside:
            if _of_training(folder):
                shutil.copyfile(folder / NET, aside / NET)  # stays as it is, byte for byte
                about["of_training"] = True
            else:
                save_net(aside, net)
            _write_onnx(graph, aside / ONNX, about)
            written = [NET, ONNX]
            model = _to_openvino(aside / ONNX)
            written += _write_openvino(model, aside / OPENVINO)
            about["int8"] = None
            if photos:
                if about.get("landmarks"):
                    photos = _with_faces(graph_of(model), photos)
                measure = functools.partial(_accuracy, about, check) if check else None
                about["int8"], quantised = quantise(model, photos, measure)
                if about["int8"]["offered"]:
                    written += _write_openvino(quantised, aside / INT8)
            about["sha256"] = {name: storage.bytes_hash(aside / name) for name in sorted(written)}
            about["checksum"] = _checksum(about)
            storage.write_json(aside / ABOUT, about)
            _replace(folder, aside, written)
    return about


def _check_folder(folder: Path, net: nn.Module) -> None:
    """Refuse the folder of another net's training, which an export would overwrite."""
    training = _of_training(folder) or (folder / CHECKPOINT).exists()
    if training and not holds(folder, net):
        raise ExportError(f"{folder}: holds the training of another net; choose another folder")


def _of_training(folder: Path) -> bool:
    """Whether the folder's net is a training's own, and not an earlier export's."""
    if not (folder / NET).exists():
        return False
    try:
        return "of_training" in json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except OSError:
        return True
    except (ValueError, TypeError):  # a damaged description, but of an export
        return False


def _replace(folder: Path, aside: Path, written: list[str]) -> None:
    """Move a whole export to its place."""
    # Without it nothing of the folder is used, so that an export is whole or not there.
    (folder / ABOUT).unlink(missing_ok=True)
    for name in (*written, ABOUT):
        os.replace(aside / name, folder / name)
    for file in (folder / INT8, (folder / INT8).with_suffix(".bin")):
        if file.name not in written:
            file.unlink(missing_ok=True)


def _seen(photo: Photo, net: nn.Module) -> np.ndarray:
    """A photo of the calibration as the graph gets it."""
    if isinstance(net, JointNet):
        return scaled_photo(open_photo(photo), net.input_px).permute(1, 2, 0).numpy()
    return photo if isinstance(photo, np.ndarray) else open_photo(photo)


def _with_faces(run: Run, photos: list[np.ndarray]) -> list[np.ndarray]:
    """Photos in which faces are found: of none, the layers that read faces would be calibrated
    with the extremes of nothing."""
    kept = [photo for photo in photos if len(run(photo[None], USER_SCORE)[0])]
    if not kept:
        raise ExportError(f"calibration: the net finds no face in any of its {len(photos)} photos")
    return kept


def _accuracy(about: dict[str, Any], dataset: Dataset, run: Run) -> dict[str, float]:
    """What int8 must not cost: see :func:`thesislib.deploy.int8.within_limits`."""
    system = GraphSystem(run, about["identities"], about["input_px"])
    report = evaluate(system, dataset)
    nobody = about["identities"] == list(NOBODY)
    return {
        "joint_accuracy_50": _alike(system, dataset) if nobody else report.joint_accuracy(0.5),
        "mean_iou": float(report.faces["iou"].mean()),
    }


def _alike(system: GraphSystem, dataset: Dataset) -> float:
    """Share of faces that are found and to which the most similar other one is the same person's:
    joint accuracy of a net that knows nobody by name."""
    faces = annotated_faces(dataset)
    files = [dataset.folder / photo for photo in dataset.photos]
    found = dict(zip(dataset.photos, predict(system, files), strict=True))
    vectors, names, photos = [], [], []
    for face in faces[faces["identity"] != ""].itertuples():
        answers = found[face.photo]
        box = np.array([[face.x1, face.y1, face.x2, face.y2]])
        iou = box_iou(np.array([one.box for one in answers]).reshape(-1, 4), box)[:, 0]
        if iou.max(initial=0) >= 0.5:
            vectors.append(answers[iou.argmax()].embedding)
            names.append(face.identity)
            photos.append(face.photo)
    if not vectors:
        return 0.0
    similar = np.stack(vectors) @ np.stack(vectors).T
    similar[np.array(photos)[:, None] == np.array(photos)] = -np.inf
    right = np.array(names)[similar.argmax(axis=1)] == np.array(names)
    return float(right.sum() / (faces["identity"] != "").sum())


def _write_onnx(graph: nn.Module, path: Path, about: dict[str, Any]) -> None:
    joint = isinstance(graph, PhotosToFaces)
    example = torch.zeros(2, 200, 333, 3, dtype=torch.uint8)
    if not joint:
        example = example.permute(0, 3, 1, 2).contiguous()
    free = {0: "photos", 1: "height", 2: "width"} if joint else {0: "photos", 2: "rows", 3: "cols"}
    shape = {axis: torch.export.Dim(name, min=1, max=2**20) for axis, name in free.items()}
    threshold = (torch.tensor(SCORE_THRESHOLD),) if joint else ()
    with torch.no_grad(), quietly():
        program = torch.onnx.export(
            graph,
            (example, *threshold),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            dynamic_shapes=(shape, *(None for _ in threshold)),
            input_names=["photos", "score_threshold"] if joint else ["photos"],
            output_names=_outputs(graph),
            custom_translation_table={torch.ops.thesislib.suppress.default: suppress_in_onnx()},
        )
    assert program is not None
    model = program.model_proto
    # So that the file can be used by itself.
    for name in ("version", "kind", "input_px", "identities"):
        model.metadata_props.add(key=name, value=json.dumps(about[name], ensure_ascii=False))
    path.write_bytes(model.SerializeToString())


def _outputs(graph: nn.Module) -> list[str]:
    if not isinstance(graph, PhotosToFaces):
        return ["logits"]
    return list(OUTPUTS if graph.net.embedding_source == "landmarks" else OUTPUTS[:-1])


def _to_openvino(onnx: Path) -> Any:
    """OpenVINO's model of an ONNX file, scaling done as Pillow and PyTorch do it."""
    import openvino as ov
    from openvino import opset11

    model = ov.Core().read_model(onnx)
    of_faces = False  # what comes after the first patch is sampled
    for node in model.get_ordered_ops():
        # OpenVINO's own linear mode leaves out antialiasing on a CPU; Pillow's has it built in.
        if node.get_type_name() == "Interpolate" and _scales_photos(node):
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
        elif node.get_type_name() == "AvgPool" and of_faces:
            _pool_by_convolution(node)
        elif node.get_type_name() == "Convolution":
            _fix_bias(node)
        of_faces |= node.get_type_name() == "GridSample"
    model.validate_nodes_and_infer_types()
    return model


def _pool_by_convolution(node: Any) -> None:
    """Average pooling as the convolution that it is.

    Of no faces, OpenVINO's own (2026.4) leaves the rest of the graph as the last photo left it:
    a photo without a face would be answered with the faces of the one before.
    """
    from openvino import opset11

    attributes = node.get_attributes()
    channels = node.input(0).get_partial_shape()[1].get_length()
    kernel = attributes["kernel"]
    weights = np.full((channels, 1, 1, *kernel), 1 / np.prod(kernel), np.float32)
    pooled = opset11.group_convolution(
        node.input(0).get_source_output(),
        opset11.constant(weights),
        attributes["strides"],
        attributes["pads_begin"],
        attributes["pads_end"],
        [1, 1],
    )
    pooled.set_friendly_name(f"{node.get_friendly_name()}/pooled")
    node.output(0).replace(pooled.output(0))


def _fix_bias(convolution: Any) -> None:
    """Give a bias its shape here: OpenVINO's reader leaves that to the running graph, and then the
    bias is added in a pass of its own over the map, in place of with the convolution."""
    from openvino import opset11

    for after in convolution.output(0).get_target_inputs():
        add = after.get_node()
        if add.get_type_name() != "Add":
            continue
        shaped = add.input(1).get_source_output().get_node()
        if shaped.get_type_name() != "Reshape":
            continue
        bias = shaped.input(0).get_source_output().get_node()
        if bias.get_type_name() == "Constant":
            fixed = opset11.constant(np.array(bias.data).reshape(1, -1, 1, 1))
            add.input(1).replace_source_output(fixed.output(0))


def _scales_photos(node: Any) -> bool:
    """Whether an interpolation is that of the photos, whose channels have just been moved."""
    return node.input(0).get_source_output().get_node().get_type_name() == "Transpose"


def _write_openvino(model: Any, path: Path) -> list[str]:
    import openvino as ov

    ov.save_model(model, path, compress_to_fp16=False)
    return [path.name, path.with_suffix(".bin").name]


def _checksum(about: dict[str, Any]) -> str:
    content = {key: value for key, value in about.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_about(folder: Path | str) -> dict[str, Any]:
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
