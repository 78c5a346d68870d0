"""What can go wrong on one machine, told in one line."""


class Problem(Exception):
    """A person must act. The message is one line: what is wrong, and what to do about it."""
