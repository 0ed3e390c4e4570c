"""Make datasets: ``python -m thesislib.data <source> <folder> --to <dataset folder>``.

Sources of photos are read in their own form (``thesislib/data/importers/`` says which);
``folder`` is any folder with one folder per person. ``merge`` puts several datasets into one;
``synthetic`` takes the name of a set of synthetic people in the folder's place.
"""

import argparse
import os
import sys
from pathlib import Path

from thesislib import storage
from thesislib.data.importers import SOURCES, import_photos, merge, summary
from thesislib.data.schema import read_dataset
from thesislib.synthetic import sets


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m thesislib.data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", choices=[*SOURCES, "merge", "synthetic"])
    parser.add_argument("folder", nargs="+", help="the source; two or more for merge")
    parser.add_argument("--to", type=Path, required=True, help="dataset folder to make")
    parser.add_argument(
        "--identities", type=Path, help="caltech_faces_1999: CSV first,last,identity"
    )
    arguments = parser.parse_args(argv)
    if arguments.source != "merge" and len(arguments.folder) > 1:
        parser.error("more than one folder is for merge")
    progress = "TQDM_DISABLE" not in os.environ
    try:
        if arguments.source == "merge":
            folders = [Path(folder) for folder in arguments.folder]
            dataset = merge(folders, arguments.to, progress)
        elif arguments.source == "synthetic":
            (name,) = arguments.folder
            if name not in sets.SETS:
                parser.error(f"no set {name!r}; choose one of {', '.join(sets.SETS)}")
            sets.make(arguments.to, sets.SETS[name], progress=progress)
            dataset = read_dataset(arguments.to)
        else:
            dataset = import_photos(
                arguments.source, arguments.folder[0], arguments.to, arguments.identities, progress
            )
    except (ValueError, storage.FolderInUseError) as error:
        print(error, file=sys.stderr)
        return 1
    print(summary(dataset))
    return 0


if __name__ == "__main__":
    sys.exit(main())
