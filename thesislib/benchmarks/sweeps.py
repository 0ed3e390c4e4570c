"""Time against what is asked: pixels, batches, threads, people."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from thesislib import seeds
from thesislib.baselines.detector_settings import USUAL, DetectorSettings
from thesislib.benchmarks import nets
from thesislib.benchmarks.nets import Bench
from thesislib.benchmarks.rows import Rows
from thesislib.benchmarks.systems import available, exported, stages_of, two_stage
from thesislib.benchmarks.timing import times, turns, whole
from thesislib.deploy.engines import open_engine
from thesislib.deploy.export import read_about
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.recogniser import Recogniser
from thesislib.experiments.config import parts
from thesislib.models.heads import IdentityClassifier

Refused = set[tuple[str, str]]  # engine and backbone: too inaccurate


def best_engine(folder: Path, backbone: str, refused: Refused) -> str:
    """The fastest engine that is there and passed the gate."""
    return next(name for name in available(folder) if (name, backbone) not in refused)


def photo_sizes(bench: Bench, rows: Rows, refused: Refused) -> None:
    """Time against the photo's size, the net taking it as it is; ``input_px`` is that size."""
    size, first, backbone = bench.size, bench.size.backbones[0], bench.size.backbones[-1]
    config = nets.portrait_config(bench, first)
    named = exported(nets.classifier(bench), config, calibration=size.calibration)
    test = nets.read_photos(parts(config).test)[:4]
    for px in size.photo_px:
        photos = [enlarged(photo, px) for photo in test]
        # For its time alone, which calibration does not change: enlarged photos show no more.
        folder = exported(nets.joint_net(bench, backbone), config, input_px=px, calibration=8)
        bench.say(f"photos of {px} px")
        found: dict[tuple, Any] = {
            ("joint", engine, backbone): Recogniser(folder, engine, bench.threads)
            for engine in (best_engine(folder, backbone, refused), "torch")
        }
        for engine, up in ((available(named)[0], 0), ("torch", 1)):
            found[f"two_stage_up{up}", engine, first] = two_stage(
                config, named, engine, "photo", DetectorSettings(up, USUAL), px, bench.threads
            )
        stages = {key: stages_of(system) for key, system in found.items()}
        rows.add_turns(whole(turns(stages, photos, size.runs)), input_px=px)


def enlarged(photo: np.ndarray, px: int) -> np.ndarray:
    """A photo with ``px`` pixels on its shorter side."""
    height, width = photo.shape[:2]
    scale = px / min(height, width)
    return np.array(Image.fromarray(photo).resize((round(width * scale), round(height * scale))))


def batches_and_threads(bench: Bench, rows: Rows, refused: Refused) -> None:
    """Time per photo against the batch and against threads."""
    size = bench.size
    for backbone in size.backbones:
        config = nets.portrait_config(bench, backbone)
        net, check = nets.joint_net(bench, backbone), nets.gate(bench)
        folder = exported(net, config, calibration=size.calibration, check=check)
        about, photo = read_about(folder), nets.read_photos(parts(config).test)[0]
        fastest = best_engine(folder, backbone, refused)
        bench.say(f"batches and threads, {backbone}")
        usual = bench.threads
        for threads in range(1, usual):
            for engine in (fastest, "torch"):
                _, run = open_engine(folder, about, engine, threads)
                ms = times({("one",): functools.partial(_alone, run)}, [photo], size.runs)
                rows.add("joint", engine, ms["one",], backbone, threads=threads)
            torch.set_num_threads(usual)
        _, run = open_engine(folder, about, fastest, usual)
        for batch in size.batches:
            together = np.stack([photo] * batch)
            ms = times({("batch",): run}, [together], size.runs)
            rows.add("joint", fastest, ms["batch",] / batch, backbone, batch=batch)


def _alone(run: Callable, photo: np.ndarray) -> Any:
    return run(photo[None])


def identities(bench: Bench, rows: Rows) -> None:
    """Time of the classifier, and of a search in a gallery, against the number of people."""
    bench.say("identities")
    backbone, runs = bench.size.backbones[-1], bench.size.runs
    draws = seeds.generator(bench.seed, "benchmark")
    for people in bench.size.identities:
        classifier = IdentityClassifier(512, people, normalised=True).eval()
        gallery = Gallery.of_embeddings(512, "made up")
        templates = draws.standard_normal((people, 512), dtype=np.float32)
        templates /= np.linalg.norm(templates, axis=1, keepdims=True)
        gallery.enrol_embeddings([str(at) for at in range(people)], templates)
        for count in (1, 32):
            probes = templates[np.arange(count) % people]
            found = {
                ("joint", "torch", backbone): functools.partial(_classify, classifier),
                ("gallery", "exact", backbone): functools.partial(_identify, gallery),
            }
            # One after the other: NumPy's threads stay awake for longer than the pause.
            for key, system in found.items():
                time.sleep(0.2)
                taken = times({key: system}, [probes], runs)
                rows.add_turns(taken, stage="classifier", people=people, faces=count)


@torch.inference_mode()
def _classify(classifier: IdentityClassifier, embeddings: np.ndarray) -> Any:
    return classifier.at(torch.from_numpy(embeddings)).softmax(dim=1).max(dim=1)


def _identify(gallery: Gallery, embeddings: np.ndarray) -> Any:
    return gallery.identify(embeddings, 0.5)
