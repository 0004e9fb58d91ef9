"""What a router's hook costs the host: CPU time of its thread, per call, best of five times 100.

usage: PYTHONPATH=traces/capture/python /usr/bin/python3 tests/capture_python/hook_cost.py
"""

import tempfile
import time

import torch

import routers
from moe_capture import capture_model


def cost_us(block, tokens, log):
    model = routers.Model([block])
    with capture_model(model, log, buffer_bytes=1 << 28, overwrite=True) as capture:
        router = capture.routers[0].module
        with torch.no_grad():
            given = router(torch.randn(tokens, routers.HIDDEN))
            hook = next(iter(router._forward_hooks.values()))
            # Inside the model's forward the hook records; there it is called again and again.
            times = []
            model.layers[0].register_forward_hook(
                lambda *_: times.extend(time_of(hook, router, given) for _ in range(5))
            )
            model(torch.zeros(1, tokens, dtype=torch.long))
        assert capture.counters()["stored_batches"] == 501, capture.counters()
    return min(times) / 100 * 1e6


def time_of(hook, router, given):
    start = time.thread_time()
    for _ in range(100):
        hook(router, None, given)
    return time.thread_time() - start


def main():
    torch.set_num_threads(1)
    routers.EXPERTS = 32
    print(f"PyTorch {torch.__version__}, {routers.EXPERTS} experts, top-{routers.TOP_K}, CPU us")
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        for name, block in (
            ("the router gives ids", lambda: routers.TupleBlock(routers.MixtralTopKRouter())),
            ("logits: top-k is taken again", routers.MixtralSparseMoeBlock),
            ("routing map", lambda: routers.MegatronBlock(1)),
        ):
            costs = [f"{cost_us(block(), tokens, log.name):.0f}" for tokens in (64, 2048)]
            print(f"{name}: {costs[0]} with 64 tokens, {costs[1]} with 2048")


if __name__ == "__main__":
    main()
