"""The product: an exported net behind one interface, on whichever engine is fastest here."""

import importlib.metadata
import importlib.util
import json
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from thesislib import paths, storage
from thesislib.export import (
    INT8,
    ONNX,
    OPENVINO,
    PhotosToFaces,
    PhotosToLogits,
    build,
    read_about,
)
from thesislib.model import FaceClassifier
from thesislib.systems import scaled_size
from thesislib.train import use_channels_last

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
# A photo that is scaled to more pixels than this is a mistake: a line, not a photo.
MAX_SCALED_PIXELS = 40_000_000
_WARM_UPS, _RUNS = 3, 7


class EngineUnavailableError(RuntimeError):
    """An engine that cannot be used here; the message says what is missing."""


def as_photo(photo: np.ndarray) -> np.ndarray:
    """Any array that is plainly a photo as uint8 [H, W, 3].

    Args:
        photo: [H, W], [H, W, 1] or [H, W, 3]; uint8, uint16 (0..65535) or float (0..1).

    Raises:
        ValueError: anything else, named.
    """
    photo = np.asarray(photo)
    if photo.ndim == 2:
        photo = photo[:, :, None]
    if photo.ndim != 3 or photo.shape[2] not in (1, 3) or 0 in photo.shape:
        raise ValueError(
            f"photo of shape {photo.shape}: expected [H, W], [H, W, 1] or [H, W, 3], none of it 0"
        )
    if photo.dtype == np.uint16:
        photo = np.round(photo / 257.0).astype(np.uint8)
    elif np.issubdtype(photo.dtype, np.floating):
        # Also false where something is not a number.
        if not (photo.min() >= 0 and photo.max() <= 1):
            raise ValueError(
                f"photo of {photo.dtype} with values {photo.min():.3g} to {photo.max():.3g}: "
                "floats must be in 0..1"
            )
        photo = np.round(255.0 * photo).astype(np.uint8)
    elif photo.dtype != np.uint8:
        raise ValueError(f"photo of {photo.dtype}: expected uint8, uint16 or float")
    if photo.shape[2] == 1:
        photo = np.repeat(photo, 3, axis=2)
    return np.ascontiguousarray(photo)


class Recogniser:
    """Finds and names the faces of a photo.

    Args:
        folder: what :func:`thesislib.export.export` wrote of a joint net.
        engine: one of ``ENGINES``, or ``"auto"``: the fastest on this machine by a short
            measurement, which is remembered. One that cannot be had is named in a warning, with
            what it needs, and the next in ``ENGINES`` is used.
        threads: of the engine; None for as many as PyTorch uses.

    Attributes:
        engine: the one in use.
        identities: names of the people.

    Raises:
        ExportError: the folder is not whole, was altered, or is of another version.
        ValueError: unknown engine, or the folder holds a classifier.
    """

    def __init__(
        self, folder: Path | str, engine: str = "auto", threads: int | None = None
    ) -> None:
        self.about = read_about(folder)
        if self.about["kind"] != "joint":
            raise ValueError(f"{folder}: a classifier of faces, which finds none by itself")
        self.identities = self.about["identities"]
        self.input_px = self.about["input_px"]
        threads = threads or torch.get_num_threads()
        if engine == "auto":
            engine = _fastest(folder, self.about, threads)
        self.engine, self.run = open_engine(folder, self.about, engine, threads)

    def __call__(self, photo: np.ndarray) -> dict:
        """Faces of one photo; see :meth:`batch`."""
        return self.batch([photo])[0]

    def batch(self, photos: Sequence[np.ndarray]) -> list[dict]:
        """Faces of photos of any sizes; those of one size go through the net together.

        Args:
            photos: as :func:`as_photo` takes them.

        Returns:
            one dict a photo, best first: ``boxes`` float32 [D, 4] pixels, ``scores`` float32
            [D], ``identities`` list of D names, ``identity_scores`` float32 [D],
            ``embeddings`` float32 [D, E], L2-normalised.

        Raises:
            ValueError: no photo, or one so long and narrow that it cannot be scaled.
        """
        photos = [as_photo(photo) for photo in photos]
        of_size: dict[tuple, list[int]] = {}
        for at, photo in enumerate(photos):
            height, width = photo.shape[:2]
            scaled = scaled_size(height, width, self.input_px)
            if scaled[0] * scaled[1] > MAX_SCALED_PIXELS:
                raise ValueError(
                    f"photo {at}, {width} x {height} pixels: scaled to {self.input_px} on the "
                    f"shorter side it would be {scaled[1]} x {scaled[0]}; cut it first"
                )
            of_size.setdefault(photo.shape, []).append(at)
        answers: list[dict] = [{}] * len(photos)
        for places in of_size.values():
            together = np.stack([photos[at] for at in places]) if len(places) > 1 else None
            found = self.run(photos[places[0]][None] if together is None else together)
            for number, at in enumerate(places):
                own = found[0] == number
                boxes, scores, identities, identity_scores, embeddings = (
                    values[own] for values in found[1:]
                )
                answers[at] = {
                    "boxes": boxes,
                    "scores": scores,
                    "identities": [self.identities[at] for at in identities],
                    "identity_scores": identity_scores,
                    "embeddings": embeddings,
                }
        return answers


class EngineClassifier(nn.Module):
    """The two-stage baseline's classifier on an engine; stands in for a :class:`FaceClassifier`.

    Args:
        folder: what :func:`thesislib.export.export` wrote of a classifier.
        engine, threads: as for :class:`Recogniser`, but not ``"auto"``.
    """

    def __init__(self, folder: Path | str, engine: str, threads: int | None = None) -> None:
        super().__init__()
        about = read_about(folder)
        if about["kind"] != "classifier":
            raise ValueError(f"{folder}: a joint net, where a classifier is needed")
        self.identities = about["identities"]
        threads = threads or torch.get_num_threads()
        self.engine, self.run = open_engine(folder, about, engine, threads)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits of photos uint8 [N, 3, H, W]."""
        return torch.from_numpy(self.run(photos.contiguous().numpy())[0])


# --- engines --------------------------------------------------------------------------------------


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


# --- the fastest ----------------------------------------------------------------------------------


def _fastest(folder: Path | str, about: dict, threads: int) -> str:
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
