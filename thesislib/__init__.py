"""One network, one pass, from a photo to who is where: companion to the thesis."""

import multiprocessing

from thesislib.environment import check_versions

# The check imports torchvision, which takes seconds; what started a worker has made it. A worker
# has its name, but not yet its parent, while it imports what it is to run.
if multiprocessing.current_process().name == "MainProcess":
    check_versions()
