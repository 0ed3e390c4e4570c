"""The joint net, its parts and its loss, and the classifier of the two-stage baseline."""

from thesislib.environment import check_versions

# Says plainly what otherwise shows as a missing operator in the middle of a run.
check_versions()
