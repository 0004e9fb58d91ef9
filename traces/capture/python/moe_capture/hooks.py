"""The hooks on a model's routers, and what they write."""

import functools
import inspect
import sys
import warnings

from .capture import MOST_STEP, number
from .host_copies import HostCopies
from .inputs import Inputs


def _in_backward():
    """Whether autograd runs a backward pass on this thread (PyTorch 2 tells; before it, None)."""
    import torch

    current = getattr(torch._C, "_current_graph_task_id", None)
    return current is not None and current() != -1


class ModelCapture:
    """The hooks on a model and the log that they write. Made by capture_model; closed by close() or
    as a context manager.

    One model on one thread: a forward of the model on several threads at once
      (torch.nn.DataParallel) is not supported.
    """

    def __init__(self, model, log, routers, rank, count_steps, token_ids, requests, keep_padding):
        self.log, self.routers, self.rank = log, routers, rank
        self.disabled = {}  # router name -> why it is no longer recorded
        # Of routers outside the model's own forward: recomputation, or called by hand.
        self.unrecorded_forwards = 0
        self._count_steps, self._step = count_steps, -1 if count_steps else 0
        self._token_ids, self._requests, self._keep_padding = token_ids, requests, keep_padding
        self._inside, self._paused, self._inputs = False, 0, None
        self._next_request, self._batch = 0, 0
        self._copies = HostCopies(self._write, self._drop)
        self._said_padding = False
        self._model, self._had_forward = model, "forward" in vars(model)
        self._wrapper = _Forward(self, model)
        model.forward = self._wrapper
        self._hooks = [
            r.module.register_forward_hook(_RouterHook(self, layer, r))
            for layer, r in enumerate(routers)
        ]

    def step(self, step):
        """Forwards from here on belong to step `step` (needs steps="explicit"); several forwards
        in a step append (microbatches).
        """
        if self._count_steps:
            raise ValueError(
                'steps are counted by forwards here; capture_model(..., steps="explicit") lets '
                "step() say them"
            )
        self._step = number(step, "step", MOST_STEP)

    def paused(self):
        """Context: nothing is recorded within it (evaluation, or a recomputation that is not
        recognised).
        """
        return _Paused(self)

    def counters(self):
        """The log's counters, and what the hooks left out. dropped_batches has those in it that
        found no room before the log.
        """
        self._copies.drain(wait=True)
        result = self.log.counters()
        result.update(
            routers_disabled=len(self.disabled),
            forwards_not_recorded=self.unrecorded_forwards,
            batches_dropped_before_the_log=self._copies.dropped,
        )
        return result

    def close(self):
        """Takes the hooks away and closes the log. A second close does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._model is not None:
            if self._model.forward is self._wrapper:
                if self._had_forward:
                    self._model.forward = self._wrapper.forward
                else:
                    del self._model.forward
            self._model = None
        self._copies.drain(wait=True)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _begin(self, signature, arguments, keywords):
        recording = not self._paused and not _in_backward()
        self._inside, self._inputs, self._described = recording, None, False
        if not recording:
            return
        if self._count_steps:
            self._step += 1
        if not (self._token_ids or self._requests) and self._keep_padding:
            return
        try:
            self._inputs = Inputs(signature, arguments, keywords)
            if self._requests and self._inputs.shape and self._inputs.is_first():
                self._next_request += self._batch
                self._batch = self._inputs.shape[0]
        except Exception as mistake:  # never stop the host
            self._inputs = None
            _warn(f"the model's inputs are not read in this forward: {mistake}")

    def _routed(self, layer, router, output):
        if router.name in self.disabled:
            return
        if not self._inside or self._paused or _in_backward():
            self.unrecorded_forwards += 1
            return
        try:
            self._record(layer, router, output)
        except Exception as mistake:  # never stop the host
            self._disable(router.name, mistake)

    def _disable(self, name, mistake):
        if name not in self.disabled:
            self.disabled[name] = str(mistake)
            _warn(f"router {name} is no longer recorded: {mistake}")

    def _record(self, layer, router, output):
        import torch

        with torch.no_grad():
            choice = router.adapter.read(router, output)
            on_host = choice.ids.device.type == "cpu"
            fields = {
                "ids": choice.ids if on_host else choice.ids.int(),  # less to copy
                "weights": choice.weights if self.log.has_weights else None,
                "choices": choice.choices,
            }
            inputs, rows = self._inputs, choice.ids.shape[0]
            if inputs is not None and inputs.rows == rows:
                order = router.adapter.sequence_first
                if not self._described:  # what describes the tokens is said once, by one layer
                    fields.update(self._description(inputs, order))
                    self._described = True
                if not self._keep_padding and inputs.has_padding:
                    fields = {
                        k: v if v is None else v.index_select(0, inputs.real(order, v.device))
                        for k, v in fields.items()
                    }
            elif self._token_ids or self._requests:
                raise ValueError(
                    f"{rows} rows, but the model was given input_ids of shape "
                    f"{inputs and inputs.shape}: which token a row belongs to is not known"
                )
            elif inputs is not None and inputs.has_padding and not self._said_padding:
                self._said_padding = True
                _warn(
                    f"{router.name}: {rows} rows, but the model was given input_ids of shape "
                    f"{inputs.shape}: the padding that attention_mask shows is recorded too"
                )
            self._copies.put((self._step, layer), fields)

    def _description(self, inputs, sequence_first):
        """token_ids, requests and positions [rows], as far as they were asked for."""
        fields = {}
        if self._token_ids and inputs.token_ids is not None:
            fields["token_ids"] = inputs.by_row(inputs.token_ids, sequence_first)
        if self._requests:
            requests = inputs.requests(self._next_request)
            fields["requests"] = inputs.by_row(requests, sequence_first)
            fields["positions"] = inputs.by_row(inputs.positions(), sequence_first)
        return fields

    def _write(self, where, fields):
        step, layer = where
        name = self.routers[layer].name
        if name in self.disabled:
            return
        try:
            self.log.record(step=step, layer=layer, rank=self.rank, **fields)
        except Exception as mistake:  # never stop the host
            self._disable(name, mistake)

    def _drain(self):
        try:
            self._copies.drain()
        except Exception as mistake:  # never stop the host
            _warn(f"a copy from the device failed: {mistake}")

    def _drop(self, where, tokens, choices):
        step, layer = where
        if self.routers[layer].name not in self.disabled:
            self.log.drop(step=step, layer=layer, rank=self.rank, tokens=tokens, choices=choices)


def _warn(text):
    """Warns and goes on, also where the host makes warnings errors."""
    try:
        warnings.warn(f"moe_capture: {text}", RuntimeWarning, stacklevel=3)
    except Exception as warning:
        print(warning, file=sys.stderr)


class _Forward:
    """Stands as the model's own `forward`, so that it sees keyword arguments and ends by exception
    in every version of PyTorch. A copied or pickled model gets the forward of its class back.
    """

    def __init__(self, capture, model):
        self._capture, self._model, self.forward = capture, model, model.forward
        self._signature = inspect.signature(self.forward)
        functools.update_wrapper(self, self.forward)

    def __call__(self, *arguments, **keywords):
        capture = self._capture
        if capture._inside:  # the model calls itself: one forward
            return self.forward(*arguments, **keywords)
        capture._begin(self._signature, arguments, keywords)
        try:
            return self.forward(*arguments, **keywords)
        finally:
            capture._inside = False
            capture._drain()

    def __deepcopy__(self, memo):
        return getattr(memo[id(self._model)], "forward")

    def __reduce__(self):
        return getattr, (self._model, "forward")


class _RouterHook:
    """A forward hook; in a copied or pickled model it does nothing."""

    def __init__(self, capture, layer, router):
        self._capture, self._layer, self._router = capture, layer, router

    def __call__(self, _module, _arguments, output):
        self._capture._routed(self._layer, self._router, output)

    def __deepcopy__(self, memo):
        return no_hook

    def __reduce__(self):
        return _no_hook, ()


def no_hook(_module, _arguments, _output):
    """What a copied model has in place of a hook."""


def _no_hook():
    return no_hook


class _Paused:
    def __init__(self, capture):
        self._capture = capture

    def __enter__(self):
        self._capture._paused += 1

    def __exit__(self, *_):
        self._capture._paused -= 1
