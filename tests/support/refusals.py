"""The form of every error of the pack: the input, its value and a remedy, in one or two sentences."""

import re
from contextlib import contextmanager

import pytest
from animatediff_loom.motion_modules.errors import LoomError
from host.server import Progress, Prompt, PromptError, Server


@contextmanager
def refused(*parts: str):
    """The block must raise a LoomError that holds all of `parts`."""
    with pytest.raises(LoomError) as caught:
        yield
    check_sentence(str(caught.value), *parts)


REMEDIES = (
    "add apply ask call change check choose clone combine connect convert copy correct delete disconnect download "
    "encode enter export fetch free get give go increase install keep leave let list load look lower make merge "
    "move name pass point put raise reduce register remove rename replace report require restart return run "
    "sample save scale set shorten start swap switch take try turn unpack update use wire work write "
)
REMEDY = re.compile(rf"(?:[.:;,] |\band |\bor )(?:then )?(?:{'|'.join(REMEDIES.split())})\b", re.IGNORECASE)
VALUE = re.compile(r"\d|'[^']*'|`[^`]+`|\bNaN\b|\bempty\b|\bno\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\[])")


def check_sentence(error: str, *parts: str) -> None:
    """Check that `error` names its input and value (`parts`, and a number or a quoted word) and ends with a remedy."""
    assert "\n" not in error and error.endswith("."), error
    sentences = SENTENCE_END.split(error)
    assert len(sentences) <= 2, f"more than what is wrong and what to do: {error}"
    assert VALUE.search(error), f"names no value: {error}"
    assert REMEDY.search(f". {sentences[-1]}"), f"says not what to do: {error}"
    missing = [part for part in parts if part not in error]
    assert not missing, f"{missing} not in: {error}"


def refuse(server: Server, prompt: Prompt, node: str, *parts: str) -> None:
    """The prompt fails in a node of class `node` before any step of sampling; its error has all `parts`."""
    progress: list[Progress] = []
    with pytest.raises(PromptError) as caught:
        server.run(prompt, progress.append)
    failed_in, _, sentence = str(caught.value).partition(": ")
    assert failed_in == node, caught.value
    check_sentence(sentence, *parts)
    assert not [seen for seen in progress if seen.class_type == "KSampler" and seen.value]
