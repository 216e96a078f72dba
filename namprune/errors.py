"""The exceptions of namprune, each one line for the user plus a hint.

NampruneError             exit code 1: our fault, or the machine's
├── ProofError            a cut, or an exported file, changed what the network computes
└── UserError             exit code 2: something the user can mend
    ├── RecipeError       a recipe that does not hold, with every fault at once
    ├── DataError         pictures that are missing, foreign or unusable
    ├── RunError          a run folder that is missing, broken or of another version
    └── PruneError        a cut that cannot be made as asked
"""


class NampruneError(Exception):
    """A failure with one line of what is wrong and, where there is one, a line of what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ProofError(NampruneError):
    """Two networks that should compute the same disagree: a masked one and the cut one, or torch's and a file's."""


class UserError(NampruneError):
    """A fault of recipe, arguments or data that the user can mend."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that does not hold. `faults` has one line per fault, each with key path and place."""

    def __init__(self, source: str, faults: tuple[str, ...], *, hint: str | None = None) -> None:
        self.faults = faults
        head = faults[0] if len(faults) == 1 else f"{len(faults)} faults in {source}\n  " + "\n  ".join(faults)
        super().__init__(head, hint=hint)


class DataError(UserError):
    """Pictures that are missing, foreign or unusable."""


class RunError(UserError):
    """A run folder that is missing, broken, or written by another version."""


class PruneError(UserError):
    """A cut that cannot be made as asked."""
