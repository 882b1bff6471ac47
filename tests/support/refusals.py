"""What every error of the pack must look like: one sentence with the input, its value, and what to do."""

import re
from contextlib import contextmanager

import pytest
from animatediff_loom.motion_modules.errors import MotionModelError


@contextmanager
def refused(*parts: str):
    """The block must raise a MotionModelError whose one sentence holds all of `parts`."""
    with pytest.raises(MotionModelError) as caught:
        yield
    check_sentence(str(caught.value), *parts)


def check_sentence(sentence: str, *parts: str) -> None:
    assert "\n" not in sentence and sentence.endswith("."), sentence
    assert not re.search(r"[.!?]\s+[A-Z]", sentence), sentence
    assert re.search(r": [a-z][^:]+\.$", sentence), f"says what to do after a colon: {sentence}"
    missing = [part for part in parts if part not in sentence]
    assert not missing, f"{missing} not in: {sentence}"
