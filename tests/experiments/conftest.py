"""What tests of the experiments share."""

import pytest
from couples import write_couples


@pytest.fixture(scope="session")
def couples(tmp_path_factory):
    """Folder of a dataset of 16 people, eight couples."""
    return write_couples(tmp_path_factory.mktemp("couples") / "couples")
