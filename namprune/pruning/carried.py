"""Which operations carry channels one to one, and where their axis and their places are afterwards.

A rule looks at one call that was made and says along which axis of its result the channels lie, or None: then this is
not known, and the way of the channels ends there. Shapes are those of two pictures, so that no number of channels is
taken for a number of pictures.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

Places: TypeAlias = Sequence[tuple[int, int]]
"""Pairs of a place along some axis and the channel that lies there."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where the channels of one input of an operation lie in its result: channel p at shift + stride p and behind."""

    width: int
    shift: int = 0
    stride: int = 1

    def ahead(self, places: Places) -> Places:
        """From the input to the result."""
        inside = ((place, channel) for place, channel in places if place < self.width)
        starts = ((self.shift + place * self.stride, channel) for place, channel in inside)
        return [(start + step, channel) for start, channel in starts for step in range(self.stride)]

    def back(self, places: Places) -> Places:
        """From the result to the input."""
        inside = ((place - self.shift, channel) for place, channel in places)
        return [(at // self.stride, channel) for at, channel in inside if 0 <= at < self.width * self.stride]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an operation."""

    name: str
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    out: Tensor
    carriers: Sequence[Tensor]
    """Arguments with channels whose way is known."""
    axes: Sequence[int]
    """Where these lie, one for each."""

    def option(self, place: int, *names: str) -> Any:
        """An argument by its place or one of its names; None if it was not given."""
        given = [self.named[name] for name in names if name in self.named]
        return given[0] if given else self.args[place] if len(self.args) > place else None


@dataclass(frozen=True)
class Way:
    """How a call hands its channels on."""

    axis: int
    moves: tuple[Move, ...] = ()
    """One for each carrier; none where the places are the same."""


Rule: TypeAlias = Callable[[Call], Way | None]


def carried(call: Call) -> Way | None:
    """How the channels go on, or None if that is not known."""
    rule = RULES.get(call.name)
    return rule(call) if rule else None


def _elementwise(call: Call) -> Way | None:
    """Shapes are lined up from the right."""
    ends = {carrier.ndim - axis for carrier, axis in zip(call.carriers, call.axes, strict=True)}
    if len(ends) > 1:
        return None
    axis = call.out.ndim - ends.pop()
    widths = {carrier.shape[at] for carrier, at in zip(call.carriers, call.axes, strict=True)}
    return Way(axis) if axis >= 0 and widths == {call.out.shape[axis]} else None


def _spatial(call: Call) -> Way | None:
    (before,), (axis,) = call.carriers, call.axes
    same = call.out.ndim == before.ndim and call.out.shape[:2] == before.shape[:2]
    return Way(1) if axis == 1 and same else None


def _pad(call: Call) -> Way | None:
    (before,), (axis,) = call.carriers, call.axes
    from_the_right = before.ndim - 1 - axis
    padding = tuple(call.option(1, "pad"))[2 * from_the_right :][:2]
    return Way(axis) if not any(padding) else None


def _reshape(call: Call) -> Way | None:
    (before,), (axis,) = call.carriers, call.axes
    pictures, width = math.prod(before.shape[:axis]), before.shape[axis]
    stride = math.prod(before.shape[axis + 1 :])
    for at, size in enumerate(call.out.shape):
        if math.prod(call.out.shape[:at]) != pictures or _fixed(call, at):
            continue
        if size == width:
            return Way(at)
        if size == width * stride and at == call.out.ndim - 1:
            return Way(at, (Move(width=width, stride=stride),))
    return None


def _fixed(call: Call, axis: int) -> bool:
    """Whether the code gives the number of channels, and derives that of the pictures, as `view(-1, 400)` does: with
    fewer channels this would make fewer pictures."""
    sizes = [size for arg in call.args[1:] for size in (arg if isinstance(arg, Sequence) else (arg,))]
    return call.name in ("view", "reshape") and -1 in sizes[:axis]


def _permute(call: Call) -> Way | None:
    (before,), (axis,) = call.carriers, call.axes
    dims = call.option(1, "dims")
    order = [dim % before.ndim for dim in (dims if isinstance(dims, Sequence) else call.args[1:])]
    return Way(order.index(axis))


def _transpose(call: Call) -> Way | None:
    (before,), (axis,) = call.carriers, call.axes
    one, other = (call.option(at, f"dim{at - 1}", f"axis{at - 1}") % before.ndim for at in (1, 2))
    return Way({one: other, other: one}.get(axis, axis))


def _reduce(call: Call) -> Way | None:
    (before,), (axis,) = call.carriers, call.axes
    dims = call.option(1, "dim", "axis")
    if dims is None:
        return None
    gone = {dim % before.ndim for dim in (dims if isinstance(dims, Sequence) else (dims,))}
    in_front = sum(dim < axis for dim in gone) if call.out.ndim < before.ndim else 0
    return None if axis in gone else Way(axis - in_front)


def _take(call: Call) -> Way | None:
    """`x[...]`, where the channels are taken whole."""
    (before,), (axis,) = call.carriers, call.axes
    given = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if not all(item is None or item is ... or isinstance(item, int | slice) for item in given):
        return None
    rest = before.ndim - sum(item is not None and item is not ... for item in given)
    items = [one for item in given for one in ([slice(None)] * rest if item is ... else [item])]
    source = target = 0
    for item in items:
        if source == axis and item is not None:
            break
        source += item is not None
        target += not isinstance(item, int)
    else:
        return Way(target + axis - source)
    whole = isinstance(item, slice) and item.indices(before.shape[axis]) == (0, before.shape[axis], 1)
    return Way(target) if whole else None


def _concatenate(call: Call) -> Way | None:
    (axis, *others), parts = call.axes, call.option(0, "tensors")
    dim = call.option(1, "dim", "axis") or 0
    if any(other != axis for other in others) or len(parts) != len(call.carriers):
        return None
    if dim % call.out.ndim != axis:
        return _elementwise(call)
    widths = [part.shape[axis] for part in parts]
    return Way(axis, tuple(Move(width=width, shift=sum(widths[:at])) for at, width in enumerate(widths)))


def _expand(call: Call) -> Way | None:
    before, axis = call.carriers[0], call.axes[0]
    at = axis + call.out.ndim - before.ndim
    return Way(at) if call.args[0] is before and call.out.shape[at] == before.shape[axis] else None


_ALIKE = (
    "abs add addcdiv addcmul alpha_dropout bfloat16 celu clamp clamp_max clamp_min clip clone contiguous cos div "
    "divide double dropout dropout1d dropout2d dropout3d elu erf exp expm1 feature_alpha_dropout feature_dropout "
    "float gelu half hardshrink hardsigmoid hardswish hardtanh iadd imul isub itruediv leaky_relu lerp log log1p "
    "logsigmoid masked_fill maximum minimum mish mul multiply nan_to_num neg negative pow radd rdiv reciprocal relu "
    "relu6 rmul rpow rrelu rsqrt rsub rtruediv selu sgn sigmoid sign silu sin softplus softshrink softsign sqrt square "
    "sub subtract tanh tanhshrink threshold to true_divide truediv type where"
)

ELEMENTWISE = frozenset(_ALIKE.split())
"""Of one tensor, or of several that are lined up."""

_SPATIAL = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d avg_pool1d avg_pool2d "
    "interpolate lp_pool1d lp_pool2d max_pool1d max_pool2d upsample"
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(_SPATIAL.split(), _spatial),
    **dict.fromkeys(("flatten", "reshape", "squeeze", "unsqueeze", "view"), _reshape),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys(("amax", "amin", "mean", "std", "sum", "var"), _reduce),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    "getitem": _take,
    "pad": _pad,
    "permute": _permute,
}
"""By the name of the function, without underscores around it."""
