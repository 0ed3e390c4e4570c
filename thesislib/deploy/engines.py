"""Engines that run an exported net, and which of them is fastest here."""

import importlib.metadata
import importlib.util
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thesislib import paths, storage
from thesislib.deploy.export import INT8, ONNX, OPENVINO, build
from thesislib.deploy.graph import PhotosToFaces, PhotosToLogits
from thesislib.models.convolutions import use_channels_last
from thesislib.models.face_classifier import FaceClassifier

# Slowest last: where one cannot be had, the next is used.
ENGINES = (
    "openvino_int8",
    "openvino_bf16",
    "openvino",
    "onnxruntime",
    "torch_compile",
    "torch",
)
_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
CHOICES = "engines.json"
_WARM_UPS, _RUNS = 3, 7


class EngineUnavailableError(RuntimeError):
    """An engine that cannot be used here; the message says what is missing."""


def open_engine(
    folder: Path | str, about: dict, engine: str, threads: int
) -> tuple[str, Callable[[np.ndarray], tuple[np.ndarray, ...]]]:
    """The graph of an exported net on an engine, or on the next best that can be had.

    Returns:
        the engine in use, and the function from photos to the graph's outputs.

    Raises:
        ValueError: unknown engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is unknown; choose auto, {', '.join(ENGINES)}")
    for name in ENGINES[ENGINES.index(engine) :]:
        try:
            run = _open(Path(folder), about, name, threads)
        except EngineUnavailableError as error:
            warnings.warn(f"engine {name}: {error}; the next best is used", stacklevel=3)
            continue
        return name, run
    raise AssertionError("torch is always there")


def missing(about: dict, engine: str) -> str | None:
    """Why an engine cannot be used for this net here; None where it can."""
    package = _PACKAGES.get(engine.split("_")[0])
    if package and importlib.util.find_spec(package) is None:
        return f"{package} is not installed (pip install {package}, or make env)"
    if engine == "openvino_int8" and INT8 not in about["sha256"]:
        if about["int8"] is None:
            return "the net was exported without int8 (give export() photos for calibration)"
        return "int8 cost this net too much accuracy, so it was not exported"
    if engine == "openvino_bf16":
        import openvino as ov

        if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return "this processor does not multiply in bf16"
    if engine.startswith("torch") and about["net"] is None:
        return "this net can only be built by its own code, not from its file"
    return None


def _open(folder: Path, about: dict, engine: str, threads: int) -> Callable:
    why_not = missing(about, engine)
    if why_not:
        raise EngineUnavailableError(why_not)
    if engine == "onnxruntime":
        return _onnxruntime(folder / ONNX, threads)
    if engine.startswith("openvino"):
        file = INT8 if engine == "openvino_int8" else OPENVINO
        return _openvino(folder / file, threads, full=engine == "openvino")
    return on_torch(build(about, folder), about["input_px"], engine == "torch_compile", threads)


def _onnxruntime(file: Path, threads: int) -> Callable:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda photos: tuple(session.run(None, {"photos": photos}))


def _openvino(file: Path, threads: int, full: bool) -> Callable:
    import openvino as ov

    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if full:  # otherwise bf16 where the processor has it
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    # The answer's own copy: the next call writes over the engine's memory.
    return lambda photos: tuple(value.copy() for value in compiled([photos]).values())


def on_torch(net: nn.Module, input_px: int, compiled: bool, threads: int) -> Callable:
    """A net in PyTorch, as an engine: on a GPU, where there is one, in bf16.

    Args:
        net: joint net or classifier.
        input_px: shorter side that photos are scaled to.
        compiled: use ``torch.compile`` for the convolutions.
        threads: on the CPU.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = net.to(device).eval()
    use_channels_last(net)
    if isinstance(net, FaceClassifier):
        graph = PhotosToLogits(net)
        if compiled:
            graph.net = torch.compile(net, dynamic=True)
    else:
        graph = PhotosToFaces(net, input_px)
        if compiled:
            graph.heads = torch.compile(net.heads, dynamic=True)

    @torch.inference_mode()
    def run(photos: np.ndarray) -> tuple[np.ndarray, ...]:
        lowered = torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")
        with lowered:
            found = graph(torch.from_numpy(photos).to(device))
        found = found if isinstance(found, tuple) else (found,)
        return tuple(value.cpu().numpy() for value in found)

    return run


def fastest(folder: Path | str, about: dict, threads: int) -> str:
    """The fastest engine for this net on this machine, measured once."""
    kept = paths.RUNS / CHOICES
    key = storage.text_hash(json.dumps([about["checksum"], _machine(), threads]))
    choices = _read_choices(kept)
    if key not in choices:
        times = time_engines(folder, about, threads)
        with storage.folder_lock(kept.parent, wait=True):
            choices = {**_read_choices(kept), key: min(times, key=times.get)}
            storage.write_json(kept, choices)
    return choices[key]


def _read_choices(path: Path) -> dict:
    try:
        choices = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: measured anew
        return {}
    return choices if isinstance(choices, dict) else {}


def time_engines(folder: Path | str, about: dict, threads: int) -> dict[str, float]:
    """Seconds a photo (median) of each engine that can be had here, taking turns."""
    rng = np.random.default_rng(0)
    side = about["input_px"]
    photo = rng.integers(0, 256, (1, side, round(side * 4 / 3), 3), dtype=np.uint8)
    # Compiling takes longer than it gains before thousands of photos, unless on a GPU.
    skipped = () if torch.cuda.is_available() else ("torch_compile",)
    names = [name for name in ENGINES if name not in skipped and not missing(about, name)]
    engines = {name: _open(Path(folder), about, name, threads) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(_WARM_UPS + _RUNS):
        for name, run in engines.items():
            began = time.perf_counter()
            run(photo)
            if turn >= _WARM_UPS:
                times[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


def machine() -> str:
    """The processor in words, and the GPU where there is one."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    return f"{name}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else name


def _machine() -> list[str]:
    versions = [f"torch {torch.__version__}"]
    for package in _PACKAGES.values():
        if importlib.util.find_spec(package):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return [platform.node(), machine(), *versions]
