"""What every error of the pack must look like: one sentence with the input, its value, and what to do."""

import re
from contextlib import contextmanager

import pytest
from animatediff_loom.motion_modules.errors import MotionModelError
from host.server import Progress, Prompt, PromptError, Server


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


def refuse(server: Server, prompt: Prompt, node: str, *parts: str) -> None:
    """The prompt fails in a node of class `node` before any step of sampling; its one sentence has all `parts`."""
    progress: list[Progress] = []
    with pytest.raises(PromptError) as caught:
        server.run(prompt, progress.append)
    failed_in, _, sentence = str(caught.value).partition(": ")
    assert failed_in == node, caught.value
    check_sentence(sentence, *parts)
    assert not [seen for seen in progress if seen.class_type == "KSampler" and seen.value]
