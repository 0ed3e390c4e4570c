"""The camera: pose and framing of a person, and what a camera does to a photo."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from thesislib.synthetic.head import Layout, _skin_radius, in_face, landmarks, probe_directions
from thesislib.synthetic.numerics import _rotation, exp
from thesislib.synthetic.parameters import SESSION_FACTORS, SHOT_FACTORS, Parameters

SUPERSAMPLE = 2


def _pose(p: Parameters, e: Parameters, face_width: float) -> dict:
    """Where a head is turned, and its face in pixels about the head's centre in the photo.

    ``face_width`` is the head's width in pixels, seen from the front.
    """
    f = Layout(probe_directions(), p, e)
    points = (_skin_radius(f) * probe_directions())[:, in_face(f)]
    rotation = _rotation(e["yaw"], e["pitch"], e["roll"])
    focal = face_width * e["distance"] / (2 * p["head_width"])

    def project(points: torch.Tensor) -> np.ndarray:
        x, y, z = rotation @ points.double().numpy()
        return focal / (e["distance"] - z) * np.stack([x, -y])

    face = project(points)
    return {
        "rotation": rotation,
        "focal": focal,
        "extent": np.concatenate([face.min(axis=1), face.max(axis=1)]),
        "landmarks": project(landmarks(p, e)).T,
    }


def _view(p: Parameters, s: Parameters, e: Parameters, pose: dict, centre: tuple, size: int):
    """All that is needed to draw a head with its centre at ``centre`` (pixels), box included."""
    height, width = size, round(size * 4 / 3)
    box = np.clip(pose["extent"] + [*centre, *centre], 0, [width, height, width, height])
    azimuth = s["light_azimuth"] + e["light_azimuth_change"]
    elevation = float(np.clip(s["light_elevation"] + e["light_elevation_change"], 0, 75))
    a, b = np.deg2rad([azimuth, elevation])
    light = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    factors = {name: e[name] for name in ("yaw", "pitch", "roll")}
    factors |= {"light_azimuth": azimuth, "light_elevation": elevation}
    factors |= {name: s[name] for name in SESSION_FACTORS}
    factors |= {name: e[name] for name in SHOT_FACTORS}
    factors["occlusion"] = 0.0
    return {
        "person": p,
        "session": s,
        "shot": e,
        "height": height,
        "width": width,
        "rotation": pose["rotation"],
        "focal": pose["focal"],
        "centre": centre,
        "light": light,
        "box": box.astype(np.float32),
        "landmarks": (pose["landmarks"] + centre).astype(np.float32),
        "factors": factors,
    }


def rays(view: dict, rows: torch.Tensor, columns: torch.Tensor, rotation: np.ndarray):
    """Origin (3 numbers) and unit directions (3 arrays) of rays in a rotated frame.

    ``rows`` and ``columns`` are pixel coordinates of the photo; the frame's origin is the
    head's centre.
    """
    distance, focal = view["shot"]["distance"], view["focal"]
    cx, cy = view["centre"]
    x, y = (columns - cx) / focal, -(rows - cy) / focal
    norm = torch.rsqrt(x * x + y * y + 1)
    to = rotation.T
    origin = to @ np.array([0.0, 0.0, distance])
    direction = [
        (float(to[i, 0]) * x + float(to[i, 1]) * y - float(to[i, 2])) * norm for i in range(3)
    ]
    return [float(o) for o in origin], direction


def developed(canvas: torch.Tensor, e: Parameters, size: int, rng) -> np.ndarray:
    """The camera's part: exposure, tone curve, blur and noise; uint8 sRGB [H, W, 3]."""
    # Tone curve before averaging, so that bright edges do not stay jagged.
    picture = 1 - exp(-1.35 * e["exposure"] * canvas)
    picture = F.avg_pool2d(picture[None], SUPERSAMPLE)[0].clamp_(min=1e-5).pow_(1 / 2.2)
    picture = picture.numpy()
    sigma = e["blur"] * size / 320
    if sigma > 0.15:
        picture = gaussian_filter(picture, (0, sigma, sigma), truncate=3)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture *= 255
    grain *= np.float32(e["noise"])
    picture += grain
    photo = np.clip(np.rint(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(photo)
