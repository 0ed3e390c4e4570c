"""A distilled net as the one that is published: in half precision, with a gallery's threshold."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from thesislib.data.schema import DatasetError
from thesislib.engine.checkpoint import DEFAULT, load_net, net_file, save_net
from thesislib.engine.distil import face_photos, is_left_out, is_portrait
from thesislib.engine.predict import predict
from thesislib.metrics.verification import threshold_at
from thesislib.models.joint import JointNet

FALSE_MATCHES = 1e-3  # share of pairs of strangers that the threshold takes for one person
MOST = 2000  # strangers that it is chosen on: two million pairs


def release(
    net: Path | str,
    photos: Sequence[Path | str],
    leave_out: int,
    out: Path | str = DEFAULT,
    progress: bool = True,
) -> JointNet:
    """Write a distilled net with the threshold that a gallery uses when it is told none.

    Args:
        net: file or folder of a net that :func:`thesislib.engine.distil.distil` made.
        photos: folders of portraits, no two of which show one person.
        leave_out: the photos whose number is divisible by this, from which the net has not
            learned, are those the threshold is chosen on.
        out: file to write; the published net's.
        progress: show a bar.

    Returns:
        the net that was written, as it is read again.

    Raises:
        CheckpointError: no such net.
        DatasetError: no portrait was left out.
        NotSupportedError: too few were.
    """
    made: JointNet = copy.deepcopy(load_net(net))
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half())  # what is chosen below is of the net that is read again
    chosen = [
        photo.path
        for photo in face_photos(photos, progress=progress)[0]
        if is_left_out(photo.path, leave_out) and is_portrait(photo)
    ][:MOST]
    if not chosen:
        raise DatasetError(
            f"{', '.join(map(str, photos))}: no portrait whose number is divisible by {leave_out}"
        )
    found = [faces[0].embedding for faces in predict(made, chosen, progress=progress) if faces]
    strangers = [str(at) for at in range(len(found))]
    threshold = threshold_at(np.stack(found), strangers, FALSE_MATCHES)
    made.provenance = {**(made.provenance or {}), "gallery_threshold": round(threshold, 3)}
    file = net_file(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_net(file, made, half=True)
    return load_net(file)
