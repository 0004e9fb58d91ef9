"""Copies of device tensors to host memory that do not wait for the device."""

import collections

# As much may wait for its copies; a device that is so far behind loses the newest (counted).
# assumed: 256 steps of 8192 x 8 ids in 4 bytes; the copies themselves take microseconds once the
# device has come to them.
LIMIT_BYTES = 64 << 20


class HostCopies:
    """A queue of batches whose tensors are on their way to the host; `write(where, fields)` gets
    them in order of put(), `drop(where, tokens, choices)` at once what there is no room for.

    A tensor on a CUDA device is copied to pinned memory without waiting; its batch is written by
    the first put() or drain() after the copy has ended. Tensors in host memory are written at once
    when nothing waits before them.
    """

    def __init__(self, write, drop, limit_bytes=LIMIT_BYTES):
        self._write, self._drop, self._limit = write, drop, limit_bytes
        self._waiting = collections.deque()  # (event or None, where, fields, bytes)
        self._bytes = 0
        self.dropped = 0

    def put(self, where, fields):
        """fields: name -> tensor or None."""
        self.drain()
        on_device = [v for v in fields.values() if v is not None and v.device.type == "cuda"]
        if not on_device and not self._waiting:
            self._write(where, fields)
            return
        size = sum(v.numel() * v.element_size() for v in fields.values() if v is not None)
        if self._bytes + size > self._limit:
            self.dropped += 1
            ids = fields["ids"]
            self._drop(where, ids.shape[0], ids.numel())  # how many ids count is not known yet
            return
        event = None
        if on_device:
            fields = {k: v if v is None else self._to_host(v) for k, v in fields.items()}
            event = self._event(on_device[0].device)
        self._waiting.append((event, where, fields, size))
        self._bytes += size

    def drain(self, wait=False):
        """Writes what has arrived; all of it with `wait`."""
        while self._waiting:
            event, where, fields, size = self._waiting[0]
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            self._waiting.popleft()
            self._bytes -= size
            self._write(where, fields)

    @staticmethod
    def _to_host(tensor):
        import torch

        if tensor.device.type == "cpu":
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        return host

    @staticmethod
    def _event(device):
        import torch

        with torch.cuda.device(device):
            event = torch.cuda.Event()
            event.record()
        return event
