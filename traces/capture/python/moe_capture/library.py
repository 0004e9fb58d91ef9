"""libmoe_capture.so: its structs as moe_capture.h declares them, and where it is found."""

import ctypes
import functools
import os
from pathlib import Path

_NAME = "libmoe_capture.so"

# Flags of a log (moe_capture_options.flags).
WEIGHTS, TOKEN_IDS, TAGS, REQUESTS, OVERWRITE = 1, 2, 4, 8, 16
NEGATIVE_IS_NONE = 1
ID_TYPES = {"int64": 0, "int32": 1, "uint16": 2, "uint8": 3}
STORED, DROPPED = 0, 1


class Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("path", ctypes.c_char_p),
        ("model", ctypes.c_char_p),
        ("provenance", ctypes.c_char_p),
        ("layers", ctypes.c_uint32),
        ("top_k", ctypes.c_uint32),
        ("experts", ctypes.POINTER(ctypes.c_uint32)),
        ("layer_numbers", ctypes.POINTER(ctypes.c_int32)),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("buffer_bytes", ctypes.c_uint64),
    ]


class Batch(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("step", ctypes.c_int64),
        ("layer", ctypes.c_uint32),
        ("source_rank", ctypes.c_uint32),
        ("tokens", ctypes.c_uint32),
        ("top_k", ctypes.c_uint32),
        ("id_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("ids", ctypes.c_void_p),
        ("row_bytes", ctypes.c_size_t),
        ("choices", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("weights_row_bytes", ctypes.c_size_t),
        ("token_ids", ctypes.c_void_p),
        ("tags", ctypes.c_void_p),
        ("requests", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
    ]


COUNTERS = (
    "stored_batches",
    "stored_tokens",
    "stored_choices",
    "dropped_batches",
    "dropped_tokens",
    "dropped_choices",
    "lost_batches",
    "lost_tokens",
    "lost_choices",
    "refused_batches",
    "written_bytes",
    "write_errors",
)


class Counters(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [(name, ctypes.c_uint64) for name in COUNTERS]


def _candidates():
    """Where the shared object may be: what the environment says, beside this package, in a build of
    the repository.
    """
    said = os.environ.get("MOE_CAPTURE_LIBRARY")
    if said:
        return [Path(said)]
    here = Path(__file__).resolve().parent
    places = [here / _NAME]
    if len(here.parents) > 3:  # traces/capture/python/moe_capture in the repository
        places += [
            here.parents[3] / "build" / preset / "traces" / "capture" / _NAME
            for preset in ("release", "dev")
        ]
    return places


@functools.lru_cache(maxsize=None)
def library():
    """The loaded library. Raises OSError that names every place looked at."""
    places = _candidates()
    for place in places:
        if place.is_file():
            return _declare(ctypes.CDLL(str(place)))
    raise OSError(
        f"{_NAME} is not at {' nor at '.join(map(str, places))}; build it (ninja moe_capture), "
        "install this package "
        "with pip, or set MOE_CAPTURE_LIBRARY"
    )


def _declare(loaded):
    handle = ctypes.c_void_p
    for name, result, arguments in (
        ("open", handle, [ctypes.POINTER(Options), ctypes.c_char_p, ctypes.c_size_t]),
        ("record", ctypes.c_int, [handle, ctypes.POINTER(Batch)]),
        (
            "drop",
            ctypes.c_int,
            [handle, ctypes.c_int64]
            + [ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint64],
        ),
        ("tag", ctypes.c_int64, [handle, ctypes.c_char_p]),
        ("get_counters", ctypes.c_int, [handle, ctypes.POINTER(Counters)]),
        ("flush", ctypes.c_int, [handle]),
        ("close", ctypes.c_int, [ctypes.POINTER(handle)]),
        ("message", ctypes.c_char_p, [ctypes.c_int]),
    ):
        function = getattr(loaded, "moe_capture_" + name)
        function.restype, function.argtypes = result, arguments
    return loaded


def message(code):
    return library().moe_capture_message(code).decode()
