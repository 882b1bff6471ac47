"""Models that the nodes of this folder steer."""

import pytest


@pytest.fixture(scope="module")
def model():
    from tests.support.host import tiny_model

    return tiny_model()


@pytest.fixture(scope="module")
def moving(model):
    from tests.support.motion_models import apply_motion

    return apply_motion(model)
