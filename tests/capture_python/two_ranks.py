"""One rank of two (torch.distributed over gloo): captures two steps and prints, per step, the ids
of each token in each layer.

usage: two_ranks.py RENDEZVOUS RANK LOG
"""

import sys

import torch
import torch.distributed

import routers
from moe_capture import capture_model
from test_model import seen, tokens

address, rank, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
torch.manual_seed(rank)
model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()])
parallel = torch.nn.parallel.DistributedDataParallel(model)
with capture_model(parallel, log):
    for _ in range(2):
        parallel(input_ids=tokens(1, 3 + rank))
        print(seen(model))
torch.distributed.barrier()
