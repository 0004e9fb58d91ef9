"""Trains one small Mixture-of-Experts language model on real text and captures every routing choice.

    python3 train.py small-k2-switch0.01-s1 --out DIR

A run's name is SIZE-kTOPK-TERM-sSEED: SIZE of the table below, TERM none, switchALPHA (the Switch
loss, alpha * experts * sum f_i P_i, summed over the layers) or biasRATE (the loss-free bias, moved by
RATE * sign(mean load - load) after every step). Writes to DIR/NAME:

    training.moelog   every choice of every training step, with token ids and the domain of each token
    reading.moelog    the trained model reading held-out text: requests, positions, token ids, domains
    log.jsonl         per step: loss, and each layer's Switch term
    counts.npy        int32 [steps, layers, experts], the choices counted by PyTorch itself

One process on one thread; the batch's sequences are recorded as those of RANKS source ranks, which is
what data parallelism over so many ranks would compute: the loss is over the whole batch.
"""

import argparse
import json
import math
import os
import re
import sys
import time

os.environ.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")  # else a virtual CPU may get slow kernels
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the same sums in the same order, whatever the machine

import numpy
import torch
from torch.nn import functional

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../capture/python"))
from moe_capture import Capture  # noqa: E402

import corpus  # noqa: E402
from model import LanguageModel  # noqa: E402

SIZES = {
    "tiny": dict(hidden=32, heads=2, layers=2, inner=32, experts=8),  # of the tests
    "small": dict(hidden=96, heads=4, layers=4, inner=192, experts=16),
    "large": dict(hidden=128, heads=4, layers=6, inner=128, experts=32),
    "wide": dict(hidden=96, heads=4, layers=4, inner=64, experts=64),
}
VOCABULARY = 1024
SEQUENCES, LENGTH, RANKS = 16, 96, 8
PEAK_RATE, WARM_UP = 2e-3, 20
REQUESTS = 192  # of the reading, as many from every domain


def parse(name):
    match = re.fullmatch(r"(\w+)-k(\d+)-(none|switch|bias)([0-9.e-]*?)-s(\d+)", name)
    if not match or match[1] not in SIZES or (match[3] == "none") != (match[4] == ""):
        raise SystemExit(f"{name}: a run is named like small-k2-switch0.01-s1 "
                         f"(sizes: {', '.join(SIZES)})")
    return dict(size=match[1], top_k=int(match[2]), term=match[3],
                coefficient=float(match[4] or 0), seed=int(match[5]))


def batches(texts, seed):
    """Endless (tokens [SEQUENCES, LENGTH + 1], domain of each sequence), from the first 90 %."""
    random = numpy.random.Generator(numpy.random.PCG64(seed))
    parts = [text[: len(text) * 9 // 10] for text in texts.values()]
    while True:
        domains = random.integers(len(parts), size=SEQUENCES)
        rows = []
        for domain in domains:
            begin = random.integers(len(parts[domain]) - LENGTH)
            rows.append(parts[domain][begin:begin + LENGTH + 1])
        yield torch.from_numpy(numpy.stack(rows)), domains


def record(capture, model, **where):
    """Hooks every router: records its ids under the step, ranks, ... that `where` holds then."""
    def hook(layer):
        def call(_router, _inputs, output):
            ids = output[2].detach()
            rows = len(ids) // where["ranks"]
            for rank in range(where["ranks"]):
                part = slice(rank * rows, (rank + 1) * rows)
                columns = {key: where[key][part]  # of a token, so one layer says it
                           for key in ("token_ids", "tags", "requests", "positions")
                           if layer == 0 and key in where}
                capture.record(step=where["step"], layer=layer, rank=rank, ids=ids[part], **columns)
        return call

    hooks = [router.register_forward_hook(hook(layer))
             for layer, router in enumerate(model.routers())]
    return where, hooks


def learning_rate(step, steps):
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    return PEAK_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - WARM_UP) / (steps - WARM_UP))))


def train(run, model, texts, steps, capture, log):
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    where, hooks = record(capture, model, step=0, ranks=RANKS)
    tags = numpy.array([capture.tag(name) for name in texts], dtype=numpy.uint32)
    counts = []
    for step, (rows, domains) in zip(range(steps), batches(texts, run["seed"])):
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:]
        where.update(step=step, token_ids=inputs.flatten(),
                     tags=numpy.repeat(tags[domains], LENGTH))
        loss = functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        terms = [router.auxiliary for router in model.routers()]
        total = loss + run["coefficient"] * sum(terms) if run["term"] == "switch" else loss
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.step()
        if run["term"] == "bias":
            for router in model.routers():
                router.balance(run["coefficient"])
        counts.append([router.load.tolist() for router in model.routers()])
        print(json.dumps(dict(step=step, loss=round(loss.item(), 5),
                              switch=[round(term.item(), 5) for term in terms])),
              file=log, flush=True)
    for hook in hooks:
        hook.remove()
    return numpy.array(counts, dtype=numpy.int32)


@torch.no_grad()
def read(model, texts, capture):
    """Held-out text (the last 10 % of every domain), LENGTH tokens a request. -> mean loss."""
    where, hooks = record(capture, model, step=0, ranks=1)
    losses = []
    for number, (domain, text) in enumerate(texts.items()):
        held_out = text[len(text) * 9 // 10:]
        count = REQUESTS // len(texts)
        stride = (len(held_out) - LENGTH - 1) // count
        rows = torch.from_numpy(numpy.stack(
            [held_out[i * stride:i * stride + LENGTH + 1] for i in range(count)]))
        inputs = rows[:, :-1].contiguous()
        where.update(step=number, token_ids=inputs.flatten(),
                     tags=numpy.full(inputs.numel(), capture.tag(domain), dtype=numpy.uint32),
                     requests=numpy.repeat(numpy.arange(count) + number * count, LENGTH),
                     positions=numpy.tile(numpy.arange(LENGTH), count))
        losses.append(functional.cross_entropy(model(inputs).flatten(0, 1),
                                               rows[:, 1:].flatten()).item())
    for hook in hooks:
        hook.remove()
    return sum(losses) / len(losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="SIZE-kTOPK-TERM-sSEED, like small-k2-switch0.01-s1")
    parser.add_argument("--out", required=True, help="a folder; the run's own folder is made in it")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--characters", type=int, default=corpus.MOST_CHARACTERS,
                        help="most characters of a domain")
    arguments = parser.parse_args()
    run = parse(arguments.name)
    folder = os.path.join(arguments.out, arguments.name)
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(run["seed"])
    texts = corpus.load(VOCABULARY, arguments.characters)
    size = SIZES[run["size"]]
    model = LanguageModel(VOCABULARY, LENGTH, top_k=run["top_k"], **size)
    shape = dict(model=arguments.name, experts=[size["experts"]] * size["layers"],
                 top_k=run["top_k"], token_ids=True, tags=True)
    begin = time.time()
    with open(os.path.join(folder, "log.jsonl"), "w") as log, \
            Capture(os.path.join(folder, "training.moelog"),
                    provenance=f"trained from scratch for {arguments.steps} steps, every step",
                    **shape) as capture:
        counts = train(run, model, texts, arguments.steps, capture, log)
    numpy.save(os.path.join(folder, "counts.npy"), counts)
    with Capture(os.path.join(folder, "reading.moelog"), requests=True,
                 provenance="the trained model reading held-out text", **shape) as reading:
        loss = read(model, texts, reading)
    for log in (capture, reading):
        if log.counters()["dropped_batches"]:
            raise SystemExit(f"{log.path}: {log.counters()['dropped_batches']} batches were dropped")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{arguments.name}: {parameters / 1e6:.1f} M parameters, held-out loss {loss:.3f}, "
          f"{time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
