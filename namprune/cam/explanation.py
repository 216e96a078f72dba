"""What is said of a picture beside its maps."""

from collections.abc import Sequence
from dataclasses import dataclass

from namprune.table import MISSING, Table, percent


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a run's network says of a picture: its first class, that one's probability, and the explained class's."""

    run: str
    predicted: str
    probability: float
    target_probability: float

    def words(self, target: str) -> str:
        """`dog 51.20 %`, and what is left for `target` where that is another class: `dog 51.20 % (cat 40.10 %)`."""
        found = f"{self.predicted} {percent(self.probability)} %"
        return found if self.predicted == target else f"{found} ({target} {percent(self.target_probability)} %)"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Of one picture: the class whose maps were drawn, the networks, how alike their maps are, and the file."""

    image: str
    target: str
    dense: Prediction | None
    """None where the dense ancestor is gone."""
    pruned: Prediction | None
    """None of a run that is dense itself."""
    correlation: float | None
    """Pearson's r of the two maps; None where there is one map alone, or a flat one."""
    file: str

    @property
    def alike(self) -> str:
        """The correlation as a person reads it."""
        return MISSING if self.correlation is None else f"{self.correlation:.2f}"


def to_table(explained: Sequence[Explanation], *, title: str) -> Table:
    """A row per picture."""
    rows = []
    for one in explained:
        dense, pruned = (found.words(one.target) if found else MISSING for found in (one.dense, one.pruned))
        rows.append((one.image, one.target, dense, pruned, one.file, one.alike))
    columns = ("Image", "Class", "Dense", "Pruned", "Written", "Correlation")
    return Table(title, columns=columns, rows=tuple(rows), text_columns=5)
