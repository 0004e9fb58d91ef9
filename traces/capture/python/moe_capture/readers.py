"""What a router's forward gave, as a Choice: one function per kind of output.

Readers look at shapes, not at library versions: T tokens, E experts, k choices per token.
"""

from dataclasses import dataclass
from typing import Any, Callable, Optional


@dataclass
class Choice:
    """The choices of T tokens."""

    ids: Any  # integer tensor [T, k]
    weights: Optional[Any] = None  # float tensor [T, k]: what multiplies the experts' outputs
    choices: Optional[Any] = None  # integer tensor [T]: how many ids of a row count; None: all


class UnexpectedOutput(Exception):
    """A router gave something else than its adapter reads."""


@dataclass
class Router:
    """One router module found in a model."""

    name: str  # dotted name of the hooked module
    module: Any  # the hooked module
    block: Any  # the module that owns it, or the module itself
    adapter: "Adapter"
    experts: Optional[int]  # None: not to be found, the caller has to say
    top_k: Optional[int]


@dataclass(frozen=True)
class Adapter:
    class_name: str
    read: Callable[[Router, Any], Choice]
    child: Optional[str] = None  # set: class_name is the block, and this child of it is the router
    says: str = ""  # which versions give what; part of messages
    # The rows of the router are [sequence, batch] flattened, else [batch, sequence].
    sequence_first: bool = False


def _shape(value):
    return (
        "[" + ", ".join(str(n) for n in value.shape) + "]"
        if hasattr(value, "shape")
        else type(value).__name__
    )


def _describe(output):
    parts = output if isinstance(output, (tuple, list)) else [output]
    return ", ".join(f"{getattr(p, 'dtype', '')} {_shape(p)}".strip() for p in parts)


def _is_tensor(value):
    return hasattr(value, "dtype") and hasattr(value, "dim")


def _is_id_tensor(value):
    return (
        _is_tensor(value)
        and not value.is_floating_point()
        and not value.is_complex()
        and str(value.dtype) != "torch.bool"
    )


def flat(tensor):
    """[..., n] as [rows, n]."""
    return tensor.reshape(-1, tensor.shape[-1])


def _need(router, what, output, ok):
    if not ok:
        adapter = router.adapter
        raise UnexpectedOutput(
            f"{router.name}: expected {what}, got {_describe(output)}; "
            f"{adapter.class_name} is read as in {adapter.says}"
        )


def _need_experts(router):
    if not router.experts or not router.top_k:
        raise UnexpectedOutput(
            f"{router.name}: the numbers of experts and of choices are not known; give experts= "
            "and top_k="
        )


def top_k_of_logits(logits, top_k, normalise=True):
    """Choice of the top_k largest logits [T, E]; weights are the softmax, over the chosen ones when
    normalise.
    """
    probabilities = logits.detach().float().softmax(dim=-1)
    weights, ids = probabilities.topk(top_k, dim=-1)
    if normalise:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return Choice(ids, weights)


def read_logits(router, output):
    """Logits [T, E] of a Linear; the block takes softmax and top-k (normalised unless its
    norm_topk_prob is false).
    """
    _need_experts(router)
    _need(
        router,
        f"logits [tokens, {router.experts}]",
        output,
        _is_tensor(output)
        and output.is_floating_point()
        and output.dim() >= 2
        and output.shape[-1] == router.experts,
    )
    return top_k_of_logits(
        flat(output), router.top_k, bool(getattr(router.block, "norm_topk_prob", True))
    )


def read_ids(router, output):
    """A tuple with one integer tensor [T, k] and the weights as [T, k] or scattered over [T, E], in
    any order.

    (ids, weights[, aux loss]): DeepSeek. (scores, ids): gpt-oss of 2025, Megatron-Core to 0.8.
    (logits, scores, ids): top-k routers of Transformers 5, where the last float tensor holds the
    weights.
    """
    _need(router, "a tuple of ids and weights", output, isinstance(output, (tuple, list)))
    ids = [p for p in output if _is_id_tensor(p) and p.dim() >= 2]
    _need(
        router,
        "one integer tensor [tokens, top_k]",
        output,
        len(ids) == 1 and (not router.top_k or ids[0].shape[-1] == router.top_k),
    )
    ids = flat(ids[0].detach())
    weights = None
    for part in output:
        if not _is_tensor(part) or not part.is_floating_point() or part.dim() < 2:
            continue
        part = flat(part.detach())
        if part.shape == ids.shape:
            weights = part
        elif part.shape[0] == ids.shape[0] and part.shape[1] == router.experts:
            weights = part.gather(1, ids.long())
    _need(
        router,
        "weights [tokens, top_k] or [tokens, experts] beside the ids",
        output,
        weights is not None,
    )
    return Choice(ids, weights.float())


def read_routing_map(router, output):
    """(probabilities [T, E], routing map bool [T, E]): Megatron-Core from 0.9. Choices that its
    capacity dropped are not in the map.
    """
    is_map = (
        isinstance(output, (tuple, list))
        and len(output) >= 2
        and all(_is_tensor(p) for p in output[:2])
        and str(output[1].dtype) == "torch.bool"
    )
    if not is_map:
        return read_ids(router, output)  # to 0.8: (scores [T, k], indices [T, k])
    probabilities, chosen = flat(output[0].detach()).float(), flat(output[1].detach())
    _need(
        router,
        "probabilities and a map of one shape [tokens, experts]",
        output,
        probabilities.shape == chosen.shape,
    )
    counts = chosen.sum(dim=1)
    most = min(router.top_k, chosen.shape[1])
    weights, ids = probabilities.masked_fill(~chosen, float("-inf")).topk(most, dim=1)
    # On a device the comparison would wait for it; the library refuses a count above top_k itself.
    if counts.device.type == "cpu" and bool((counts == most).all()):
        counts = None
    return Choice(ids, weights.masked_fill(weights.isinf(), 0.0), counts)


def read_block_routes(router, output):
    """Logits [T, E], and the block has route_tokens_to_experts(logits) -> (ids [T, k], weights [T,
    k]): it is asked again.
    """
    _need_experts(router)
    logits = output[0] if isinstance(output, (tuple, list)) and len(output) == 1 else output
    _need(
        router,
        f"logits [tokens, {router.experts}]",
        output,
        _is_tensor(logits) and logits.shape[-1] == router.experts,
    )
    return read_ids(router, router.block.route_tokens_to_experts(flat(logits.detach())))


def read_ids_or_logits(router, output):
    """A tuple with ids where the router chooses; a plain tensor of logits where its block does."""
    if isinstance(output, (tuple, list)):
        return read_ids(router, output)
    if hasattr(router.block, "route_tokens_to_experts"):
        return read_block_routes(router, output)
    return read_logits(router, output)
