"""JSON as its standard has it (https://www.rfc-editor.org/rfc/rfc8259): without NaN and infinity."""

import json
import math
from typing import Any


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = True) -> str:
    """Mappings, sequences and plain values as JSON; a float that is no finite number is null."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
