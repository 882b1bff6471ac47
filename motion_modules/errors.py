class MotionModelError(ValueError):
    """A motion model that cannot be used: one sentence with the input, its value, and what to do."""


def cause_of(error: Exception) -> str:
    """The first sentence of what another's code says, without its full stop; or the class of the error."""
    return _first_sentence(error) or type(error).__name__


def kind_and_cause_of(error: Exception) -> str:
    """The class of an error of another's code, and behind it in brackets the first sentence that it says."""
    return f"{type(error).__name__} ({_first_sentence(error) or 'no message'})"


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".:")
