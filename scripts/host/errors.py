"""Error that stops a script; its text is all that a user sees of it."""

from typing import Any


class SetupError(Exception):
    """The machine lacks something, or setting it up failed."""


class ServerError(Exception):
    """The server did not start, or it ended; the text carries the end of its log."""


class PromptError(Exception):
    """The server refused a prompt or failed in it; the text is the server's own."""

    def __init__(self, message: str, details: dict[str, Any] | None = None):
        super().__init__(message)
        self.details = details or {}


class PromptInterrupted(PromptError):
    """The prompt was interrupted before its end."""
