"""Where a network looks: class-activation maps, and the picture that shows them. Needs the extra `explain`.

The room is not called `explain`, because `namprune.explain` is the command.
"""

from namprune.cam.explanation import Explanation, Prediction, to_table
from namprune.errors import UserError

try:
    from namprune.cam.gradcam import correlation, grad_cam
    from namprune.cam.overlay import Panel, draw
except ModuleNotFoundError as error:
    library = (error.name or "").partition(".")[0]
    if library not in ("captum", "matplotlib"):
        raise
    raise UserError(
        f"explain: {library} is not installed, which it needs", hint="pip install 'namprune[explain]'"
    ) from error

__all__ = ["Explanation", "Panel", "Prediction", "correlation", "draw", "grad_cam", "to_table"]
