"""Notes about what a conversion could not carry over, one line for each node and input."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context
from typing import Any

from .rules import Rules


@dataclass(frozen=True)
class Note:
    """A node, its title, an input or "", a message of the table, the value, and the message of a reason or ""."""

    node: str
    title: str
    input: str
    message: str
    value: Any = None
    reason: str = ""

    def text(self, rules: Rules, language: str = "en") -> str:
        """Return the line for a user."""
        messages = rules["messages"]
        reason = messages[self.reason][language] if self.reason else ""
        message = messages[self.message][language].replace("{value}", show(self.value))
        message = message.replace("{reason}", reason[:1].upper() + reason[1:])
        place = f"{self.title} ({self.node})"
        return f"{place}, {self.input}: {message}" if self.input else f"{place}: {message}"


def show(value: Any) -> str:
    """Return a value as text, the same as in the browser."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not value.is_integer():
        return short(value)
    return str(int(value)) if isinstance(value, float) else str(value)


def short(number: float) -> str:
    """Return a number as text of up to 6 digits, without an exponent, the same as in the browser."""
    rounded = Context(prec=6, rounding=ROUND_HALF_UP).create_decimal_from_float(number + 0.0)
    return f"{rounded.normalize():f}"
