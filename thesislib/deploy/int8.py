"""int8: post-training quantisation, kept only where it costs next to no accuracy."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from thesislib.deploy.graph import USER_SCORE, Run, detecting

# int8 may cost this much on the photos it is checked on, or it is not offered.
MOST_ACCURACY_LOST = 0.005  # joint accuracy at IoU 0.5, share of faces
MOST_IOU_LOST = 0.01
# Parts of a net whose convolutions are quantised, by what their weights are called.
QUANTISED = ("backbone.", "bottom_up.", "across.", "regression_head.out.", "embedding_head.stage")


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
    """Post-training static quantisation of the layers that take the time; heads stay in fp32.

    Args:
        model: OpenVINO's of a graph of :mod:`thesislib.deploy.graph`.
        calibration: inputs of the graph without their first axis.
        check: from the graph to its ``joint_accuracy_50`` and ``mean_iou``; the first of these
            layers are kept in fp32 until :func:`within_limits`, up to half of them. None
            quantises all.

    Returns:
        what was tried, found and whether the result is to be offered; and the quantised model.
    """
    # NNCF reports its use over the network unless it takes itself to be under test.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    convolutions, others = _heavy(model)
    trials = [0] if check is None else [0, 1, len(convolutions) // 4, len(convolutions) // 2]
    full = check(graph_of(model)) if check else None
    tried = []
    for kept in trials:
        with quietly():
            quantised = nncf.quantize(
                model.clone(),
                nncf.Dataset([_inputs(model, photo) for photo in calibration]),
                subset_size=len(calibration),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=others + convolutions[:kept], validate=False),
                # It brings embeddings no nearer to those of fp32.
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    disable_bias_correction=True
                ),
            )
        found = check(graph_of(quantised)) if check else None
        tried.append({"fp32_convolutions": kept, "found": found})
        offered = full is None or found is None or within_limits(found, full)
        if offered:
            break
    return {"offered": offered, "fp32": full, "tried": tried}, quantised


def graph_of(model: Any) -> Run:
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(value.copy() for value in compiled(inputs).values())

    return detecting(run) if len(model.inputs) > 1 else run


def _inputs(model: Any, photo: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the graph takes: one photo, and of a joint net the user's usual threshold."""
    return (photo[None], np.array(USER_SCORE, dtype=np.float32))[: len(model.inputs)]


def _heavy(model: Any) -> tuple[list[str], list[str]]:
    """Names of the convolutions that are quantised in their order, and of all operations that do
    not lie between them.

    The last layers of heads stay in fp32: they are a few per cent of the work, and boxes and
    cosines need the digits.
    """
    order = [op for op in model.get_ordered_ops() if op.get_type_name() != "Constant"]
    heavy, inside, others = [], set(), []
    for op in order:
        name = op.get_friendly_name()
        if op.get_type_name() == "Convolution":
            within = any(part in _weight(op) for part in QUANTISED)
            if within:
                heavy.append(name)
        else:
            before = {one.get_source_output().get_node() for one in op.inputs()}
            before = {one for one in before if one.get_type_name() != "Constant"}
            # A classifier's heads are no convolutions.
            within = (
                bool(before)
                and all(one.get_friendly_name() in inside for one in before)
                and op.get_type_name() != "MatMul"
            )
        if within:
            inside.add(name)
        else:
            others.append(name)
    return heavy, others


def _weight(convolution: Any) -> str:
    """Name of a convolution's weight, which is that of the net's parameter."""
    return convolution.input(1).get_source_output().get_node().get_friendly_name()


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
