"""How to read the choices of each known router: one table, one function per kind of output.

An adapter names a module class (of the router itself, or of the block that owns it) and a reader.
The reader turns what the router's forward gave into a Choice. Readers look at shapes, not at
library versions: T tokens, E experts, k choices per token.

A class is found by its name, also by that of a base class, so that no library has to be imported
here.
"""

from .readers import Adapter, Router, read_ids, read_routing_map, read_ids_or_logits

# Class names and return values as of Transformers 4.36 to 5.0 and Megatron-Core 0.5 to 0.14. A
# router class stands before its block: when the router chooses itself, the block needs no entry.
ADAPTERS = (
    Adapter("MixtralTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("Qwen2MoeTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("Qwen3MoeTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter("OlmoeTopKRouter", read_ids, says="Transformers 5: (logits, scores, ids)"),
    Adapter(
        "GptOssTopKRouter",
        read_ids,
        says="Transformers 4.55: (scores [T, E], ids); 5: (logits, scores, ids)",
    ),
    Adapter("DeepseekV2MoEGate", read_ids, says="Transformers 4.54: (ids, weights[, aux loss])"),
    Adapter(
        "DeepseekV3TopkRouter",
        read_ids_or_logits,
        says="Transformers 4.50: (ids, weights); 5: logits, and the block routes",
    ),
    Adapter(
        "MoEGate",
        read_ids,
        says="DeepSeek-V2/V3 with trust_remote_code: (ids, weights[, aux loss])",
    ),
    Adapter(
        "TopKRouter",
        read_routing_map,
        says="Megatron-Core 0.5: (scores, ids); 0.9: (probabilities, routing map)",
        sequence_first=True,
    ),
    # Transformers 4.36 to 4.57: the block owns a Linear `gate` and takes the top-k itself.
    Adapter(
        "MixtralSparseMoeBlock",
        read_ids_or_logits,
        child="gate",
        says="Transformers 4.36: logits, top-k in the block",
    ),
    Adapter(
        "Qwen2MoeSparseMoeBlock",
        read_ids_or_logits,
        child="gate",
        says="Transformers 4.40: logits, top-k in the block",
    ),
    Adapter(
        "Qwen3MoeSparseMoeBlock",
        read_ids_or_logits,
        child="gate",
        says="Transformers 4.51: logits, top-k in the block",
    ),
    Adapter(
        "OlmoeSparseMoeBlock",
        read_ids_or_logits,
        child="gate",
        says="Transformers 4.45: logits, top-k in the block",
    ),
    Adapter(
        "DeepseekV2Moe",
        read_ids_or_logits,
        child="gate",
        says="Transformers 5: logits, and the block routes",
    ),
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
    """Every router of `model`, as a list of Router in the order of named_modules(); a module is
    hooked once.
    """
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
                # The child chooses itself when its own class has an adapter: it is met later in
                # this walk.
                if router is None or any(
                    a.class_name in _class_names(router) for a in adapters if not a.child
                ):
                    break
            if id(router) not in hooked:
                hooked.add(id(router))
                owner = module if adapter.child else _owner(model, name, module)
                experts = _number(_EXPERT_NAMES, router, owner) or getattr(
                    router, "out_features", None
                )
                routers.append(
                    Router(
                        router_name,
                        router,
                        owner,
                        adapter,
                        experts,
                        _number(_TOP_K_NAMES, router, owner),
                    )
                )
            break
    return routers


def _owner(model, name, module):
    """The module that holds `module`."""
    parent = model
    for part in name.split(".")[:-1]:
        parent = getattr(parent, part)
    return parent if name else module
