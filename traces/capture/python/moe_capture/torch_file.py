"""Reads what torch.save wrote, without PyTorch and without running anything that the file names.

A pickle may name any function to be called, so that loading a foreign file runs its author's code.
Here a file may hold numbers, text, None, lists, tuples, sets, dicts and dense tensors; every other
name in it is refused (FileRefused), as are compressed archives and the format that torch.save had
before 1.6. torch.load(weights_only=True) has the same aim, but was found to be open in releases
before 2.6 (CVE-2025-32434).
"""

import io
import os
import pickle
import pickletools
import zipfile


# Tensors may share a storage, each is a copy here, and entries of an archive may share their bytes:
# all that is read and made is at most this many times the file.
_MOST_TIMES = 8


class FileRefused(Exception):
    """The file is no torch.save archive, is damaged, or holds what is not read here."""


_STORAGES = {
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
}


def load(path):
    """The value that was saved; tensors as NumPy arrays of their own memory. Raises FileRefused,
    OSError.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _load(archive, os.path.getsize(path))
        except zipfile.BadZipFile as mistake:
            raise FileRefused(
                f"{path}: no archive of torch.save (1.6 or later): {mistake}"
            ) from None
        except FileRefused as mistake:
            raise FileRefused(f"{path}: {mistake}") from None
        except ImportError:
            raise
        except Exception as mistake:  # zipfile and pickle raise a dozen kinds for damaged bytes
            raise FileRefused(f"{path}: damaged: {type(mistake).__name__} {mistake}") from None


class _Budget:
    def __init__(self, file_bytes):
        self.file_bytes, self._left = file_bytes, _MOST_TIMES * file_bytes

    def spend(self, size):
        self._left -= size
        if self._left < 0:
            raise FileRefused(f"its tensors are more than {_MOST_TIMES} times the file")


def _load(archive, file_bytes):
    budget = _Budget(file_bytes)
    entries = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise FileRefused("no data.pkl in it, so torch.save did not write it")
    folder = pickles[0][: -len("data.pkl")]

    def read(name):
        info = entries.get(folder + name)
        if info is None:
            raise FileRefused(f"no {name} in it")
        if (
            info.compress_type != zipfile.ZIP_STORED
        ):  # torch.save stores; a small file cannot claim a large memory
            raise FileRefused(f"{name} is compressed")
        if info.file_size > file_bytes:  # as the archive says, which may be anything
            raise FileRefused(f"{name} would be larger than the file")
        budget.spend(info.file_size)
        return archive.read(info)

    if folder + "byteorder" in entries and read("byteorder") != b"little":
        raise FileRefused("big-endian")
    content = read("data.pkl")
    # Python's unpickler makes room for as many remembered values as the greatest number says.
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(content):
            raise FileRefused(f"it remembers value {argument} in {len(content)} bytes")
    return _Unpickler(io.BytesIO(content), read, budget).load()


class _Storage:
    __slots__ = ("type", "bytes")

    def __init__(self, type_name, content):
        self.type, self.bytes = type_name, content


class _TensorMaker:
    """What stands for torch._utils._rebuild_tensor_v2."""

    __slots__ = ("_spend",)

    def __init__(self, spend):
        self._spend = spend

    def __call__(self, storage, offset, size, stride, *_):
        import numpy

        if not isinstance(storage, _Storage) or len(size) != len(stride) or len(size) > 32:
            raise FileRefused("a tensor that is none")
        if not all(type(n) is int and 0 <= n < 2**63 for n in (offset, *size, *stride)):
            raise FileRefused("a tensor with a negative or no number in its shape")
        flat = numpy.frombuffer(storage.bytes, dtype=storage.type)
        elements = 1
        for n in size:
            elements *= n
        last = offset + sum((n - 1) * s for n, s in zip(size, stride)) if elements else 0
        if elements > len(flat) or (elements and last >= len(flat)):
            raise FileRefused(
                f"a tensor of shape {list(size)} reaches beyond its storage of {len(flat)} numbers"
            )
        self._spend(elements * flat.itemsize)
        if not elements:
            return numpy.zeros(size, dtype=storage.type)
        strides = [s * flat.itemsize for s in stride]
        return numpy.lib.stride_tricks.as_strided(
            flat[offset:], shape=size, strides=strides, writeable=False
        ).copy()


class _DictMaker:
    __slots__ = ()

    def __call__(self):
        return {}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, read, budget):
        super().__init__(file)
        self._read, self._budget, self._storages = read, budget, {}

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _TensorMaker(self._budget.spend)
        if (module, name) == ("collections", "OrderedDict"):
            return _DictMaker()
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise FileRefused(
            f"it wants {module}.{name}, which is neither a number, text, a list, a dict nor a "
            "dense tensor; "
            "not loaded, since that could run code of the file's author"
        )

    def persistent_load(self, identity):
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise FileRefused("a reference to something that is no storage")
        _, type_name, key, _location, numel = identity
        if type(key) is not str or type(numel) is not int:
            raise FileRefused("a storage without a name or size")
        if type(type_name) is not str or type_name not in _STORAGES.values():
            raise FileRefused("a storage of a type that is not read here")
        import numpy

        if key in self._storages and self._storages[key].type == type_name:
            return self._storages[key]
        content = self._read(f"data/{key}")
        if len(content) != numel * numpy.dtype(type_name).itemsize:
            raise FileRefused(f"storage {key} has {len(content)} bytes, not {numel} numbers")
        self._storages[key] = _Storage(type_name, content)
        return self._storages[key]
