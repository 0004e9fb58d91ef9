"""capture_model: the routing of a PyTorch model by forward hooks on its routers."""

import functools
import inspect
import re
import warnings

from .adapters import ADAPTERS, Adapter, Router, find_routers, top_k_of_logits, _flat
from .capture import Capture, distributed_rank, rank_path
from .host_copies import HostCopies


def _in_backward():
    """Whether autograd runs a backward pass on this thread (PyTorch 2 tells; before it, None)."""
    import torch

    current = getattr(torch._C, "_current_graph_task_id", None)
    return current is not None and current() != -1


def layer_numbers_of(routers):
    """Layer number of each router: Megatron's layer_number - 1, else the one integer in its name, else its place in the model.

    A rule is used only when it gives a different number to every router.
    """
    def all_different(numbers):
        return None not in numbers and len(set(numbers)) == len(numbers)

    own = [getattr(r.module, "layer_number", None) for r in routers]
    if all(isinstance(n, int) and n >= 1 for n in own) and all_different(own):
        return [n - 1 for n in own]
    named = [re.findall(r"(?:^|\.)(\d+)(?=\.|$)", r.name) for r in routers]
    for place in range(min((len(n) for n in named), default=0)):
        numbers = [int(n[place]) for n in named]
        if all_different(numbers):
            return numbers
    return list(range(len(routers)))


class _Inputs:
    """What the outermost forward was called with: token ids, mask, positions; all [batch, sequence] or None."""

    def __init__(self, signature, arguments, keywords):
        named = dict(keywords)
        try:
            named = signature.bind_partial(*arguments, **keywords).arguments
            named.update(named.pop("kwargs", None) or {})
        except TypeError:
            pass  # the call itself will say what is wrong
        self.token_ids = named.get("input_ids")
        if self.token_ids is None:
            matrices = [a for a in arguments if hasattr(a, "dim") and a.dim() == 2 and not a.is_floating_point()]
            self.token_ids = matrices[0] if matrices else None
        self.shape = None if self.token_ids is None else tuple(self.token_ids.shape)
        if self.shape is None and hasattr(named.get("inputs_embeds"), "shape"):
            self.shape = tuple(named["inputs_embeds"].shape[:2])
        if self.shape is not None and len(self.shape) != 2:
            self.token_ids, self.shape = None, None
        mask = named.get("attention_mask")
        self.mask, self.past = None, 0
        if self.shape and hasattr(mask, "dim") and mask.dim() == 2 and mask.shape[0] == self.shape[0] and mask.shape[1] >= self.shape[1]:
            self.mask, self.past = mask, mask.shape[1] - self.shape[1]
        self._real = None
        if self.mask is not None:
            kept = self.mask[:, self.past:].reshape(-1) != 0  # the next line waits for the device, once per forward
            self._real = None if bool(kept.all()) else kept.nonzero().reshape(-1)
        self.position_ids = named.get("position_ids")
        cache = named.get("past_key_values")
        if self.mask is None and hasattr(cache, "get_seq_length"):
            self.past = int(cache.get_seq_length())

    @property
    def rows(self):
        return None if self.shape is None else self.shape[0] * self.shape[1]

    def real(self):
        """Indices of the rows that are no padding, or None when all are real."""
        return self._real

    def positions(self):
        """[batch, sequence]: from position_ids, else counted from the mask, else from the length of the cache."""
        import torch

        if hasattr(self.position_ids, "dim") and self.position_ids.dim() == 2 and self.position_ids.shape[-1] == self.shape[1]:
            return self.position_ids.expand(self.shape)
        if self.mask is not None:
            return (self.mask.long().cumsum(1) - 1).clamp(min=0)[:, self.past:]
        return torch.arange(self.past, self.past + self.shape[1]).expand(self.shape)

    def is_first(self):
        """Whether this forward starts new requests rather than going on with those of the one before."""
        return self.past == 0 and (self.position_ids is None or bool((self.positions() == 0).any()))


class ModelCapture:
    """The hooks on a model and the log that they write. Made by capture_model; closed by close() or as a context manager.

    One model on one thread: a forward of the model on several threads at once (torch.nn.DataParallel) is not supported.
    """

    def __init__(self, model, log, routers, rank, count_steps, token_ids, requests, keep_padding):
        self.log, self.routers, self.rank = log, routers, rank
        self.disabled = {}  # router name -> why it is no longer recorded
        self.unrecorded_forwards = 0  # forwards of routers outside the model's own forward: recomputation, or called by hand
        self._count_steps, self._step = count_steps, -1 if count_steps else 0
        self._token_ids, self._requests, self._keep_padding = token_ids, requests, keep_padding
        self._inside, self._paused, self._inputs = False, 0, None
        self._next_request, self._batch = 0, 0
        self._copies = HostCopies(self._write)
        self._model, self._had_forward = model, "forward" in vars(model)
        self._forward = model.forward
        signature = inspect.signature(self._forward)

        @functools.wraps(self._forward)
        def forward(*arguments, **keywords):
            if self._inside:  # the model calls itself: one forward
                return self._forward(*arguments, **keywords)
            self._begin(signature, arguments, keywords)
            try:
                return self._forward(*arguments, **keywords)
            finally:
                self._inside = False
                self._copies.drain()

        self._wrapper = forward
        model.forward = forward
        self._hooks = [r.module.register_forward_hook(self._hook(layer, r)) for layer, r in enumerate(routers)]

    def step(self, number):
        """Forwards from here on belong to step `number` (needs steps="explicit"); several forwards in a step append (microbatches)."""
        if self._count_steps:
            raise ValueError('steps are counted by forwards here; capture_model(..., steps="explicit") lets step() say them')
        self._step = int(number)

    def paused(self):
        """Context: nothing is recorded within it (evaluation, or a recomputation that is not recognised)."""
        return _Paused(self)

    def counters(self):
        """The log's counters, and what the hooks left out."""
        self._copies.drain(wait=True)
        result = self.log.counters()
        result.update(routers_disabled=len(self.disabled), forwards_not_recorded=self.unrecorded_forwards,
                      batches_dropped_before_the_log=self._copies.dropped)
        return result

    def close(self):
        """Takes the hooks away and closes the log. A second close does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._model is not None:
            if self._model.forward is self._wrapper:
                if self._had_forward:
                    self._model.forward = self._forward
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
            self._inputs = _Inputs(signature, arguments, keywords)
            if self._requests and self._inputs.shape and self._inputs.is_first():
                self._next_request += self._batch
                self._batch = self._inputs.shape[0]
        except Exception as mistake:  # never stop the host
            self._inputs = None
            self._warn("the model's inputs", mistake)

    def _hook(self, layer, router):
        def hook(_module, _arguments, output):
            if router.name in self.disabled:
                return
            if not self._inside or self._paused or _in_backward():
                self.unrecorded_forwards += 1
                return
            try:
                self._record(layer, router, output)
            except Exception as mistake:  # never stop the host
                self._disable(router.name, mistake)
        return hook

    def _disable(self, name, mistake):
        if name not in self.disabled:
            self.disabled[name] = str(mistake)
            self._warn(f"router {name}", mistake)

    def _warn(self, what, mistake):
        warnings.warn(f"moe_capture: {what} is no longer recorded: {mistake}", RuntimeWarning, stacklevel=2)

    def _record(self, layer, router, output):
        import torch

        with torch.no_grad():
            choice = router.adapter.read(router, output)
            rows = choice.ids.shape[0]
            ids = choice.ids if choice.ids.device.type == "cpu" else choice.ids.int()  # less to copy
            fields = {"ids": ids, "weights": choice.weights if self.log.has_weights else None, "choices": choice.choices}
            inputs = self._inputs
            if inputs is not None and inputs.rows == rows:
                # What describes the tokens needs to be said once, by the first layer.
                first_layer, self._described = not self._described, True
                if self._token_ids and first_layer and inputs.token_ids is not None:
                    fields["token_ids"] = inputs.token_ids.reshape(-1)
                if self._requests and first_layer:
                    first = self._next_request
                    request = torch.arange(first, first + inputs.shape[0]).unsqueeze(1).expand(inputs.shape)
                    fields["requests"], fields["positions"] = request.reshape(-1), inputs.positions().reshape(-1)
                real = None if self._keep_padding else inputs.real()
                if real is not None:
                    fields = {k: v if v is None else v.index_select(0, real.to(v.device)) for k, v in fields.items()}
            elif self._token_ids or self._requests:
                raise ValueError(f"{rows} rows, but the model was given input_ids of shape {inputs and inputs.shape}: "
                                 "which token a row belongs to is not known")
            self._copies.put((self._step, layer), fields)

    def _write(self, where, fields):
        step, layer = where
        name = self.routers[layer].name
        if name in self.disabled:
            return
        try:
            self.log.record(step=step, layer=layer, rank=self.rank, **fields)
        except Exception as mistake:  # never stop the host
            self._disable(name, mistake)


class _Paused:
    def __init__(self, capture):
        self._capture = capture

    def __enter__(self):
        self._capture._paused += 1

    def __exit__(self, *_):
        self._capture._paused -= 1


def capture_model(model, path, *, name=None, experts=None, top_k=None, layer_numbers=None, steps="forward", weights=False,
                  token_ids=False, requests=False, keep_padding=False, rank=None, adapters=ADAPTERS, **options):
    """Records the routing of every forward of `model` to the raw log `path` until close().

    model: the module whose forward is one forward of the whole model; the routers are looked for in it (adapters.ADAPTERS).
      Hooks are set on eager modules: call this before torch.compile.
    path: the raw log; of several ranks each writes its own, NAME.rankN.EXTENSION (`{rank}` in the path says where else).
    name: the model's name in the trace; else its class's. experts, top_k: where a router does not say them itself.
    layer_numbers: the routers' layer numbers in the order of named_modules(); see layer_numbers_of for what is used without.
    steps: "forward": each forward of the model is a step; "explicit": the caller says it with step(n), and several forwards in
      it (microbatches) are one after another in that step.
    weights, token_ids: record them too; token ids come from input_ids. requests: record a request number (one per row of the
      batch, new ones when a forward starts without a cache) and the position. Beam search, which reorders rows, is not followed.
    keep_padding: tokens that a 2-d attention_mask marks as padding are recorded too; else they are left out.
    rank: else torch.distributed's, 0 without it. options: of Capture (buffer_bytes, provenance).

    Recomputation (activation checkpointing) is not recorded twice: a router that runs outside the model's forward, or inside a
    backward pass as PyTorch 2 tells it, is counted as forwards_not_recorded. With PyTorch 1, where the whole model is inside the
    checkpointed function, use paused() around backward().

    Raises ValueError when no router is found, or its number of experts or choices is not known.
    """
    routers = find_routers(model, adapters)
    if not routers:
        raise ValueError(f"no router found in {type(model).__name__}; known are: {', '.join(a.class_name for a in adapters)}. "
                         "capture_logits(module, ...) records any module that gives router logits")
    return _capture(model, path, routers, name, experts, top_k, layer_numbers, steps, weights, token_ids, requests, keep_padding,
                    rank, options)


def capture_logits(model, path, modules, *, top_k, experts=None, normalise=True, name=None, layer_numbers=None, steps="forward",
                   weights=False, token_ids=False, requests=False, keep_padding=False, rank=None, **options):
    """Like capture_model for routers that no adapter knows: `modules` are submodules of `model` whose output is logits [..., E].

    The top_k largest logits are recorded; the weights are their softmax, over the chosen ones when normalise. A router that
    chooses otherwise (groups, a bias, random) needs an Adapter of its own, or Capture.record by hand.
    modules: the modules themselves or their dotted names.
    """
    names = {id(m): n for n, m in model.named_modules()}
    found = [model.get_submodule(m) if isinstance(m, str) else m for m in modules]
    foreign = [type(m).__name__ for m in found if id(m) not in names]
    if foreign or not found:
        raise ValueError(f"modules: {', '.join(foreign) or 'none given'}: expected submodules of the model")

    def read(router, output):
        logits = output[0] if isinstance(output, (tuple, list)) else output
        if logits.shape[-1] != router.experts or not logits.is_floating_point():
            raise ValueError(f"{router.name}: expected logits [..., {router.experts}], got {list(logits.shape)} of {logits.dtype}")
        return top_k_of_logits(_flat(logits), top_k, normalise)

    adapter = Adapter("capture_logits", read)
    routers = [Router(names[id(m)], m, m, adapter, experts or getattr(m, "out_features", None), top_k) for m in found]
    return _capture(model, path, routers, name, experts, top_k, layer_numbers, steps, weights, token_ids, requests, keep_padding,
                    rank, options)


def _capture(model, path, routers, name, experts, top_k, layer_numbers, steps, weights, token_ids, requests, keep_padding, rank,
             options):
    if steps not in ("forward", "explicit"):
        raise ValueError(f"steps: {steps!r}, expected 'forward' or 'explicit'")
    for router in routers:
        router.experts, router.top_k = experts or router.experts, top_k or router.top_k
        if not router.experts or not router.top_k:
            raise ValueError(f"{router.name}: the {'number of experts' if not router.experts else 'top-k'} is not known; "
                             f"give {'experts' if not router.experts else 'top_k'}=")
    numbers = list(layer_numbers) if layer_numbers is not None else layer_numbers_of(routers)
    if len(numbers) != len(routers):
        raise ValueError(f"layer_numbers: {len(numbers)} for {len(routers)} routers")
    ordered = sorted(zip(numbers, routers), key=lambda pair: pair[0])
    numbers, routers = [n for n, _ in ordered], [r for _, r in ordered]
    rank, world = distributed_rank() if rank is None else (int(rank), distributed_rank()[1])
    log = Capture(rank_path(path, rank, world), model=name or type(model).__name__, experts=[r.experts for r in routers],
                  top_k=max(r.top_k for r in routers), layer_numbers=numbers, weights=weights, token_ids=token_ids,
                  requests=requests, **options)
    return ModelCapture(model, log, routers, rank, steps == "forward", token_ids, requests, keep_padding)
