"""One network, one pass, from a photo to who is where: companion to the thesis."""

from thesislib.environment import check_versions

check_versions()
