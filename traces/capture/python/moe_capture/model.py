"""capture_model and capture_logits: the routing of a PyTorch model, by hooks on its routers."""

import re

from .adapters import ADAPTERS, Adapter, Router, find_routers
from .capture import Capture, distributed_rank, rank_path
from .hooks import ModelCapture
from .readers import flat, top_k_of_logits


def layer_numbers_of(routers):
    """Layer number of each router: Megatron's layer_number - 1, else the one integer in its name,
    else its place in the model.

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


def capture_model(
    model,
    path,
    *,
    name=None,
    experts=None,
    top_k=None,
    layer_numbers=None,
    steps="forward",
    weights=False,
    token_ids=False,
    requests=False,
    keep_padding=False,
    rank=None,
    adapters=ADAPTERS,
    **options,
):
    """Records the routing of every forward of `model` to the raw log `path` until close().

    model: the module whose forward is one forward of the whole model; the routers are looked for in
      it (adapters.ADAPTERS). Hooks are set on eager modules: call this before torch.compile.
    path: the raw log; of several ranks each writes its own, NAME.rankN.EXTENSION (`{rank}` in the
      path says where else).
    name: the model's name in the trace; else its class's. experts, top_k: where a router does not
      say them itself.
    layer_numbers: the routers' layer numbers in the order of named_modules(); see layer_numbers_of
      for what is used without.
    steps: "forward": each forward of the model is a step; "explicit": the caller says it with
      step(n), and several forwards in it (microbatches) are one after another in that step.
    weights, token_ids: record them too; token ids come from input_ids. requests: record a request
      number (one per row of the batch, new ones when a forward starts without a cache) and the
      position. Beam search, which reorders rows, is not followed.
    keep_padding: tokens that a 2-d attention_mask marks as padding are recorded too; else they are
      left out.
    rank: else torch.distributed's, 0 without it. options: of Capture (buffer_bytes, provenance).

    Recomputation (activation checkpointing) is not recorded twice: a router that runs outside the
    model's forward, or inside a backward pass as PyTorch 2 tells it, is counted as
    forwards_not_recorded. With PyTorch 1, where the whole model is inside the checkpointed
    function, use paused() around backward().

    Raises ValueError when no router is found, or its number of experts or choices is not known.
    """
    routers = find_routers(model, adapters)
    if not routers:
        raise ValueError(
            f"no router found in {type(model).__name__}; known are: "
            f"{', '.join(a.class_name for a in adapters)}. "
            "capture_logits(module, ...) records any module that gives router logits"
        )
    return _capture(
        model,
        path,
        routers,
        name,
        experts,
        top_k,
        layer_numbers,
        steps,
        weights,
        token_ids,
        requests,
        keep_padding,
        rank,
        options,
    )


def capture_logits(
    model,
    path,
    modules,
    *,
    top_k,
    experts=None,
    normalise=True,
    name=None,
    layer_numbers=None,
    steps="forward",
    weights=False,
    token_ids=False,
    requests=False,
    keep_padding=False,
    rank=None,
    **options,
):
    """Like capture_model for routers that no adapter knows: `modules` are submodules of `model`
    whose output is logits [..., E].

    The top_k largest logits are recorded; the weights are their softmax, over the chosen ones when
    normalise. A router that chooses otherwise (groups, a bias, random) needs an Adapter of its own,
    or Capture.record by hand.
    modules: the modules themselves or their dotted names.
    """
    names = {id(m): n for n, m in model.named_modules()}
    found = [model.get_submodule(m) if isinstance(m, str) else m for m in modules]
    foreign = [type(m).__name__ for m in found if id(m) not in names]
    if foreign or not found:
        raise ValueError(
            f"modules: {', '.join(foreign) or 'none given'}: expected submodules of the model"
        )

    def read(router, output):
        logits = output[0] if isinstance(output, (tuple, list)) else output
        if logits.shape[-1] != router.experts or not logits.is_floating_point():
            raise ValueError(
                f"{router.name}: expected logits [..., {router.experts}], got {list(logits.shape)} "
                f"of {logits.dtype}"
            )
        return top_k_of_logits(flat(logits), top_k, normalise)

    adapter = Adapter("capture_logits", read)
    routers = [
        Router(names[id(m)], m, m, adapter, experts or getattr(m, "out_features", None), top_k)
        for m in found
    ]
    return _capture(
        model,
        path,
        routers,
        name,
        experts,
        top_k,
        layer_numbers,
        steps,
        weights,
        token_ids,
        requests,
        keep_padding,
        rank,
        options,
    )


def _capture(
    model,
    path,
    routers,
    name,
    experts,
    top_k,
    layer_numbers,
    steps,
    weights,
    token_ids,
    requests,
    keep_padding,
    rank,
    options,
):
    if steps not in ("forward", "explicit"):
        raise ValueError(f"steps: {steps!r}, expected 'forward' or 'explicit'")
    for router in routers:
        router.experts, router.top_k = experts or router.experts, top_k or router.top_k
        if not router.experts or not router.top_k:
            raise ValueError(
                f"{router.name}: the {'number of experts' if not router.experts else 'top-k'} is "
                "not known; "
                f"give {'experts' if not router.experts else 'top_k'}="
            )
    numbers = list(layer_numbers) if layer_numbers is not None else layer_numbers_of(routers)
    if len(numbers) != len(routers):
        raise ValueError(f"layer_numbers: {len(numbers)} for {len(routers)} routers")
    ordered = sorted(zip(numbers, routers), key=lambda pair: pair[0])
    numbers, routers = [n for n, _ in ordered], [r for _, r in ordered]
    rank, world = distributed_rank() if rank is None else (int(rank), distributed_rank()[1])
    log = Capture(
        rank_path(path, rank, world),
        model=name or type(model).__name__,
        experts=[r.experts for r in routers],
        top_k=max(r.top_k for r in routers),
        layer_numbers=numbers,
        weights=weights,
        token_ids=token_ids,
        requests=requests,
        **options,
    )
    return ModelCapture(
        model, log, routers, rank, steps == "forward", token_ids, requests, keep_padding
    )
