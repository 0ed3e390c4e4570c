"""Engines that run an exported net, and which of them is fastest here."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from thesislib import storage
from thesislib.deploy.export import INT8, ONNX, OPENVINO
from thesislib.deploy.graph import USER_SCORE, PhotosToFaces, PhotosToLogits, Run, detecting
from thesislib.engine.checkpoint import best_device, load_net
from thesislib.engine.timing import take_turns
from thesislib.models.convolutions import use_channels_last
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

# Slowest last: where one cannot be had, the next is used.
ENGINES = (
    "openvino_int8",
    "openvino_bf16",
    "openvino",
    "onnxruntime",
    "torch_compile",
    "torch",
)
_PACKAGES = ("onnxruntime", "openvino")
CHOICES = "engines.json"
_WARM_UPS, _RUNS = 3, 7


class EngineUnavailableError(RuntimeError):
    """An engine that cannot be used here; the message says what is missing."""


def cache_folder() -> Path:
    """Where measured choices are kept: ``THESIS_CACHE``, or the user's cache folder."""
    asked = os.environ.get("THESIS_CACHE")
    return Path(asked).expanduser() if asked else platformdirs.user_cache_path("thesislib")


def open_engine(
    folder: Path | str, about: dict[str, Any], engine: str, threads: int
) -> tuple[str, Run]:
    """The graph of an exported net on an engine, or on the next best that can be had.

    Args:
        folder: of the export.
        about: what :func:`thesislib.deploy.export.read_about` gave of it.
        engine: one of ``ENGINES``.
        threads: of the engine, on the CPU.

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


def missing(about: dict[str, Any], engine: str) -> str | None:
    """Why an engine cannot be used for this net here; None where it can."""
    package = engine.split("_")[0]
    if package in _PACKAGES and importlib.util.find_spec(package) is None:
        return f"{package} is not installed (pip install 'thesislib[deploy]')"
    if engine == "openvino_int8" and INT8 not in about["sha256"]:
        if about["int8"] is None:
            return "the net was exported without int8 (give export() photos for calibration)"
        return "int8 cost this net too much accuracy, so it was not exported"
    if engine == "openvino_bf16":
        import openvino as ov

        if _reads_places(about):
            return "where faces are read would be rounded to three digits"
        if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return "this processor does not multiply in bf16"
    return None


def _reads_places(about: dict[str, Any]) -> bool:
    """Whether a net reads faces at places that it computes, for which bf16 has too few digits."""
    return about["kind"] == "joint" and about["landmarks"]


def available(about: dict[str, Any]) -> list[str]:
    """The engines that are worth a trial for this net here."""
    # Compiling takes longer than it gains before thousands of photos, unless on a GPU.
    skipped = () if torch.cuda.is_available() else ("torch_compile",)
    return [name for name in ENGINES if name not in skipped and not missing(about, name)]


def _open(folder: Path, about: dict[str, Any], engine: str, threads: int) -> Run:
    why_not = missing(about, engine)
    if why_not:
        raise EngineUnavailableError(why_not)
    if engine == "onnxruntime":
        call = _onnxruntime(folder / ONNX, threads)
        return detecting(call) if about["kind"] == "joint" else call
    if engine.startswith("openvino"):
        file = INT8 if engine == "openvino_int8" else OPENVINO
        full = engine == "openvino" or _reads_places(about)
        call = _openvino(folder / file, threads, full)
        return detecting(call) if about["kind"] == "joint" else call
    return on_torch(load_net(folder), compiled=engine == "torch_compile", threads=threads)


def _onnxruntime(file: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda *inputs: tuple(session.run(None, dict(zip(names, inputs, strict=True))))


def _openvino(file: Path, threads: int, full: bool) -> Run:
    import openvino as ov

    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if full:  # otherwise bf16 where the processor has it
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    # The answer's own copy: the next call writes over the engine's memory.
    return lambda *inputs: tuple(value.copy() for value in compiled(inputs).values())


def on_torch(
    net: JointNet | FaceClassifier,
    compiled: bool = False,
    threads: int | None = None,
    device: torch.device | str | None = None,
) -> Run:
    """A net in PyTorch, as an engine; on a GPU in bf16.

    Args:
        net: moved to the device, and put into evaluation mode.
        compiled: use ``torch.compile`` for the network itself.
        threads: on the CPU; None for as many as PyTorch uses.
        device: None for the GPU where there is one.
    """
    on = torch.device(device or best_device())
    net = net.to(on).eval()
    use_channels_last(net)
    module: Any = torch.compile(net, dynamic=True) if compiled else net
    graph = PhotosToLogits(module) if isinstance(net, FaceClassifier) else PhotosToFaces(module)

    @torch.inference_mode()
    def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        lowered = torch.autocast("cuda", torch.bfloat16, enabled=on.type == "cuda")
        with _threads(threads), lowered:
            found = graph(*(torch.from_numpy(one).to(on) for one in inputs))
        found = found if isinstance(found, tuple) else (found,)
        return tuple(value.cpu().numpy() for value in found)

    return run if isinstance(net, FaceClassifier) else detecting(run)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """PyTorch on this many threads; the number is the whole process's, so it is put back."""
    before = torch.get_num_threads()
    if count in (None, before):
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fastest(folder: Path | str, about: dict[str, Any], threads: int) -> str:
    """The fastest engine for this net on this machine, measured once and remembered.

    Choices are kept in :func:`cache_folder`; where that may not be written to, with a warning, each
    call measures. Processes that ask at the same time wait for the first to measure.
    """
    kept = cache_folder() / CHOICES
    key = storage.text_hash(json.dumps([about["checksum"], _machine(), threads]))
    choices = _read_choices(kept)
    if key in choices:
        return choices[key]
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(storage.folder_lock(kept.parent, wait=True))
        except storage.NotWritableError as error:
            warnings.warn(
                f"{error}, so the fastest engine is measured each time; THESIS_CACHE names another "
                "folder for what was measured",
                stacklevel=2,
            )
            return _measured(folder, about, threads)
        choices = _read_choices(kept)
        if key not in choices:
            choices[key] = _measured(folder, about, threads)
            storage.write_json(kept, choices)
        return choices[key]


def _measured(folder: Path | str, about: dict[str, Any], threads: int) -> str:
    times = time_engines(folder, about, threads)
    return min(times, key=lambda name: times[name])


def _read_choices(path: Path) -> dict[str, str]:
    try:
        choices = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: measured anew
        return {}
    return choices if isinstance(choices, dict) else {}


def time_engines(folder: Path | str, about: dict[str, Any], threads: int) -> dict[str, float]:
    """Milliseconds per photo (median) of each of the :func:`available` engines.

    Args:
        folder, about, threads: as for :func:`open_engine`.
    """
    side = about["input_px"]
    photo = np.random.default_rng(0).integers(
        0, 256, (side, round(side * 4 / 3), 3), dtype=np.uint8
    )
    systems = {}
    for name in available(about):
        run = _open(Path(folder), about, name, threads)
        systems[name] = [("graph", lambda photo, run=run: run(photo[None], USER_SCORE))]
    times = take_turns(systems, [photo], _RUNS, _WARM_UPS)
    return times.groupby("system")["ms"].median().to_dict()


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
    for package in _PACKAGES:
        if importlib.util.find_spec(package):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return [platform.node(), machine(), *versions]
