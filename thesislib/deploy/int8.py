"""int8: post-training quantisation, kept only where it costs next to no accuracy."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from thesislib.deploy.graph import Run

# int8 may cost this much on the photos it is checked on, or it is not offered.
MOST_ACCURACY_LOST = 0.005  # joint accuracy at IoU 0.5, share of faces
MOST_IOU_LOST = 0.01


def within_limits(lowered: dict[str, float], full: dict[str, float]) -> bool:
    """Whether a net of lower precision is accurate enough to be offered.

    Args:
        lowered, full: ``joint_accuracy_50`` and ``mean_iou`` over all faces, 0 to 1, in lower
            precision and in fp32.
    """
    # A hair for the rounding of shares such as 0.965 - 0.96.
    return (
        full["joint_accuracy_50"] - lowered["joint_accuracy_50"] <= MOST_ACCURACY_LOST + 1e-9
        and full["mean_iou"] - lowered["mean_iou"] <= MOST_IOU_LOST + 1e-9
    )


def quantise(
    model: Any,
    calibration: Sequence[np.ndarray],
    check: Callable[[Run], dict[str, float]] | None = None,
) -> tuple[dict[str, Any], Any]:
    """Post-training static quantisation of the backbone; heads stay in fp32.

    Args:
        model: OpenVINO's of a graph of :mod:`thesislib.deploy.graph`.
        calibration: inputs of the graph without their first axis.
        check: from the graph to its ``joint_accuracy_50`` and ``mean_iou``; the backbone's first
            convolutions are kept in fp32 until :func:`within_limits`, up to half of them. None
            quantises all.

    Returns:
        what was tried, found and whether the result is to be offered; and the quantised model.
    """
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
        offered = full is None or found is None or within_limits(found, full)
        if offered:
            break
    return {"offered": offered, "fp32": full, "tried": tried}, quantised


def _graph(model: Any) -> Run:
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda photos: tuple(value.copy() for value in compiled([photos]).values())


def _backbone(model: Any) -> tuple[list[str], list[str]]:
    """Names of the backbone's convolutions in their order, and of all operations outside it.

    The heads stay in fp32: they are a few per cent of the work, and boxes and cosines need the
    digits.
    """
    order = [op for op in model.get_ordered_ops() if op.get_type_name() != "Constant"]
    convolutions = [op for op in order if op.get_type_name() == "Convolution"]
    inside = {convolutions[0].get_friendly_name()} | _descendants(convolutions[0])
    for op in convolutions:
        if "backbone." not in _weight(op):
            inside -= {op.get_friendly_name()} | _descendants(op)
    others = [op.get_friendly_name() for op in order if op.get_friendly_name() not in inside]
    # A classifier's heads are no convolutions.
    others += [op.get_friendly_name() for op in order if op.get_type_name() == "MatMul"]
    names = [op.get_friendly_name() for op in convolutions]
    return [name for name in names if name in inside], sorted(set(others))


def _weight(convolution: Any) -> str:
    """Name of a convolution's weight, which is that of the net's parameter."""
    return convolution.input(1).get_source_output().get_node().get_friendly_name()


def _descendants(op: Any) -> set[str]:
    found: set[str] = set()
    waiting = [op]
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
    """Silence exporters, whose warnings and progress are not for the user."""
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
