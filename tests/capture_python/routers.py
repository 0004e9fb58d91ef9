"""Small MoE models whose routers have the interfaces of the libraries that moe_capture has adapters
for.

The classes carry the libraries' class names, since those are what an adapter looks for; the code is
our own and only as long as the interface needs it: what the router is given, what it returns, and
who takes the top-k.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

HIDDEN, EXPERTS, TOP_K, VOCABULARY = 16, 8, 2, 50


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, HIDDEN, HIDDEN) * 0.1)

    def forward(self, rows, ids, weights):
        """rows [T, H], ids and weights [T, k]."""
        self.seen = ids.detach().clone()  # what was really computed: the tests compare with it
        out = torch.einsum("th,tkho->tko", rows, self.weight[ids])
        return (out * weights.unsqueeze(-1).to(out.dtype)).sum(dim=1)


class _Block(nn.Module):
    """Flattens, routes, runs the experts."""

    def __init__(self):
        super().__init__()
        self.experts = Experts()

    def forward(self, hidden):
        rows = hidden.reshape(-1, HIDDEN)
        ids, weights = self.route(rows)
        return self.experts(rows, ids, weights).reshape(hidden.shape)


class MixtralSparseMoeBlock(_Block):
    """Transformers 4: `gate` is a Linear, the block takes softmax, top-k and normalises."""

    normalise = True

    def __init__(self):
        super().__init__()
        self.num_experts, self.top_k = EXPERTS, TOP_K
        self.gate = nn.Linear(HIDDEN, EXPERTS, bias=False)

    def route(self, rows):
        weights, ids = F.softmax(self.gate(rows), dim=1, dtype=torch.float).topk(self.top_k, dim=-1)
        if self.normalise:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return ids, weights


class Qwen2MoeSparseMoeBlock(MixtralSparseMoeBlock):
    def __init__(self):
        super().__init__()
        self.norm_topk_prob = self.normalise = False


class Qwen3MoeSparseMoeBlock(MixtralSparseMoeBlock):
    def __init__(self):
        super().__init__()
        self.norm_topk_prob = True


class OlmoeSparseMoeBlock(Qwen2MoeSparseMoeBlock):
    pass


class MixtralTopKRouter(nn.Module):
    """Transformers 5: (logits [T, E], scores [T, k], ids [T, k])."""

    def __init__(self):
        super().__init__()
        self.top_k, self.num_experts, self.hidden_dim = TOP_K, EXPERTS, HIDDEN
        self.weight = nn.Parameter(torch.randn(EXPERTS, HIDDEN))

    def forward(self, rows):
        logits = F.linear(rows, self.weight)
        weights, ids = logits.float().softmax(dim=-1).topk(self.top_k, dim=-1)
        return logits, weights / weights.sum(dim=-1, keepdim=True), ids


class Qwen3MoeTopKRouter(MixtralTopKRouter):
    pass


class Qwen2MoeTopKRouter(MixtralTopKRouter):
    pass


class OlmoeTopKRouter(MixtralTopKRouter):
    pass


class GptOssTopKRouter(nn.Module):
    """Transformers 4.55: (scores scattered over [T, E], ids [T, k]), softmax over the chosen."""

    def __init__(self):
        super().__init__()
        self.top_k, self.num_experts = TOP_K, EXPERTS
        self.weight = nn.Parameter(torch.randn(EXPERTS, HIDDEN))
        self.bias = nn.Parameter(torch.randn(EXPERTS))

    def forward(self, rows):
        logits = F.linear(rows, self.weight, self.bias)
        values, ids = logits.topk(self.top_k, dim=-1)
        return torch.zeros_like(logits).scatter_(1, ids, values.softmax(dim=1)), ids


class NewerGptOssTopKRouter(GptOssTopKRouter):
    """Transformers 5: (logits, scores [T, k], ids)."""

    def forward(self, rows):
        scores, ids = super().forward(rows)
        return F.linear(rows, self.weight, self.bias), scores.gather(1, ids), ids


class TupleBlock(_Block):
    """A block around a router that gives a tuple with the ids last."""

    def __init__(self, router):
        super().__init__()
        self.router = router

    def route(self, rows):
        *_, scores, ids = self.router(rows)
        return ids, scores if scores.shape == ids.shape else scores.gather(1, ids)


class DeepseekV2MoEGate(nn.Module):
    """(ids, weights, aux loss or None); takes [batch, sequence, hidden]."""

    def __init__(self):
        super().__init__()
        self.top_k, self.n_routed_experts = TOP_K, EXPERTS
        self.weight = nn.Parameter(torch.randn(EXPERTS, HIDDEN))

    def forward(self, hidden):
        scores = F.linear(hidden.reshape(-1, HIDDEN), self.weight).softmax(
            dim=-1, dtype=torch.float32
        )
        weights, ids = scores.topk(self.top_k, dim=-1, sorted=False)
        return ids, weights, None


class DeepseekV3TopkRouter(nn.Module):
    """(ids, weights): sigmoid, choice by score plus bias within two of four groups, weights without
    the bias.
    """

    def __init__(self):
        super().__init__()
        self.top_k, self.n_routed_experts = TOP_K, EXPERTS
        self.weight = nn.Parameter(torch.randn(EXPERTS, HIDDEN))
        self.e_score_correction_bias = nn.Parameter(torch.randn(EXPERTS), requires_grad=False)

    def choose(self, logits):
        scores = logits.sigmoid()
        biased = scores + self.e_score_correction_bias
        groups = biased.view(-1, 4, EXPERTS // 4).sum(dim=-1).topk(2, dim=-1)[1]
        allowed = (
            torch.zeros(len(biased), 4)
            .scatter_(1, groups, 1)
            .repeat_interleave(EXPERTS // 4, dim=1)
        )
        ids = biased.masked_fill(allowed == 0, float("-inf")).topk(self.top_k, dim=-1)[1]
        weights = scores.gather(1, ids)
        return ids, 2.5 * weights / weights.sum(dim=-1, keepdim=True)

    def forward(self, hidden):
        return self.choose(F.linear(hidden.reshape(-1, HIDDEN).float(), self.weight))


class DeepseekBlock(_Block):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def route(self, rows):
        return self.gate(rows)[:2]


class NewerDeepseekV3TopkRouter(DeepseekV3TopkRouter):
    """Transformers 5: logits; DeepseekV3MoE.route_tokens_to_experts chooses."""

    def forward(self, hidden):
        return F.linear(hidden.reshape(-1, HIDDEN).float(), self.weight)


class DeepseekV3MoE(_Block):
    def __init__(self):
        super().__init__()
        self.gate = NewerDeepseekV3TopkRouter()

    def route_tokens_to_experts(self, logits):
        return self.gate.choose(logits)

    def route(self, rows):
        return self.route_tokens_to_experts(self.gate(rows))


class DeepseekV2Moe(_Block):
    """Transformers 5: gate is a Linear, route_tokens_to_experts chooses, here by the unscaled
    softmax of every second expert.
    """

    def __init__(self):
        super().__init__()
        self.top_k, self.num_experts = TOP_K, EXPERTS
        self.gate = nn.Linear(HIDDEN, EXPERTS, bias=False)

    def route_tokens_to_experts(self, logits):
        scores = logits.softmax(dim=-1)
        scores = scores.masked_fill(torch.arange(EXPERTS) % 2 == 0, 0.0)
        weights, ids = scores.topk(self.top_k, dim=-1)
        return ids, weights

    def route(self, rows):
        return self.route_tokens_to_experts(self.gate(rows))


class TopKRouter(nn.Module):
    """Megatron-Core from 0.9: (probabilities [T, E], map bool [T, E]); `capacity` drops the choices
    of the last tokens.
    """

    def __init__(self, layer_number, capacity=None):
        super().__init__()
        self.layer_number, self.topk, self.num_experts, self.capacity = (
            layer_number,
            TOP_K,
            EXPERTS,
            capacity,
        )
        self.weight = nn.Parameter(torch.randn(EXPERTS, HIDDEN))

    def forward(self, rows):
        values, ids = F.linear(rows, self.weight).topk(self.topk, dim=-1)
        chosen = torch.zeros(len(rows), EXPERTS, dtype=torch.bool).scatter_(1, ids, True)
        if self.capacity is not None:
            chosen &= chosen.long().cumsum(dim=0) <= self.capacity
        return (
            torch.zeros(len(rows), EXPERTS).scatter(1, ids, values.softmax(dim=-1)) * chosen,
            chosen,
        )


class MegatronBlock(nn.Module):
    def __init__(self, layer_number, capacity=None):
        super().__init__()
        self.router = TopKRouter(layer_number, capacity)
        self.experts = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, hidden):
        sequence_first = hidden.transpose(0, 1)  # as all of Megatron is
        rows = sequence_first.reshape(-1, HIDDEN)
        probabilities, self.chosen = self.router(rows)
        out = self.experts(rows) * probabilities.sum(dim=1, keepdim=True)
        return out.reshape(sequence_first.shape).transpose(0, 1)


class HomeMade(_Block):
    """A router that no adapter knows: `score` gives logits."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(HIDDEN, EXPERTS)

    def route(self, rows):
        weights, ids = self.score(rows).softmax(dim=-1).topk(TOP_K, dim=-1)
        return ids, weights


class Layer(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.mlp = block

    def forward(self, hidden):
        return hidden + self.mlp(hidden)


class Model(nn.Module):
    """Embedding, layers, head; called as Transformers' models are. One block per layer, None: a
    dense layer.
    """

    def __init__(self, blocks, recompute=None):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(
            Layer(b if b is not None else nn.Linear(HIDDEN, HIDDEN)) for b in blocks
        )
        self.head = nn.Linear(HIDDEN, VOCABULARY)
        self.recompute = recompute  # None, "reentrant", "not reentrant"

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None):
        hidden = self.embed(input_ids)
        for layer in self.layers:
            if self.recompute:
                hidden = checkpoint(layer, hidden, use_reentrant=self.recompute == "reentrant")
            else:
                hidden = layer(hidden)
        return self.head(hidden)
