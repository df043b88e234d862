"""The one exception for everything a user can put right."""


class UserError(Exception):
    """A problem in the user's data, configuration or machine, told in one message.

    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        """Say what is wrong, naming the file, key or value, and what the user can do about it."""
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  Remedy: {remedy}" if remedy else problem)
