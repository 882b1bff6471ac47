"""Errors that users read, and words for errors of other code."""


class LoomError(ValueError):
    """Bad input: names the input, its value and a remedy, in one or two sentences."""


class MotionModelError(LoomError):
    """A motion model, or a module of one, that cannot be used."""


class FileFault(Exception):
    """A fault of a motion model file, as a sentence without its subject: "holds no motion modules. …".

    `files.loading` puts the name of the file before it, and raises it as MotionModelError.
    """


def cause_of(error: Exception) -> str:
    """The first sentence of what another's code says, without its full stop; or the class of the error."""
    return _first_sentence(error) or type(error).__name__


def kind_and_cause_of(error: Exception) -> str:
    """The class of an error of another's code, and after it in brackets the first sentence that it says."""
    return f"{type(error).__name__} ({_first_sentence(error) or 'no message'})"


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".:")
