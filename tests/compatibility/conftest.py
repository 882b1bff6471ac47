"""A tiny model for all tests of a file, which must leave it as it was."""

import pytest


@pytest.fixture(scope="module")
def model():
    """A MODEL of SD1.5 kind; whatever a file's tests do with it, its weights come back bit by bit."""
    from comfy.model_management import unload_all_models

    from tests.support.host import copy_weights, same_weights, tiny_model

    model = tiny_model()
    before = copy_weights(model)
    yield model
    unload_all_models()
    assert same_weights(model, before)


@pytest.fixture(scope="module")
def still_motion():
    """A motion model all of whose modules are the identity: with it every result must be the plain model's."""
    from tests.support.motion_models import load_motion

    return load_motion(scale=0.0)


@pytest.fixture(scope="module")
def moving(model):
    """`model` with a motion model on it."""
    from tests.support.motion_models import apply_motion

    return apply_motion(model)


@pytest.fixture(scope="module")
def still(model, still_motion):
    """`model` with an identity on it."""
    from tests.support.motion_models import apply_motion

    return apply_motion(model, still_motion)
