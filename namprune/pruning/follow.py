"""The way of channels through a forward pass, up to where it ends.

Operations that carry channels one to one (`carried`) hand them on, and so do the layers that can be cut. Whatever
else takes channels ends their way: they stay, with a reason, and what it returns counts as a constant, like the
picture. So code that is not understood (shuffles, transformers, norms over channels) is left alone, and it alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node as Operation
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from namprune.pruning.carried import ELEMENTWISE, Call, Move, carried
from namprune.pruning.layers import goes_both_ways, is_known

OUTPUT = "its channels are the network's output"

_WHAT = {
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "permute", "movedim"), "rearranged"),
    **dict.fromkeys(("chunk", "split", "tensor_split", "unbind", "getitem", "narrow", "select"), "taken apart"),
    **dict.fromkeys(("cat", "concat", "concatenate"), "set beside what stays"),
}
"""What a function does to the channels; others mix them, for all that is known."""


class Follower(TorchFunctionMode):
    """Watches one forward pass of a network in eval mode, whose parameters all require gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.ends: dict[Operation | None, str] = {}
        """Why a way ends, by the operation that stands there."""
        self.moves: dict[Operation | None, tuple[Move, ...]] = {}
        """Where channels change their places, for each input that carries some."""
        self.skipped: dict[str, str] = {}
        """Layers with channels of their own that are not known, and why."""
        self._marks: list[Tensor] = []
        self._axes: dict[Operation | None, int] = {}
        self._ended: set[tuple[Operation | None, str]] = set()
        self._read: dict[nn.Module, list[Tensor]] = {}
        self._names = {module: name for name, module in model.named_modules()}
        self._owners = {
            id(parameter): (module, f"{name}.{key}" if name else key)
            for name, module in model.named_modules()
            for key, parameter in module.named_parameters(recurse=False)
        }
        self._stack: list[nn.Module] = []
        self._inside: nn.Module | None = None

    def run(self, model: nn.Module, pictures: Tensor) -> list[Tensor]:
        """The ends of all ways, as tensors that the graph can be read from.

        Raises:
            TypeError: the network returns no tensors.
        """
        hooks = [*self._watched(model)]
        try:
            with self:
                out = model(pictures)
        finally:
            for hook in hooks:
                hook.remove()
        outputs = _tensors(out)
        if not outputs:
            raise TypeError(f"it returns {type(out).__name__}, and no tensors in it")
        for tensor in outputs:
            self._end(tensor, OUTPUT)
        self._unite_readings()
        return self._marks

    def _watched(self, model: nn.Module) -> Iterator[Any]:
        for module in model.modules():
            yield module.register_forward_pre_hook(self._enter, with_kwargs=True)
            yield module.register_forward_hook(self._leave)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._stack.append(module)
        if self._inside is not None or not is_known(module):
            return None
        self._inside = module
        x, *rest = args or (named.pop("input"),)
        if _has_way(x) and self._axes.get(x.grad_fn) != _axis(module, x):
            self._end(x, f"its channels are not those that {self._names[module]} takes")
            x = x.detach()
        self._read.setdefault(module, []).append(x)
        return (x, *rest), named

    def _leave(self, module: nn.Module, _inputs: tuple[Any, ...], out: Any) -> Any:
        self._stack.pop()
        if self._inside is not module:
            return None
        read = self._read[module][-1]
        if not _has_way(out):
            self._end(read, f"{self._names[module]} takes its channels without gradients")
        elif goes_both_ways(module) and not _has_way(read):
            out = out.detach()  # the channels of a constant
        else:
            self._axes[out.grad_fn] = _axis(module, out)
        self._inside = None
        return out

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Make a call, and see what becomes of the channels in it."""
        named = dict(kwargs or {})
        tensors = _tensors((args, named))
        carriers = [tensor for tensor in tensors if _has_way(tensor)]
        if self._inside is not None:
            return func(*args, **named)
        if not carriers:
            return _constant(func(*args, **named))
        name = getattr(func, "__name__", type(func).__name__).strip("_")
        if name in ELEMENTWISE:
            args, named = tree_map_only(Tensor, lambda one: self._narrowed(one, tensors), (args, named))
            carriers = [tensor for tensor in _tensors((args, named)) if _has_way(tensor)]
        axes = [self._axes.get(carrier.grad_fn) for carrier in carriers]
        constants = [tensor for tensor in tensors if not _has_way(tensor)]  # the call may write into one
        out = func(*args, **named)
        if not _tensors(out) and name != "setitem":
            return out  # a shape, a type, a device
        known = [axis for axis in axes if axis is not None]
        way = None
        if isinstance(out, Tensor) and _has_way(out) and len(known) == len(carriers):
            way = carried(Call(name=name, args=args, named=named, out=out, carriers=carriers, axes=known))
        if way is None:
            return self._stop(name, carriers, tensors, out)
        self._axes[out.grad_fn] = way.axis
        if way.moves:
            self.moves[out.grad_fn] = way.moves
        if values := [constant for constant in constants if _lies_along(constant, out, way.axis)]:
            self._end(out, self._reason(name, values))
        return out

    def _narrowed(self, tensor: Tensor, beside: Iterable[Tensor]) -> Tensor:
        """A tensor to calculate with: a parameter is a constant, and so is one channel that all others meet."""
        if not _has_way(tensor):
            return tensor.detach() if tensor.requires_grad and tensor.is_leaf else tensor
        axis = self._axes.get(tensor.grad_fn)
        if axis is None or tensor.shape[axis] > 1:
            return tensor
        end = tensor.ndim - axis
        if all(other.ndim < end or other.shape[-end] == 1 for other in beside):
            return tensor
        self._end(tensor, "its one channel meets several")
        return tensor.detach()

    def _stop(self, name: str, carriers: list[Tensor], tensors: list[Tensor], out: Any) -> Any:
        why = self._reason(name, [tensor for tensor in tensors if id(tensor) in self._owners])
        for tensor in carriers:
            self._end(tensor, why)
        return tree_map_only(Tensor, lambda one: one if any(one is tensor for tensor in tensors) else one.detach(), out)

    def _end(self, tensor: Tensor, why: str) -> None:
        if _has_way(tensor) and (tensor.grad_fn, why) not in self._ended:
            self._ended.add((tensor.grad_fn, why))
            mark = tensor * 1.0  # an operation of its own, whatever becomes of the tensor
            self._marks.append(mark)
            self.ends[mark.grad_fn] = why

    def _unite_readings(self) -> None:
        """Where a layer that is called several times reads a constant once, what it reads stays."""
        for module, read in self._read.items():
            if not all(map(_has_way, read)):
                for tensor in read:
                    self._end(tensor, f"{self._names[module]} reads what stays, too")

    def _reason(self, name: str, constants: list[Tensor]) -> str:
        owners = [self._owners[id(tensor)] for tensor in constants if id(tensor) in self._owners]
        if not owners:
            where = self._names[self._stack[-1]] if self._stack else ""
            place = f" in {where}" if where else ""
            if constants:
                return f"{name}{place} meets its channels with a value for each"
            return f"its channels are {_WHAT.get(name, 'mixed')} by {name}{place}"
        module, parameter = owners[0]
        layer, kind = self._names[module], type(module).__name__
        homes = {base.__module__ for base in type(module).__mro__[:-2]} - {nn.Sequential.__module__}
        if not any(home.startswith("torch.nn.modules.") for home in homes):
            return f"{parameter} is a parameter with a value for each channel"
        why = f"{layer} is a {kind}, which cannot be cut"
        if name in ("layer_norm", "group_norm"):
            why = f"{layer} is a {kind}, which normalizes over the channels"
        elif isinstance(module, nn.Conv2d) and module.groups > 1:
            why = f"{layer} is a grouped convolution whose groups have other inputs than outputs"
        if isinstance(module, _ConvNd | nn.Linear):
            self.skipped[layer] = why
        return why


def _axis(module: nn.Module, x: Tensor) -> int:
    """Along which a known layer has its channels."""
    return x.ndim - 1 if isinstance(module, nn.Linear) else 1


def _has_way(x: Any) -> bool:
    """Whether there are channels in a tensor that a layer made."""
    return isinstance(x, Tensor) and x.grad_fn is not None


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _constant(out: Any) -> Any:
    """What is made of parameters and constants alone."""
    return tree_map_only(Tensor, lambda one: one.detach() if one.grad_fn is not None else one, out)


def _lies_along(constant: Tensor, out: Tensor, axis: int) -> bool:
    """Whether a tensor has more than one value along an axis of what it is calculated with."""
    end = out.ndim - axis
    return constant.ndim >= end and constant.shape[-end] > 1
