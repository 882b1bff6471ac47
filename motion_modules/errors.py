class MotionModelError(ValueError):
    """A motion model that cannot be used: one sentence with the input, its value, and what to do."""
