"""Parameters of synthetic people: the numbers that identity, session and shot are drawn as.

Lengths are in half head heights, angles in degrees, slopes and amounts without unit. Each of the
three functions depends on its arguments alone, so people, sessions and shots can be drawn in any
order and in any number.
"""

import functools
from collections.abc import Mapping

import numpy as np

from thesislib import seeds

# Raised whenever the same numbers would give other pixels: folders of two versions never mix.
VERSION = 4
FIRST_STRANGER = 10_000_000  # numbers from here on are nobody's in a set
SCENE_PLACES = 9_000_000  # the number whose sessions light and furnish scenes
# Numbers from here up to that are families of ten: two parents, then their children.
FAMILIES, FAMILY, PARENTS = 8_000_000, 10, 2
# What a child does not have of its parents.
_OWN = {
    *("femininity", "age", "lipstick", "eye_shadow", "eye_liner", "beard", "goatee", "moustache"),
    *("beard_top", "hair_length", "hair_grey", "fringe", "glasses", "bald", "recession", "moles"),
    *("fold", "wrinkles", "eye_bags", "jowls"),
}
CAMERAS = ("camera", "phone")

# What a session and a shot vary, saved beside each face.
SESSION_FACTORS = (
    "light_key",
    "light_ambient",
    "hair_length",
    "fringe",
    "glasses",
    "outdoors",
)
SHOT_FACTORS = (
    "smile",
    "mouth_open",
    "brow_raise",
    "eye_opening",
    "gaze_x",
    "gaze_y",
    "face_scale",
    "exposure",
    "blur",
    "noise",
    "jpeg_quality",
)
# Values by name. They are cached, hence read-only.
Parameters = Mapping[str, float]


@functools.lru_cache(maxsize=8)
def identity_parameters(identity: int, seed: int) -> Parameters:
    """Shape and colouring of a person: a function of ``identity`` and ``seed`` alone.

    Numbers from ``FAMILIES`` on are relatives: a child has each trait of one of its parents or from
    between them, so that siblings are more alike than others.

    Args:
        identity: number of the person, 0 or more; there is no upper limit.
        seed: the dataset's seed.

    Returns:
        Parameters by name: lengths in half head heights, slopes without unit, amounts and
        probabilities in [0, 1].
    """
    number = (identity - FAMILIES) % FAMILY
    if not FAMILIES <= identity < SCENE_PLACES or number < PARENTS:
        return _unrelated(identity, seed)
    own = _unrelated(identity, seed)
    parents = [_unrelated(identity - number + at, seed) for at in range(PARENTS)]
    rng = seeds.generator(seed, "synthetic child", identity)
    child = {}
    for name, value in own.items():
        # Mostly the one's or the other's, as one has a father's nose; else somewhere between.
        share = float(np.clip(rng.uniform(-0.75, 1.75), 0, 1))
        first, second = (parent[name] for parent in parents)
        child[name] = value if name in _OWN else first + share * (second - first)
    return child


def _unrelated(identity: int, seed: int) -> Parameters:
    """A person who is nobody's child."""
    rng = seeds.generator(seed, "synthetic identity", identity)

    def near(mean: float, reach: float) -> float:
        # Uniform up to what still looks like people: two of them differ more than by a bell curve.
        return float(mean + reach * rng.uniform(-1, 1))

    def amount(mean: float, reach: float) -> float:
        return float(np.clip(near(mean, reach), 0, 1))

    # Traits that go together in people are tied by hidden axes: sex, age, weight, and descent as
    # shares of three far ends, which add up to 1.
    femininity = float(rng.choice([-1.0, 1.0]) * rng.beta(2.4, 1.2))
    age = float(rng.uniform(0, 1))
    weight = float(rng.uniform(-1, 1))
    south, east, north = (float(share) for share in rng.dirichlet([0.3, 0.3, 0.3]))
    old, male, female = max(0.0, age - 0.4) / 0.6, max(0.0, -femininity), max(0.0, femininity)
    # What lies above and below follows eyes and nose, so that a long face is long all over.
    eye_y = near(0.03, 0.05)
    nose_length = near(0.40 - 0.012 * femininity + 0.015 * (north - east), 0.065)
    mouth_y = eye_y + 0.05 - nose_length - near(0.245, 0.05)
    p = {
        "head_width": near(0.70 - 0.012 * femininity + 0.02 * weight, 0.05),
        "head_height": near(0.79, 0.05),
        "head_depth": near(0.86, 0.06),
        "jaw_width": near(0.565 - 0.035 * femininity + 0.05 * weight, 0.08),
        "jaw_square": near(0.035 - 0.03 * femininity, 0.03),
        "chin_length": near(-0.6 * (mouth_y + 0.535) - 0.015 * femininity, 0.07),
        "chin_projection": near(0.13 - 0.02 * femininity, 0.06),
        "chin_width": near(0.17 - 0.03 * femininity, 0.05),
        "chin_cleft": amount(0.2 * male, 0.5) ** 2,
        "cheekbone": near(0.035 + 0.02 * east - 0.015 * weight, 0.038),
        "cheek_fullness": near(0.03 * weight - 0.02 * old, 0.042),
        "jowls": amount(0.3 * old + 0.3 * max(0.0, weight), 0.4),
        "temples": near(0.02 * old, 0.03),
        "nose_length": nose_length,
        "nose_width": near(0.112 - 0.008 * femininity + 0.035 * south, 0.033),
        "nose_wings": near(0.06 + 0.03 * south, 0.035),
        "nose_projection": near(0.175 - 0.015 * femininity + 0.03 * (north - east), 0.052),
        "nose_tip": near(0.012 * femininity, 0.055),
        "nose_bridge": near(0.38 + 0.2 * north, 0.2),
        "nose_breadth": near(0.058 + 0.01 * south, 0.018),
        "nose_hump": near(0.008 * north, 0.02),
        "nose_bend": near(0.0, 0.016),
        "nostrils": amount(0.6 + 0.2 * south, 0.4),
        "brow_y": eye_y + near(0.185 + 0.015 * femininity, 0.055),
        "brow_thickness": near(0.037 - 0.010 * femininity, 0.019),
        "brow_angle": near(0.02, 0.22),
        "brow_arch": near(0.45 + 0.2 * femininity, 0.4),
        "brow_ridge": near(0.032 - 0.022 * femininity, 0.022),
        "brow_density": amount(0.75 - 0.08 * femininity, 0.25),
        "brow_gap": near(0.10, 0.045),
        "brow_length": near(0.36, 0.06),
        "brow_tone": amount(0.1, 0.2),
        "eye_y": eye_y,
        "eye_spacing": near(0.287, 0.05),
        "eye_width": near(0.140, 0.021),
        "eye_open": near(0.070 + 0.008 * femininity - 0.010 * east, 0.019),
        "eye_tilt": near(0.05 + 0.08 * east, 0.19),
        "eye_depth": near(0.050 - 0.01 * femininity - 0.02 * east, 0.032),
        "eye_crease": near(0.035 - 0.015 * east, 0.020),
        "eye_fold": amount(1.1 * east + 0.25 * old, 0.3),
        "eye_bags": amount(0.7 * old, 0.35),
        "eye_ring": amount(0.2 + 0.2 * old, 0.25),
        "iris_size": near(1.0, 0.15),
        "mouth_y": mouth_y,
        "mouth_width": near(0.215, 0.056),
        "mouth_tilt": near(0.0, 0.04),
        "mouth_curve": near(0.0, 0.4),
        "lip_upper": max(0.016, near(0.050 + 0.006 * femininity + 0.02 * south, 0.026)),
        "lip_lower": max(0.024, near(0.068 + 0.008 * femininity + 0.02 * south, 0.032)),
        "ear_size": near(1.0, 0.25),
        "ear_out": near(0.11, 0.065),
        "neck_width": near(0.405 - 0.05 * femininity + 0.03 * weight, 0.045),
        "shoulder_width": near(1.85 - 0.18 * femininity, 0.2),
        "fold": amount(0.15 + 0.6 * age, 0.35),
        "wrinkles": amount(1.1 * old, 0.25),
        "femininity": femininity,
        "age": age,
    }
    melanin = float(np.clip(0.76 * south + 0.22 * east + 0.03 * north + near(0, 0.11), 0, 0.85))
    p["melanin"] = melanin
    p["redness"] = near(0.0, 0.9)
    p["skin_yellow"] = near(0.4 * east, 0.8)
    p["skin_shine"] = amount(0.35 + 0.3 * melanin, 0.4)
    p["skin_mottle"] = float(rng.uniform(0.3, 1.6))
    p["freckles"] = float(max(0.0, rng.uniform(-1.2, 1.6) * (1 - melanin)))
    p["moles"] = float(rng.integers(0, 9))
    p["lip_colour"] = float(rng.uniform(0.0, 1.0))
    p["lip_dark"] = amount(0.2 + 0.1 * south, 0.3)
    # Made up or not, a person is so in every session.
    made_up = female * float(rng.uniform() < 0.6)
    p["lipstick"] = made_up * float(rng.uniform(0, 1))
    p["eye_shadow"] = made_up * float(rng.uniform(0, 1))
    p["eye_liner"] = made_up * float(rng.uniform(0, 1))
    # Light hair and light eyes are found with light skin only, and there among dark ones.
    fairness = max(0.0, 1 - 2.2 * melanin) * (1 - east)
    p["hair_tone"] = float(np.clip(fairness * rng.uniform(0, 1.25) + rng.uniform(0, 0.16), 0, 1))
    p["hair_red"] = float(rng.uniform(0.3, 0.8) * (rng.uniform() < 0.22 * fairness))
    p["hair_grey"] = float(np.clip((age - 0.62) * 4.0 * rng.uniform(0.0, 1.2), 0, 0.95))
    p["eye_light"] = float(min(1.0, 1.6 * fairness) * rng.uniform(0, 1.3))
    p["eye_green"] = float(rng.uniform())
    # How a man shaves: not at all, short all over, round the mouth, above it, clean.
    styles = [(1, 1, 1), (0.35, 0.4, 0.4), (0, 1, 0.9), (0, 0, 1), (0, 0, 0)]
    style = styles[int(rng.choice(5, p=[0.25, 0.2, 0.15, 0.12, 0.28]))]
    grown = float(min(1.0, 1.6 * male) * rng.uniform(0.55, 1))
    for name, share in zip(("beard", "goatee", "moustache"), style, strict=True):
        p[name] = share * grown
    p["beard_top"] = near(0.0, 0.12)
    p["hair_length"] = float(np.clip(near(0.40 + 0.30 * femininity, 0.3), 0.02, 0.98))
    curl = rng.uniform()
    p["hair_curl"] = float(np.clip(0.6 * curl**2 * (1 - east) + 0.8 * south, 0, 1))
    p["hair_thickness"] = float(rng.uniform(0.04, 0.15))
    p["hairline"] = near(0.64, 0.07)
    p["recession"] = float(np.clip(male * old * rng.uniform(-0.3, 1.2), 0, 0.6))
    p["bald"] = float(rng.uniform() < 0.4 * male * (0.4 + age))
    p["fringe"] = float(np.clip(rng.uniform(-0.8, 0.8) + 0.2 * femininity, 0, 1))
    p["glasses"] = float(rng.choice([0.05, 0.5, 0.92], p=[0.6, 0.2, 0.2]))
    if p["bald"]:
        p["hair_length"], p["fringe"] = min(p["hair_length"], 0.3), 0.0
    return p


@functools.lru_cache(maxsize=8)
def session_parameters(identity: int, session: int, seed: int) -> Parameters:
    """Hair style, clothes, glasses, place and lights of one session of a person.

    Args:
        identity: number of the person, 0 or more.
        session: number of the session, 0 or more.
        seed: the dataset's seed.

    Returns:
        Parameters by name: lengths in half head heights, the light's angles in degrees, yes or
        no as 1 or 0.
    """
    p = identity_parameters(identity, seed)
    rng = seeds.generator(seed, "synthetic session", identity, session)
    side = float(rng.choice([-1.0, 1.0]))
    return {
        "hair_length": float(np.clip(p["hair_length"] + rng.normal() * 0.09, 0.0, 1.0)),
        "hair_volume": float(p["hair_thickness"] * rng.uniform(0.8, 1.3)),
        "fringe": float(np.clip(p["fringe"] + rng.normal() * 0.25, 0, 1 - p["bald"])),
        "parting": float(side * rng.choice([0.0, 0.3, 0.55], p=[0.25, 0.45, 0.3])),
        "beard": float(rng.uniform(0.8, 1.15)),
        "glasses": float(rng.uniform() < p["glasses"]),
        "glasses_round": float(rng.uniform(0.35, 1.0)),
        "glasses_size": float(rng.uniform(0.92, 1.12)),
        "glasses_rim": float(rng.uniform(0.010, 0.026)),
        "glasses_tone": float(rng.uniform(0.02, 0.3)),
        "clothes_hue": float(rng.uniform()),
        "clothes_saturation": float(rng.uniform(0.03, 0.4)),
        "clothes_value": float(rng.uniform(0.06, 0.8)),
        "clothes_stripes": float(rng.uniform(-1.5, 1.0)),
        "neckline": float(rng.integers(0, 3)),
        "outdoors": float(rng.uniform() < 0.35),
        "light_azimuth": float(rng.uniform(-65, 65)),
        "light_elevation": float(rng.uniform(8, 60)),
        "light_key": float(rng.uniform(0.55, 1.15)),
        "light_ambient": float(rng.uniform(0.38, 0.68)),
        "light_warmth": float(rng.uniform(-0.10, 0.14)),
    }


def _yaw(rng: np.random.Generator) -> float:
    """Degrees: mostly into the camera, one head in five turned anywhere up to 60 to a side."""
    frontal, turned = float(rng.normal() * 14), float(rng.uniform(-60, 60))
    return turned if rng.uniform() < 0.2 else float(np.clip(frontal, -60, 60))


def shot_parameters(identity: int, session: int, shot: int, seed: int) -> Parameters:
    """Pose, expression, framing and the camera's settings of one photo of a session.

    Args:
        identity: number of the person, 0 or more.
        session: number of the session, 0 or more.
        shot: number of the photo in its session, 0 or more.
        seed: the dataset's seed.

    Returns:
        Parameters by name: angles in degrees; ``distance`` of the camera in half head heights;
        ``face_scale``, the head's width seen from the front, as a share of the photo's shorter
        side; ``blur``, the Gaussian's sigma in pixels of a photo of size 320; ``noise``, the
        standard deviation in grey levels of 255.
    """
    rng = seeds.generator(seed, "synthetic shot", identity, session, shot)
    smile = float(np.clip(rng.normal(0.25, 0.5), -0.35, 1))
    return {
        "yaw": _yaw(rng),
        "pitch": float(np.clip(rng.normal() * 6, -15, 15)),
        "roll": float(np.clip(rng.normal() * 5, -14, 14)),
        "body_yaw": float(rng.normal() * 6),
        "smile": smile,
        "mouth_open": float(max(0.0, rng.uniform(-0.9, 0.7) + 0.4 * max(0.0, smile))),
        "brow_raise": float(rng.normal() * 0.6),
        "eye_opening": float(np.clip(rng.normal(1.0, 0.12), 0.55, 1.25)),
        "gaze_x": float(rng.normal() * 0.3),
        "gaze_y": float(rng.normal() * 0.2),
        "light_azimuth_change": float(rng.normal() * 9),
        "light_elevation_change": float(rng.normal() * 5),
        "face_scale": float(rng.uniform(0.32, 0.6)),
        "distance": float(rng.uniform(8, 16)),
        "place_x": float(rng.uniform(-1, 1)),
        "place_y": float(rng.uniform(-1, 1)),
        "background_x": float(rng.uniform(-1, 1)),
        "background_zoom": float(rng.uniform(0.0, 1.0)),
        "exposure": float(2 ** np.clip(rng.normal() * 0.22, -0.5, 0.5)),
        "blur": float(max(0.0, rng.uniform(-0.5, 1.3))),
        "noise": float(rng.uniform(0.4, 2.6)),
        "jpeg_quality": float(rng.integers(86, 95)),
    }


def check_size(size: int) -> None:
    """Raise ValueError if ``size``, the shorter side of a photo in pixels, is below 32."""
    if size < 32:
        raise ValueError(f"size is {size}, the shorter side of a photo needs at least 32 pixels")


def check_camera(camera: str) -> None:
    """Raise ValueError if ``camera`` is none of ``CAMERAS``."""
    if camera not in CAMERAS:
        raise ValueError(f"camera {camera!r} is unknown; choose one of {', '.join(CAMERAS)}")


def by_phone(s: Parameters, e: Parameters) -> tuple[Parameters, Parameters]:
    """Session and shot retaken at arm's length by lamplight: near, warm, hard, noisy, soft."""
    s = {
        **s,
        "outdoors": 0.0,
        "light_elevation": 30 + 0.6 * s["light_elevation"],
        "light_ambient": 0.55 * s["light_ambient"],
        "light_warmth": 0.18 + s["light_warmth"],
    }
    e = {
        **e,
        "distance": 0.45 * e["distance"],
        "exposure": 0.8 * e["exposure"],
        "noise": 2.5 * e["noise"] + 2,
        "blur": e["blur"] + 0.6,
        "jpeg_quality": e["jpeg_quality"] - 30,
    }
    return s, e
