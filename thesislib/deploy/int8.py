"""int8: post-training quantisation, kept only where it costs next to no accuracy."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from thesislib.metrics import matching

# int8 may cost this much on the photos it is checked on, or it is not offered.
MOST_ACCURACY_LOST = 0.005  # joint accuracy at IoU 0.5, share of faces
MOST_IOU_LOST = 0.01


def accuracy_check(
    photos: Sequence[np.ndarray], truths: Sequence[dict], identities: Sequence[str]
) -> Callable[[Callable], dict]:
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
    faces = matching.faces_table(names, predictions, truths)
    return {
        "joint_accuracy_50": float(matching.jointly_correct(faces, 0.5).mean()),
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


def quantise(model, calibration: Sequence[np.ndarray], check: Callable | None) -> tuple:
    """Post-training static quantisation; convolutions kept in fp32 until the check is passed."""

    # NNCF reports its use over the network unless it takes itself to be under test.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    convolutions, others = _backbone(model)
    trials = [0] if check is None else [0, 1, len(convolutions) // 4, len(convolutions) // 2]
    full = check(_graph(model)) if check else None
    tried = []
    for kept in trials:
        with quietly():
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


@contextlib.contextmanager
def quietly() -> Iterator[None]:
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
