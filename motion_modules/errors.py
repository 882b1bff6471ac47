class MotionModelError(ValueError):
    """A motion model that cannot be used: one sentence with the input, its value, and what to do."""


def cause_of(error: Exception, unsaid: str = "") -> str:
    """The first sentence of what another's code says, without its full stop; or `unsaid`, or the class of the error."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".:") or unsaid or type(error).__name__
