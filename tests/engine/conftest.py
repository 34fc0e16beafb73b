"""Models that several tests of the engine use."""

import pytest
from crossing_model import crossing_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return crossing_model(tmp_path_factory.mktemp("model"))
