"""Text that cannot steer a terminal."""


def printable(text: str) -> str:
    """`text` with its control characters spelled out, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """The same, on one line."""
    return printable(text).replace("\n", " ").replace("\t", " ")
