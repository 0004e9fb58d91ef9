"""How to read the choices of each known router: one table, one function per kind of output.

An adapter names a module class (of the router itself, or of the block that owns it) and a reader. The reader turns what the
router's forward gave into a Choice. Readers look at shapes, not at library versions: T tokens, E experts, k choices per token.

A class is found by its name, also by that of a base class, so that no library has to be imported here.
"""

from dataclasses import dataclass
from typing import Any, Callable, Optional


@dataclass
class Choice:
    """The choices of T tokens."""

    ids: Any  # integer tensor [T, k]
    weights: Optional[Any] = None  # float tensor [T, k]: what the experts' outputs are multiplied with
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
    says: str = ""  # which versions give what


def _shape(value):
    return "[" + ", ".join(str(n) for n in value.shape) + "]" if hasattr(value, "shape") else type(value).__name__


def _describe(output):
    parts = output if isinstance(output, (tuple, list)) else [output]
    return ", ".join(f"{getattr(p, 'dtype', '')} {_shape(p)}".strip() for p in parts)


def _is_tensor(value):
    return hasattr(value, "dtype") and hasattr(value, "dim")


def _is_id_tensor(value):
    return _is_tensor(value) and not value.is_floating_point() and not value.is_complex() and str(value.dtype) != "torch.bool"


def _flat(tensor):
    """[..., n] as [rows, n]."""
    return tensor.reshape(-1, tensor.shape[-1])


def _need(router, what, output, ok):
    if not ok:
        raise UnexpectedOutput(f"{router.name} ({router.adapter.class_name}): expected {what}, got {_describe(output)}")


def _need_experts(router):
    if not router.experts or not router.top_k:
        raise UnexpectedOutput(f"{router.name}: the numbers of experts and of choices are not known; give experts= and top_k=")


def top_k_of_logits(logits, top_k, normalise=True):
    """Choice of the top_k largest logits [T, E]; weights are the softmax, over the chosen ones when normalise."""
    probabilities = logits.detach().float().softmax(dim=-1)
    weights, ids = probabilities.topk(top_k, dim=-1)
    if normalise:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return Choice(ids, weights)


def read_logits(router, output):
    """Logits [T, E] of a Linear; the block takes softmax and top-k (normalised unless its norm_topk_prob is false)."""
    _need_experts(router)
    _need(router, f"logits [tokens, {router.experts}]", output,
          _is_tensor(output) and output.is_floating_point() and output.dim() >= 2 and output.shape[-1] == router.experts)
    return top_k_of_logits(_flat(output), router.top_k, bool(getattr(router.block, "norm_topk_prob", True)))


def read_ids(router, output):
    """A tuple with one integer tensor [T, k] and the weights as [T, k] or scattered over [T, E], in any order.

    (ids, weights[, aux loss]): DeepSeek. (scores, ids): gpt-oss of 2025, Megatron-Core to 0.8.
    (logits, scores, ids): top-k routers of Transformers 5, where the last float tensor holds the weights.
    """
    _need(router, "a tuple of ids and weights", output, isinstance(output, (tuple, list)))
    ids = [p for p in output if _is_id_tensor(p) and p.dim() >= 2]
    _need(router, "one integer tensor [tokens, top_k]", output, len(ids) == 1 and (not router.top_k or ids[0].shape[-1] == router.top_k))
    ids = _flat(ids[0].detach())
    weights = None
    for part in output:
        if not _is_tensor(part) or not part.is_floating_point() or part.dim() < 2:
            continue
        part = _flat(part.detach())
        if part.shape == ids.shape:
            weights = part
        elif part.shape[0] == ids.shape[0] and part.shape[1] == router.experts:
            weights = part.gather(1, ids.long())
    _need(router, "weights [tokens, top_k] or [tokens, experts] beside the ids", output, weights is not None)
    return Choice(ids, weights.float())


def read_routing_map(router, output):
    """(probabilities [T, E], routing map bool [T, E]): Megatron-Core from 0.9. Choices that its capacity dropped are not in the map."""
    is_map = (isinstance(output, (tuple, list)) and len(output) >= 2 and all(_is_tensor(p) for p in output[:2])
              and str(output[1].dtype) == "torch.bool")
    if not is_map:
        return read_ids(router, output)  # to 0.8: (scores [T, k], indices [T, k])
    probabilities, chosen = _flat(output[0].detach()).float(), _flat(output[1].detach())
    _need(router, "probabilities and a map of one shape [tokens, experts]", output, probabilities.shape == chosen.shape)
    counts = chosen.sum(dim=1)
    most = min(router.top_k, chosen.shape[1])
    weights, ids = probabilities.masked_fill(~chosen, float("-inf")).topk(most, dim=1)
    # On a device the comparison would wait for it; the library refuses a count above top_k itself.
    if counts.device.type == "cpu" and bool((counts == most).all()):
        counts = None
    return Choice(ids, weights.masked_fill(weights.isinf(), 0.0), counts)


def read_block_routes(router, output):
    """Logits [T, E], and the block has route_tokens_to_experts(logits) -> (ids [T, k], weights [T, k]): it is asked again."""
    _need_experts(router)
    logits = output[0] if isinstance(output, (tuple, list)) and len(output) == 1 else output
    _need(router, f"logits [tokens, {router.experts}]", output, _is_tensor(logits) and logits.shape[-1] == router.experts)
    return read_ids(router, router.block.route_tokens_to_experts(_flat(logits.detach())))


def read_ids_or_logits(router, output):
    """A tuple with ids where the router chooses; a plain tensor of logits where its block does."""
    if isinstance(output, (tuple, list)):
        return read_ids(router, output)
    if hasattr(router.block, "route_tokens_to_experts"):
        return read_block_routes(router, output)
    return read_logits(router, output)


# Class names and return values as of Transformers 4.36 to 5.0 and Megatron-Core 0.5 to 0.14. A router class stands before its
# block: when the router chooses itself, the block needs no entry.
ADAPTERS = (
    # Transformers 5: (logits [T, E], scores [T, k] or [T, E], ids [T, k]).
    Adapter("MixtralTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("Qwen2MoeTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("Qwen3MoeTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("OlmoeTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("GptOssTopKRouter", read_ids, says="Transformers 4.55: (scores [T, E], ids); 5: (logits, scores, ids)"),
    # DeepSeek: Transformers 4.5x and the models' own code: (ids, weights[, aux loss]); 5: logits, and the block routes.
    Adapter("DeepseekV2MoEGate", read_ids, says="Transformers 4.54: (ids, weights[, aux loss])"),
    Adapter("DeepseekV3TopkRouter", read_ids_or_logits, says="Transformers 4.50: (ids, weights); 5: logits, and the block routes"),
    Adapter("MoEGate", read_ids, says="DeepSeek-V2/V3 with trust_remote_code: (ids, weights[, aux loss])"),
    # Megatron-Core: to 0.8 (scores, ids); then (probabilities, routing map).
    Adapter("TopKRouter", read_routing_map, says="Megatron-Core 0.5: (scores, ids); 0.9: (probabilities, routing map)"),
    # Transformers 4.36 to 4.57: the block owns a Linear `gate` and takes the top-k itself.
    Adapter("MixtralSparseMoeBlock", read_ids_or_logits, child="gate", says="Transformers 4.36: logits, top-k in the block"),
    Adapter("Qwen2MoeSparseMoeBlock", read_ids_or_logits, child="gate", says="Transformers 4.40: logits, top-k in the block"),
    Adapter("Qwen3MoeSparseMoeBlock", read_ids_or_logits, child="gate", says="Transformers 4.51: logits, top-k in the block"),
    Adapter("OlmoeSparseMoeBlock", read_ids_or_logits, child="gate", says="Transformers 4.45: logits, top-k in the block"),
    Adapter("DeepseekV2Moe", read_ids_or_logits, child="gate", says="Transformers 5: logits, and the block routes"),
)

_EXPERT_NAMES = ("num_experts", "n_routed_experts", "num_local_experts", "num_moe_experts")
_TOP_K_NAMES = ("top_k", "topk", "num_experts_per_tok", "moe_router_topk")


def _number(names, *places):
    """The first positive integer of these names on a module or on its config."""
    for place in places:
        for owner in (place, getattr(place, "config", None)):
            for name in names:
                value = getattr(owner, name, None)
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
    return None


def _class_names(module):
    return [c.__name__ for c in type(module).__mro__]


def find_routers(model, adapters=ADAPTERS):
    """Every router of `model`, as a list of Router in the order of named_modules(); a module is hooked once."""
    routers, hooked = [], set()
    for name, module in model.named_modules():
        names = _class_names(module)
        for adapter in adapters:
            if adapter.class_name not in names:
                continue
            router, router_name = module, name
            if adapter.child:
                router = getattr(module, adapter.child, None)
                router_name = f"{name}.{adapter.child}" if name else adapter.child
                # The child chooses itself when its own class has an adapter: it is met later in this walk.
                if router is None or any(a.class_name in _class_names(router) for a in adapters if not a.child):
                    break
            if id(router) not in hooked:
                hooked.add(id(router))
                owner = module if adapter.child else _owner(model, name, module)
                experts = _number(_EXPERT_NAMES, router, owner) or getattr(router, "out_features", None)
                routers.append(Router(router_name, router, owner, adapter, experts, _number(_TOP_K_NAMES, router, owner)))
            break
    return routers


def _owner(model, name, module):
    """The module that holds `module`."""
    parent = model
    for part in name.split(".")[:-1]:
        parent = getattr(parent, part)
    return parent if name else module
