"""A small Mixture-of-Experts language model: every block is attention and routed experts."""

import math

import torch
from torch import nn
from torch.nn import functional


class Router(nn.Module):
    """Scores tokens and chooses experts, dropless.

    forward(x [tokens, hidden]) -> (logits [tokens, experts], weights [tokens, k], ids [tokens, k]).
    Scores are the softmax over all experts; the k best of (score + bias) are chosen, weights are the
    scores alone, for k > 1 divided by their sum. `bias` is moved by balance() only.
    """

    def __init__(self, hidden, experts, top_k):
        super().__init__()
        self.linear = nn.Linear(hidden, experts, bias=False)
        nn.init.normal_(self.linear.weight, std=0.02)
        self.top_k = top_k
        self.register_buffer("bias", torch.zeros(experts))

    def forward(self, x):
        logits = self.linear(x)
        scores = logits.softmax(-1)
        ids = (scores + self.bias).topk(self.top_k, dim=-1).indices
        weights = scores.gather(1, ids)
        if self.top_k > 1:
            weights = weights / weights.sum(-1, keepdim=True)
        self.load = torch.bincount(ids.flatten(), minlength=scores.shape[1])
        # Switch: experts * sum_i f_i P_i, f the share of the choices (no gradient), P the mean score.
        share = self.load.float() / ids.numel()
        self.auxiliary = scores.shape[1] * (share * scores.mean(0)).sum()
        return logits, weights, ids

    @torch.no_grad()
    def balance(self, rate):
        """The loss-free bias (arXiv 2408.15664): b += rate * sign(mean load - load)."""
        load = self.load.float()
        self.bias += rate * torch.sign(load.mean() - load)


class Experts(nn.Module):
    """Routed two-layer experts: tokens are sorted by expert, each expert multiplies its rows."""

    def __init__(self, hidden, inner, experts, top_k):
        super().__init__()
        self.router = Router(hidden, experts, top_k)
        self.up = nn.Parameter(torch.randn(experts, hidden, inner) / math.sqrt(hidden))
        self.down = nn.Parameter(torch.randn(experts, inner, hidden) * 0.5 / math.sqrt(inner))

    def forward(self, x):
        _, weights, ids = self.router(x)
        top_k = ids.shape[1]
        order = ids.flatten().argsort(stable=True)
        rows = torch.split(x[order // top_k], self.router.load.tolist())
        parts = [functional.gelu(part @ up) @ down if len(part) else part
                 for part, up, down in zip(rows, self.up.unbind(0), self.down.unbind(0))]
        out = torch.cat(parts) * weights.flatten()[order].unsqueeze(1)
        return torch.zeros_like(x).index_add(0, order // top_k, out)


class Block(nn.Module):
    def __init__(self, hidden, heads, inner, experts, top_k):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden)
        self.norm_experts = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.experts = Experts(hidden, inner, experts, top_k)

    def forward(self, x, mask):
        sequences, length, hidden = x.shape
        q, k, v = (part.view(sequences, length, self.heads, -1).transpose(1, 2)
                   for part in self.qkv(self.norm_attention(x)).chunk(3, dim=-1))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(sequences, length, hidden)
        x = x + self.out(mixed)
        return x + self.experts(self.norm_experts(x).view(-1, hidden)).view_as(x)


class LanguageModel(nn.Module):
    """forward(tokens [sequences, length]) -> logits [sequences, length, vocabulary]."""

    def __init__(self, vocabulary, length, hidden, heads, layers, inner, experts, top_k):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.position = nn.Embedding(length, hidden)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)
        self.blocks = nn.ModuleList(
            Block(hidden, heads, inner, experts, top_k) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.register_buffer("mask", torch.full((length, length), -math.inf).triu(1))

    def forward(self, tokens):
        length = tokens.shape[1]
        x = self.embedding(tokens) + self.position.weight[:length]
        for block in self.blocks:
            x = block(x, self.mask[:length, :length])
        return self.norm(x) @ self.embedding.weight.T

    def routers(self):
        return [block.experts.router for block in self.blocks]
