"""The one exception for everything a user can put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A problem in the user's data, configuration or machine, told in one message.

    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        """Say what is wrong, naming the file, key or value, and what the user can do about it."""
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  Remedy: {remedy}" if remedy else problem)


@contextmanager
def concerning(key: str, remedy: str = "") -> Iterator[None]:
    """Say in a :class:`UserError` from within which key or option it is about, and what else can be done about it.

    For code that is told a value and does not know where from.
    """
    try:
        yield
    except UserError as error:
        remedies = [text for text in (error.remedy, remedy) if text]
        raise UserError(f"{key}: {error.problem}", ", or ".join(remedies)) from error
