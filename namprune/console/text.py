"""Text that cannot steer a terminal."""

_HARMLESS = "\n\t\u200c\u200d"
"""New lines, and the joiners within letters and emoji: a file's name is to be copied as it is."""


def printable(text: str) -> str:
    """`text` with its control characters spelled out, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() or c in _HARMLESS else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """The same, on one line."""
    return printable(text).replace("\n", " ").replace("\t", " ")
