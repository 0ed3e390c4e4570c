"""Names of columns of ``annotations.csv``, see :mod:`thesislib.data.dataset`."""

BOX = ["x1", "y1", "x2", "y2"]
LANDMARKS = [
    f"{point}_{axis}"
    for point in (
        "left_eye",
        "right_eye",
        "nose",
        "left_mouth",
        "right_mouth",
    )  # as the photo shows
    for axis in ("x", "y")
]
FACTOR = "factor_"


UNKNOWN = -1
