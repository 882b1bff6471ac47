"""End a script with a status, or with one sentence that says what went wrong."""

import sys
from collections.abc import Callable
from typing import NoReturn

from .errors import PromptError, ServerError, SetupError
from .processes import end_cleanly_on_signals


def run_as_script(main: Callable[[], int], *expected: type[Exception]) -> NoReturn:
    """Exit with what `main` returns.

    An error of the set-up, of the server or of an `expected` kind becomes its own text and status
    1. Ctrl-C and its kin unwind `main`, which stops what it has started.
    """
    end_cleanly_on_signals()
    try:
        sys.exit(main())
    except (SetupError, ServerError, PromptError, *expected) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted; everything that was started has been stopped.")
