"""A device that is not there: it refuses what a GPU refuses, and counts what it awaits.

A tensor on "standin" holds one on the CPU. Every operation of torch on it is done
there, after the stand-in has seen that no tensor of another device takes part, and has
noted whether the host would wait for a GPU at this place: it does where it must know a
number or a size, and where it copies. Operations of compiled code cannot be done on it,
as on a GPU, because it gives its memory to nobody.

Torch dispatches to it as to any other device: nothing but autograd's threads is
patched, and code under test takes the paths that it takes on a GPU, sparse products
included.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

__all__ = ["STANDIN", "Recording", "StandIn", "recorded", "waits"]

# Whose results have a size, or are a number, that the host asks the device for.
_ASKS = {
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::bincount",
    "aten::equal",
    "aten::histc",
    "aten::is_nonzero",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",
    "aten::unique_consecutive",
    "aten::unique_dim",
}
# With a mask as an index, the number of the chosen has to be known.
_INDEXING = {
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
}
_COPIES = {"aten::_to_copy", "aten::copy_"}

# Autograd starts a thread for every device that it knows at its first use. One for a
# device in Python can abort the interpreter when that ends: it gets none, and works in
# the thread of its caller.
torch.ones((), requires_grad=True).backward()
_run_backward = torch.autograd._engine_run_backward


def _run_backward_here(*args, **kwargs):
    with torch.autograd.set_multithreading_enabled(False):
        return _run_backward(*args, **kwargs)


torch.autograd._engine_run_backward = _run_backward_here


class _Module:
    """What torch asks of `torch.standin`; numbers are drawn from the CPU's stream."""

    def is_initialized(self):
        return True

    def is_available(self):
        return True

    def _is_in_bad_fork(self):
        return False

    def current_device(self):
        return 0

    def device_count(self):
        return 1

    def manual_seed_all(self, seed):
        pass

    def get_rng_state(self, device=None):
        return torch.zeros(0)

    def set_rng_state(self, state, device=None):
        pass


_setup_privateuseone_for_python_backend("standin", backend_module=_Module())
STANDIN = torch.device("standin:0")

_counters: list[Counter] = []


@contextmanager
def waits() -> Iterator[Counter]:
    """Count by operation, for one block, how often the host waits for the device."""
    counter: Counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


class StandIn(torch.Tensor):
    """A tensor on the device, in whose place another one on the CPU computes."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner):
        strided = inner.layout == torch.strided
        # A sparse one says that it is dense, as torch lets no wrapper be anything else.
        like = inner if strided else torch.empty(inner.shape, device="meta")
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            like.size(),
            strides=like.stride(),
            storage_offset=like.storage_offset(),
            dtype=inner.dtype,
            device=STANDIN,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            with torch.no_grad():
                twin = self.detach().clone()
            twin = twin.requires_grad_(self.requires_grad)
            # What torch itself notes of a parameter.
            vars(twin).update({k: v for k, v in vars(self).items() if k != "inner"})
            memo[id(self)] = twin
        return memo[id(self)]

    def tolist(self):
        """Bring the numbers to the host, which torch refuses to do for subclasses."""
        return self.cpu().tolist()

    def __repr__(self):
        return f"standin({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})


def _compute(func, args, kwargs):
    name = func._schema.name
    tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    _check_devices(name, tensors)
    if _waits(name, args, kwargs):
        if _recordings:
            raise RuntimeError("operation not permitted when stream is capturing")
        for counter in _counters:
            counter[name] += 1
    call = func, tree_map(_inner, args), tree_map(_inner, kwargs)
    inner = _recordings[-1].note(*call) if _recordings else func(*call[1], **call[2])
    written = [
        args[i] if i < len(args) else kwargs.get(argument.name)
        for i, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if written:
        kept = [
            t.shape == _inner(t).shape for t in tree_leaves(written) if t is not None
        ]
        assert all(kept), f"{name} resizes a tensor, which no stand-in can do"
        # What was written is returned itself: in place, or as `out`.
        returned = tuple(written[: len(func._schema.returns)])
        return returned if len(returned) > 1 else next(iter(returned), None)
    return tree_map(_outer, inner) if _stays(name, kwargs) else inner


class Recording:
    """What a CUDA graph is on this device: operations to be done again, in this memory.

    While they are recorded they are done, to know the sizes of what they give; the
    memory that was there before gets its values back.
    """

    def __init__(self):
        self.calls, self.before = [], {}

    def note(self, func, args, kwargs):
        """Do an operation, and note it with what it gave."""
        for i, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[i] if i < len(args) else kwargs.get(argument.name)
                for tensor in tree_leaves(given):
                    self._keep(tensor)
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    def _keep(self, tensor):
        storage = tensor.untyped_storage()
        self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))

    def give_back(self):
        """Undo what was done while it was recorded."""
        for storage, values in self.before.values():
            storage.copy_(values)

    def replay(self):
        """Do it again."""
        for func, args, kwargs, before in self.calls:
            result = func(*args, **kwargs)
            for old, new in zip(tree_leaves(before), tree_leaves(result), strict=True):
                if isinstance(old, torch.Tensor):
                    old, new = (_numbers_of(tensor) for tensor in (old, new))
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _numbers_of(tensor):
    return tensor if tensor.layout == torch.strided else tensor.values()


_recordings: list[Recording] = []


@contextmanager
def recorded(recording: Recording) -> Iterator[None]:
    """Record, for one block, what is done on the device."""
    _recordings.append(recording)
    try:
        yield
    finally:
        _recordings.remove(recording)
        recording.give_back()


def _check_devices(name, tensors):
    """Refuse to mix; a single number of the CPU is let through, as on a GPU."""
    others = [t for t in tensors if not isinstance(t, StandIn) and t.ndim > 0]
    # Indices may be on the CPU: torch copies them, which is waited for.
    if others and name not in _COPIES and name not in _INDEXING:
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but found at "
            f"least two devices, {STANDIN} and {others[0].device}!"
        )


def _waits(name, args, kwargs):
    if name in _ASKS:
        return name != "aten::repeat_interleave" or kwargs.get("output_size") is None
    if name in _INDEXING:
        indices = [index for index in args[1] if index is not None]
        return any(i.dtype == torch.bool or not isinstance(i, StandIn) for i in indices)
    if name == "aten::_to_copy":
        return not _stays(name, kwargs)
    if name == "aten::copy_":
        to, source = args[:2]
        crosses = isinstance(to, StandIn) != isinstance(source, StandIn)
        # A copy to the device may be left to it; to the host it must have arrived.
        not_awaited = isinstance(to, StandIn) and (args[2:3] or [False])[0]
        return crosses and not not_awaited
    return False


def _stays(name, kwargs):
    device = kwargs.get("device")
    return device is None or torch.device(device).type == "standin"


def _inner(value):
    if isinstance(value, StandIn):
        return value.inner
    if isinstance(value, torch.device) and value.type == "standin":
        return torch.device("cpu")
    return value


def _outer(value):
    return StandIn(value) if isinstance(value, torch.Tensor) else value


# New tensors begin here; all others are made from them.
_LIBRARY = torch.library.Library("aten", "IMPL")


def _empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):  # fmt: skip # noqa: E501
    return StandIn(torch.empty(size, dtype=dtype, layout=layout))


def _empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return StandIn(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source, to, non_blocking=False):
    """Do what `torch.tensor` does, which asks for no dispatch to Python."""
    if not non_blocking:
        for counter in _counters:
            counter["aten::_copy_from"] += 1
    _inner(to).copy_(_inner(source))
    return to


def _made_whole(make):
    """Make it whole: torch makes an empty one, and resizes it."""

    def make_here(*args, device=None, layout=None, pin_memory=None, **kwargs):
        return StandIn(make(*args, **kwargs))

    return make_here


for _name in ("arange", "arange.start", "arange.start_step", "eye", "eye.m"):
    _LIBRARY.impl(
        _name, _made_whole(getattr(torch, _name.split(".")[0])), "PrivateUse1"
    )
_LIBRARY.impl("empty.memory_format", _empty, "PrivateUse1")
_LIBRARY.impl("empty_strided", _empty_strided, "PrivateUse1")
_LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")
