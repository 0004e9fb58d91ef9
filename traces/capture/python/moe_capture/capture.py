"""Capture: one raw log, written by libmoe_capture.so."""

import array
import ctypes
import operator
import os
import sys
import threading
import weakref

from . import library as lib
from .arrays import matrix, vector

MOST_STEP = 2**53
_ID_TYPES = ("int64", "int32", "uint16", "uint8")


class Capture:
    """A log of routing decisions. record() copies into a bounded buffer and never waits; a thread
    of the library writes the file.

    path: the log to make; it must not be there unless overwrite.
    experts: number of experts of each routed layer, one entry per layer. top_k: most choices of a
      token in a layer.
    model, provenance: free text, kept in the log. layer_numbers: the model's own numbers of the
      layers, 0, 1, ... without.
    weights, token_ids, tags, requests: what record() will be given besides the ids; weights then
      with every batch, the others with every batch of at least one layer. requests stands for
      request and position.
    buffer_bytes: host memory for what is not written yet; 0: the library's own default (64 MiB).
      When it is full, batches are dropped, counted, and the log says so.

    Raises OSError when the log cannot be opened, ValueError when the numbers are wrong. After a
    fork the child opens its own.
    """

    def __init__(
        self,
        path,
        *,
        experts,
        top_k,
        model="",
        layer_numbers=None,
        weights=False,
        token_ids=False,
        tags=False,
        requests=False,
        buffer_bytes=0,
        provenance="",
        overwrite=False,
    ):
        self.path = os.fspath(path)
        self.experts, self.top_k, self.has_weights = list(experts), top_k, bool(weights)
        if layer_numbers is not None and len(layer_numbers) != len(self.experts):
            raise ValueError(f"layer_numbers: {len(layer_numbers)} for {len(self.experts)} layers")
        self._library = lib.library()
        self._handle = ctypes.c_void_p()
        self._last_counters = None
        self._close_lock, self._process = threading.Lock(), os.getpid()
        flags = (
            (lib.WEIGHTS if weights else 0)
            | (lib.TOKEN_IDS if token_ids else 0)
            | (lib.TAGS if tags else 0)
            | (lib.REQUESTS if requests else 0)
            | (lib.OVERWRITE if overwrite else 0)
        )
        try:
            experts_array = _c_array(ctypes.c_uint32, array.array("I", self.experts))
            layer_array = (
                None
                if layer_numbers is None
                else _c_array(ctypes.c_int32, array.array("i", layer_numbers))
            )
            options = lib.Options(
                ctypes.sizeof(lib.Options),
                _c_text(os.fsencode(self.path), "path"),
                _c_text(model.encode(), "model"),
                _c_text(provenance.encode(), "provenance"),
                len(self.experts),
                _u32(top_k, "top_k"),
                experts_array,
                layer_array,
                flags,
                0,
                number(buffer_bytes, "buffer_bytes", 2**40),
            )
        except (OverflowError, TypeError) as mistake:
            raise ValueError(f"experts, top_k, layer_numbers: {mistake}") from None
        error = ctypes.create_string_buffer(1024)
        self._handle.value = self._library.moe_capture_open(
            ctypes.byref(options), error, len(error)
        )
        if not self._handle:
            raise OSError(error.value.decode(errors="replace"))
        # A log that nobody closed is closed with this object or the process.
        self._finalizer = weakref.finalize(self, _end, self._library, self._handle)

    def record(
        self,
        *,
        step,
        layer,
        ids,
        rank=0,
        choices=None,
        weights=None,
        token_ids=None,
        tags=None,
        requests=None,
        positions=None,
        negative_is_none=False,
    ):
        """Records the choices of T tokens in one layer; True when stored, False when dropped
        because the buffer is full.

        step: forward pass or training step, from 0. layer: index into experts (not the model's
          layer number).
        ids: [T, k] or [T] expert numbers: tensor, array, buffer or list; int64, int32, uint16 and
          uint8 are not copied before the library does. choices: [T] how many of a row's ids count,
          without: all. negative_is_none: an id below 0 is no choice.
        weights: [T, k] float32. token_ids, requests, positions: [T] int64, from 0. tags: [T]
          numbers from tag(), or one number for all. rank: whose tokens these are.
        Tensors on a device are copied to the host first, which waits for the device.
        Raises ValueError, TypeError: what was given is wrong, nothing was recorded.
        """
        block = matrix(ids, _ID_TYPES, "ids")
        rows = block.rows
        if not self._handle:
            raise ValueError("this capture is closed")
        batch = lib.Batch(
            ctypes.sizeof(lib.Batch),
            number(step, "step", MOST_STEP),
            _u32(layer, "layer"),
            _u32(rank, "rank"),
            _u32(rows, "tokens"),
            block.columns,
            lib.ID_TYPES[block.type],
            lib.NEGATIVE_IS_NONE if negative_is_none else 0,
            block.pointer,
            block.row_bytes,
        )
        held = [block]
        if weights is not None:
            block_of_weights = matrix(weights, ("float32",), "weights")
            if (block_of_weights.rows, block_of_weights.columns) != (rows, block.columns):
                raise ValueError(
                    f"weights: expected [{rows}, {block.columns}] as ids, got "
                    f"[{block_of_weights.rows}, {block_of_weights.columns}]"
                )
            batch.weights, batch.weights_row_bytes = (
                block_of_weights.pointer,
                block_of_weights.row_bytes,
            )
            held.append(block_of_weights)
        if hasattr(tags, "__index__") and not hasattr(tags, "shape"):
            tags = array.array("I", [_u32(tags, "tags")]) * rows
        for name, value, types in (
            ("choices", choices, ("uint8",)),
            ("token_ids", token_ids, ("int64",)),
            ("tags", tags, ("uint32", "int32")),
            ("requests", requests, ("int64",)),
            ("positions", positions, ("int64",)),
        ):
            if value is not None:
                one = vector(value, types, name, rows)
                setattr(batch, name, one.pointer)
                held.append(one)
        code = self._library.moe_capture_record(self._handle, ctypes.byref(batch))
        del held
        if code < 0:
            raise ValueError(lib.message(code))
        return code == lib.STORED

    def drop(self, *, step, layer, tokens, choices, rank=0):
        """Says that the caller dropped a batch of so many tokens and choices before record(): it is
        counted as dropped, and import leaves its step and rank out.
        """
        if not self._handle:
            raise ValueError("this capture is closed")
        code = self._library.moe_capture_drop(
            self._handle,
            number(step, "step", MOST_STEP),
            _u32(layer, "layer"),
            _u32(rank, "rank"),
            number(tokens, "tokens", 2**53),
            number(choices, "choices", 2**53),
        )
        if code < 0:
            raise ValueError(lib.message(code))

    def tag(self, name):
        """The number of a tag (a domain, a task): the same name gives the same number."""
        if not self._handle:
            raise ValueError("this capture is closed")
        code = self._library.moe_capture_tag(self._handle, _c_text(name.encode(), "tag"))
        if code < 0:
            raise ValueError(lib.message(code))
        return code

    def counters(self):
        """What was stored, dropped, lost and written so far, by the names of moe_capture_counters;
        after close(), its last state.
        """
        if not self._handle:
            return dict(self._last_counters)
        counters = lib.Counters(ctypes.sizeof(lib.Counters))
        self._library.moe_capture_get_counters(self._handle, ctypes.byref(counters))
        return {name: getattr(counters, name) for name in lib.COUNTERS}

    def flush(self):
        """Waits until all recorded before is in the file; OSError when a write has failed."""
        if self._handle:
            code = self._library.moe_capture_flush(self._handle)
            if code < 0:
                raise OSError(lib.message(code))

    def close(self):
        """Flushes and ends the log; a second close does nothing. Raises OSError when a write has
        failed.
        """
        with self._close_lock:
            if not self._handle:
                return
            if os.getpid() == self._process:  # a forked child has no thread that writes
                self._library.moe_capture_flush(self._handle)
            self._last_counters = self.counters()
            self._finalizer.detach()
            code = self._library.moe_capture_close(ctypes.byref(self._handle))
        if code < 0:
            raise OSError(lib.message(code))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.close()
        except OSError:
            if kind is None:  # else the exception on its way says more
                raise


def _end(library, handle):
    library.moe_capture_close(ctypes.byref(handle))


def number(value, what, most):
    """`value` as an int from 0 to `most`; ValueError otherwise. ctypes would cut it to its bits."""
    try:
        index = operator.index(value)
    except TypeError:
        index = -1
    if not 0 <= index <= most:
        raise ValueError(f"{what}: {value!r}, expected a number from 0 to {most}")
    return index


def _u32(value, what):
    return number(value, what, 2**32 - 1)


def _c_text(text, what):
    """`text` for C, where a NUL would end it."""
    if b"\0" in text:
        raise ValueError(f"{what}: there is a NUL in it")
    return text


def _c_array(c_type, numbers):
    return (c_type * max(1, len(numbers)))(*numbers)


def distributed_rank():
    """(rank, world size) of torch.distributed when the host uses it, else (0, 1). Does not import
    PyTorch.
    """
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def rank_path(path, rank, world_size):
    """The log of a rank: `{rank}` in the path filled in; else, of several ranks,
    NAME.rankN.EXTENSION.
    """
    path = os.fspath(path)
    if "{rank}" in path:
        return path.replace("{rank}", str(rank))
    if world_size == 1:
        return path
    stem, extension = os.path.splitext(path)
    return f"{stem}.rank{rank}{extension}"
