"""The camera: where a head is in a photo, the rays through its pixels, and what a camera does.

A pinhole camera looks along -z; its focal length is in pixels, its distance from the head's centre
in half head heights. Photos are landscape, 4:3, and are drawn at ``SUPERSAMPLE`` times their size.
"""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from thesislib.synthetic.head import Layout, in_face, landmarks, probe_directions, skin_radius
from thesislib.synthetic.numerics import exp
from thesislib.synthetic.parameters import SESSION_FACTORS, SHOT_FACTORS, Parameters

SUPERSAMPLE = 2  # rays along each side of a pixel
FAR = 1e3  # length of a ray that meets nothing
Vector = tuple[float, float, float]
Rays = tuple[Vector, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """How a head is turned, and what that makes of its face in the photo.

    Attributes:
        rotation: from the head's frame to the camera's, [3, 3].
        focal: focal length in pixels.
        extent: the face's box [x1, y1, x2, y2] in pixels about the head's centre.
        landmarks: [5, 2] in pixels about the head's centre.
    """

    rotation: np.ndarray
    focal: float
    extent: np.ndarray
    landmarks: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A person before the camera: all that is needed to draw them.

    Attributes:
        identity: number of the person.
        session_number: number of the session.
        stranger: whether the person belongs to no set.
        person, session, shot: parameters of identity, session and shot.
        height, width: of the photo in pixels.
        pose: how the head is turned.
        centre: of the head, (x, y) in pixels.
        light: unit vector towards the lamp in the camera's frame, [3].
        box, landmarks: as in :class:`~thesislib.synthetic.scene.DrawnFace`.
        factors: likewise; without what depends on other people.
    """

    identity: int
    session_number: int
    stranger: bool
    person: Parameters
    session: Parameters
    shot: Parameters
    height: int
    width: int
    pose: Pose
    centre: tuple[float, float]
    light: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    factors: dict[str, float]

    @property
    def nearness(self) -> float:
        """Pixels of a length of 1 at the head's centre: larger for who stands nearer."""
        return self.pose.focal / self.shot["distance"]


def photo_size(size: int) -> tuple[int, int]:
    """Height and width in pixels of a photo whose shorter side has ``size`` pixels."""
    return size, round(size * 4 / 3)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation from head to camera, [3, 3], by degrees; positive yaw turns the face to the right.

    Pitch comes first, about x (positive: face down), then yaw about y, then roll about z
    (positive: counter-clockwise in the photo).
    """
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def pose_head(p: Parameters, e: Parameters, face_width: float) -> Pose:
    """Turn a head and measure its face as projected.

    Args:
        p, e: parameters of identity and shot.
        face_width: width of the head in pixels, seen from the front.
    """
    f = Layout(probe_directions(), p, e)
    points = (skin_radius(f) * probe_directions())[:, in_face(f)]
    turn = rotation(e["yaw"], e["pitch"], e["roll"])
    focal = face_width * e["distance"] / (2 * p["head_width"])

    def project(points: torch.Tensor) -> np.ndarray:
        x, y, z = turn @ points.double().numpy()
        return focal / (e["distance"] - z) * np.stack([x, -y])

    face = project(points)
    extent = np.concatenate([face.min(axis=1), face.max(axis=1)])
    return Pose(turn, focal, extent, project(landmarks(p, e)).T)


def place_head(
    identity: int,
    session_number: int,
    stranger: bool,
    parameters: tuple[Parameters, Parameters, Parameters],
    pose: Pose,
    centre: tuple[float, float],
    size: int,
) -> View:
    """Put a posed head, its centre at ``centre`` (pixels), into a photo of a size.

    ``parameters`` are those of identity, session and shot; the rest as in :class:`View`.
    """
    p, s, e = parameters
    height, width = photo_size(size)
    box = np.clip(pose.extent + np.tile(centre, 2), 0, [width, height, width, height])
    azimuth = s["light_azimuth"] + e["light_azimuth_change"]
    elevation = float(np.clip(s["light_elevation"] + e["light_elevation_change"], 0, 75))
    a, b = np.deg2rad([azimuth, elevation])
    factors = {name: e[name] for name in ("yaw", "pitch", "roll")}
    factors |= {"light_azimuth": azimuth, "light_elevation": elevation}
    factors |= {name: s[name] for name in SESSION_FACTORS}
    factors |= {name: e[name] for name in SHOT_FACTORS}
    return View(
        identity=identity,
        session_number=session_number,
        stranger=stranger,
        person=p,
        session=s,
        shot=e,
        height=height,
        width=width,
        pose=pose,
        centre=centre,
        light=np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)]),
        box=box.astype(np.float32),
        landmarks=(pose.landmarks + centre).astype(np.float32),
        factors=factors,
    )


def rays(view: View, rows: torch.Tensor, columns: torch.Tensor, frame: np.ndarray) -> Rays:
    """Rays from the camera through points of the photo.

    Args:
        view: gives camera and head.
        rows, columns: coordinates of the points in pixels of the photo, of any one shape.
        frame: rotation [3, 3], to the camera's frame, of the frame to give the rays in; its
            origin is the head's centre.

    Returns:
        Their common origin (3 numbers) and unit directions (3 tensors shaped as ``rows``).
    """
    distance, focal = view.shot["distance"], view.pose.focal
    cx, cy = view.centre
    x, y = (columns - cx) / focal, -(rows - cy) / focal
    norm = torch.rsqrt(x * x + y * y + 1)
    to = frame.T
    ox, oy, oz = to @ np.array([0.0, 0.0, distance])
    dx, dy, dz = (
        (float(to[i, 0]) * x + float(to[i, 1]) * y - float(to[i, 2])) * norm for i in range(3)
    )
    return (float(ox), float(oy), float(oz)), (dx, dy, dz)


def pixel_centres(
    rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres of a block of the supersampled photo's pixels, in pixels of the photo.

    Args:
        rows, columns: first and past the last of the supersampled photo's.

    Returns:
        Row and column coordinates, each [rows, columns].
    """
    at = (
        (torch.arange(*part, dtype=torch.float32) + 0.5) / SUPERSAMPLE for part in (rows, columns)
    )
    row, column = torch.meshgrid(*at, indexing="ij")
    return row, column


def develop(canvas: torch.Tensor, e: Parameters, size: int, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of the light: exposure, tone curve, blur and noise.

    Args:
        canvas: linear RGB, supersampled, [3, SUPERSAMPLE * H, SUPERSAMPLE * W].
        e: parameters of the shot.
        size: shorter side of the photo in pixels.
        rng: draws the noise.

    Returns:
        uint8 sRGB [H, W, 3].
    """
    # Tone curve before averaging, so that bright edges do not stay jagged.
    light = 1 - exp(-1.35 * e["exposure"] * canvas)
    light = F.avg_pool2d(light[None], SUPERSAMPLE)[0].clamp_(min=1e-5).pow_(1 / 2.2)
    picture = light.numpy()
    sigma = e["blur"] * size / 320
    if sigma > 0.15:
        picture = gaussian_filter(picture, (0, sigma, sigma), truncate=3)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture *= 255
    grain *= np.float32(e["noise"])
    picture += grain
    photo = np.clip(np.rint(picture), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(photo)
