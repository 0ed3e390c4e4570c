"""Names of columns of ``annotations.csv``, see :mod:`thesislib.data.schema`."""

BOX = ["x1", "y1", "x2", "y2"]
# Left and right are those of the photo, not of the person.
_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
LANDMARKS = [f"{point}_{axis}" for point in _POINTS for axis in ("x", "y")]
FACTOR = "factor_"  # how names begin of columns that tell how a photo came about

UNKNOWN = -1  # index of an identity that a net was not trained on
