"""What can go wrong on one machine, told in one line."""


class Problem(Exception):
    """A person must act. The message is one line: what is wrong, and what to do about it."""

    def __init__(self, line: str, details: tuple[str, ...] = ()) -> None:
        """`details` are shown before the line: the end of a log, say."""
        super().__init__(line)
        self.details = details
