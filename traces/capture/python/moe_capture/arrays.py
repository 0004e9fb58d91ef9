"""Tensors, arrays, buffers and lists as plain C memory, without NumPy or PyTorch being imported
here.

No bytes are copied when the caller's data already lie in host memory as a type that the C library
reads, with consecutive columns. Otherwise one copy is made, by the library that the data belong to.
"""

import array
import ctypes

_FORMATS = {
    ("B", 1): "uint8",
    ("H", 2): "uint16",
    ("i", 4): "int32",
    ("I", 4): "uint32",
    ("l", 8): "int64",
    ("q", 8): "int64",
    ("f", 4): "float32",
}
_CODES = {"uint8": "B", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "float32": "f"}
_GREATEST = {
    "uint8": 2**8 - 1,
    "uint16": 2**16 - 1,
    "int32": 2**31 - 1,
    "uint32": 2**32 - 1,
    "int64": 2**63 - 1,
}


class Block:
    """rows x columns numbers of one type at `pointer`; `row_bytes` bytes lie between the starts of
    two rows.
    """

    __slots__ = ("pointer", "type", "rows", "columns", "row_bytes", "owner")

    def __init__(self, pointer, type_name, rows, columns, row_bytes, owner):
        if not pointer:  # an empty tensor has no memory, but the library wants an address
            owner = ctypes.c_int64()
            pointer = ctypes.addressof(owner)
        self.pointer, self.type, self.rows, self.columns, self.row_bytes = (
            pointer,
            type_name,
            rows,
            columns,
            row_bytes,
        )
        self.owner = owner  # keeps the memory alive


def _matrix_shape(shape, what):
    if len(shape) == 1:
        return shape[0], 1
    if len(shape) == 2:
        return shape[0], shape[1]
    raise ValueError(f"{what}: expected [tokens] or [tokens, columns], got {len(shape)} dimensions")


def _check_range(least, greatest, target, what):
    low = -(2**63) if target == "int64" else -(2**31) if target == "int32" else 0
    if least < low or greatest > _GREATEST[target]:
        raise ValueError(
            f"{what}: {least if least < low else greatest} is not within {low} to "
            f"{_GREATEST[target]}"
        )


def _from_tensor(value, types, what):
    import torch

    value = value.detach()
    if value.device.type != "cpu":
        value = (
            value.cpu()
        )  # waits for the device; copy it yourself at a better moment where that is too slow
    name, target = str(value.dtype).replace("torch.", ""), types[0]
    if name not in types:
        if (
            value.dtype == torch.bool
            or value.is_complex()
            or value.is_floating_point() != (target == "float32")
        ):
            raise TypeError(f"{what}: a tensor of {name}, expected {' or '.join(types)}")
        if target != "float32" and value.numel():
            _check_range(int(value.min()), int(value.max()), target, what)
        value = value.to(torch.int32 if target == "uint32" else getattr(torch, target))
        name = target
    rows, columns = _matrix_shape(tuple(value.shape), what)
    if value.dim() == 1:
        value = value.unsqueeze(1)
    if columns > 1 and value.stride(1) != 1 or rows > 1 and value.stride(0) < columns:
        value = value.contiguous()
    row_bytes = (value.stride(0) if rows > 1 else columns) * value.element_size()
    return Block(value.data_ptr(), name, rows, columns, row_bytes, value)


def _from_array(value, types, what):
    name, target = value.dtype.name if value.dtype.isnative else "", types[0]
    if name not in types:
        if value.dtype.kind not in ("f" if target == "float32" else "iu"):
            raise TypeError(f"{what}: an array of {value.dtype}, expected {' or '.join(types)}")
        if target != "float32" and value.size:
            _check_range(int(value.min()), int(value.max()), target, what)
        value = value.astype(target)
        name = target
    rows, columns = _matrix_shape(value.shape, what)
    size = value.itemsize
    if value.ndim == 1:
        value = value.reshape(-1, 1)
    if (
        not value.flags.aligned
        or columns > 1
        and value.strides[1] != size
        or rows > 1
        and (value.strides[0] < columns * size or value.strides[0] % size)
    ):
        value = value.copy(order="C")
    row_bytes = value.strides[0] if rows > 1 else columns * size
    return Block(value.__array_interface__["data"][0], name, rows, columns, row_bytes, value)


def _from_list(value, types, what):
    value = [row.tolist() if hasattr(row, "tolist") else row for row in value]
    nested = bool(value) and isinstance(value[0], (list, tuple))
    columns = len(value[0]) if nested else 1
    if nested and any(not isinstance(row, (list, tuple)) or len(row) != columns for row in value):
        raise ValueError(f"{what}: rows of different lengths; pad them and give choices=")
    numbers = [n for row in value for n in row] if nested else value
    try:
        flat = array.array(_CODES[types[0]], numbers)
    except (TypeError, OverflowError) as mistake:
        raise TypeError(f"{what}: {mistake}") from None
    return _from_memory(memoryview(flat), types[0], len(value), columns)


def _from_buffer(view, types, what):
    if view.ndim == 0 or not view.c_contiguous:
        raise TypeError(f"{what}: expected a buffer of adjacent rows")
    name = _FORMATS.get((view.format.lstrip("@="), view.itemsize))
    if name not in types:
        raise TypeError(f"{what}: a buffer of {name or view.format}, expected {' or '.join(types)}")
    rows, columns = _matrix_shape(view.shape, what)
    return _from_memory(view, name, rows, columns)


def _from_memory(view, name, rows, columns):
    size = view.itemsize
    if rows * columns == 0:
        view = memoryview(bytearray(8))  # so that there is an address
    elif view.readonly:  # ctypes takes the address of writable memory only
        view = memoryview(bytearray(view))
    owner = ctypes.c_char.from_buffer(view.cast("B"))
    return Block(ctypes.addressof(owner), name, rows, columns, columns * size, (owner, view))


def matrix(value, types, what):
    """`value` as a Block of one of `types`; other numbers of the same kind become types[0], when
    they fit.

    value: [rows] or [rows, columns] as tensor, NumPy array, buffer or list. Raises TypeError or
      ValueError, beginning with `what`.
    """
    if hasattr(value, "data_ptr") and hasattr(value, "detach"):
        return _from_tensor(value, types, what)
    if hasattr(value, "__array_interface__") and hasattr(value, "dtype"):
        return _from_array(value, types, what)
    if isinstance(value, (list, tuple)):
        return _from_list(value, types, what)
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(
            f"{what}: expected a tensor, an array, a buffer or a list, got {type(value).__name__}"
        ) from None
    return _from_buffer(view, types, what)


def vector(value, types, what, rows):
    """`value` [rows] as a Block of adjacent numbers."""
    block = matrix(value, types, what)
    if block.columns != 1 or block.rows != rows:
        shape = f"{block.rows}" + (f", {block.columns}" if block.columns != 1 else "")
        raise ValueError(f"{what}: expected [{rows}], one per token, got [{shape}]")
    if block.row_bytes != ctypes.sizeof(_C_TYPES[block.type]) and rows > 1:
        owner = block.owner
        return matrix(
            owner.contiguous() if hasattr(owner, "contiguous") else owner.copy(order="C"),
            types,
            what,
        )
    return block


_C_TYPES = {
    "uint8": ctypes.c_uint8,
    "uint16": ctypes.c_uint16,
    "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32,
    "int64": ctypes.c_int64,
    "float32": ctypes.c_float,
}
