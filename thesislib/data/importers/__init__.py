"""From photo collections to datasets: one module per source, and what brings them in.

``SOURCES`` names the sources; each module's docstring says what form it reads.
"""

from thesislib.data.importers.importing import (
    SOURCES,
    dry_run,
    import_folder,
    import_photos,
    reading_of,
    summary,
)
from thesislib.data.importers.merging import merge
from thesislib.data.importers.source import SourceError

__all__ = [
    "SOURCES",
    "SourceError",
    "dry_run",
    "import_folder",
    "import_photos",
    "merge",
    "reading_of",
    "summary",
]
