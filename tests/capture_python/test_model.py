"""capture_model with the real PyTorch: what the trace holds is what the model's experts computed.
"""

import contextlib
import copy
import io
import json
import os
import subprocess
import sys
import unittest
import warnings
from pathlib import Path
from unittest import mock

from support import Case, needs_torch, torch

if torch:
    from torch.utils.checkpoint import checkpoint

    import routers
    from moe_capture import ADAPTERS, Adapter, Choice, capture_logits, capture_model
    from moe_capture.adapters import find_routers


def tokens(batch=3, sequence=5):
    return torch.randint(0, routers.VOCABULARY, (batch, sequence))


def seen(model):
    """Per token, per MoE layer, the sorted ids that the model's experts were just run with."""
    layers = []
    for layer in model.layers:
        block = layer.mlp
        if hasattr(block, "chosen"):
            layers.append([row.nonzero().reshape(-1).tolist() for row in block.chosen])
        elif hasattr(block, "experts"):
            layers.append([sorted(row) for row in block.experts.seen.tolist()])
    return [list(row) for row in zip(*layers)]


def chosen(rows):
    return [[sorted(layer) for layer in row.ids] for row in rows]


@needs_torch
class ModelTest(Case):
    def setUp(self):
        super().setUp()
        torch.manual_seed(7)
        torch.set_num_threads(1)

    def capture(self, model, **options):
        capture = capture_model(model, self.path("run.log"), **options)
        self.addCleanup(capture.close)
        return capture

    def check(self, blocks, numbers, **options):
        """Captures three forwards of a model of `blocks`; its layer numbers and every id have to be
        right. Returns the rows.
        """
        model = routers.Model(blocks)
        expected = []
        with self.capture(model, weights=True, **options) as capture:
            for _ in range(3):
                model(input_ids=tokens())
                expected += seen(model)
        self.assertEqual(capture.disabled, {})
        said, rows = self.imported("run.log")
        self.assertEqual(chosen(rows), expected)
        self.assertEqual([r.step for r in rows], sorted(list(range(3)) * 15))
        self.assertEqual(self.layer_numbers, numbers)
        self.check_counts(expected)
        return rows

    def check_counts(self, expected):
        """The log imported as counts is torch's own bincount of each step (15 tokens) and layer."""
        self.simulate(
            "trace", "import", self.path("run.log"), "-o", self.path("counts.moetrace"), "--counts"
        )
        for line in self.lines_of("counts.moetrace")[1:]:
            place, counts = line.split("|")
            step, layer, tokens_counted = map(int, place.split())
            ids = torch.tensor(
                [e for row in expected[15 * step : 15 * (step + 1)] for e in row[layer]],
                dtype=torch.long,
            )
            self.assertEqual(
                [int(n) for n in counts.split()],
                torch.bincount(ids, minlength=routers.EXPERTS).tolist(),
            )
            self.assertEqual(tokens_counted, 15)

    def test_transformers_4_blocks_with_a_linear_gate(self):
        rows = self.check(
            [
                None,
                routers.MixtralSparseMoeBlock(),
                routers.Qwen3MoeSparseMoeBlock(),
                routers.Qwen2MoeSparseMoeBlock(),
                None,
                routers.OlmoeSparseMoeBlock(),
            ],
            [1, 2, 3, 5],
        )
        for row in rows:
            self.assertAlmostEqual(sum(row.weights[0]), 1, places=5)  # normalised
            self.assertAlmostEqual(sum(row.weights[1]), 1, places=5)
            self.assertLess(sum(row.weights[2]), 0.999)  # norm_topk_prob is false
            self.assertLess(sum(row.weights[3]), 0.999)

    def test_transformers_5_routers(self):
        for router in (
            routers.MixtralTopKRouter,
            routers.Qwen2MoeTopKRouter,
            routers.Qwen3MoeTopKRouter,
            routers.OlmoeTopKRouter,
        ):
            with self.subTest(router.__name__):
                rows = self.check(
                    [routers.TupleBlock(router()), routers.TupleBlock(router())],
                    [0, 1],
                    overwrite=True,
                )
                self.assertAlmostEqual(sum(rows[0].weights[1]), 1, places=5)

    def test_a_block_whose_gate_chooses_itself_is_met_once(self):
        block = routers.MixtralSparseMoeBlock()
        block.gate = routers.MixtralTopKRouter()  # as in Transformers 5
        deepseek = routers.DeepseekV2Moe()
        deepseek.gate = routers.DeepseekV2MoEGate()  # as in Transformers 4
        found = find_routers(routers.Model([block, deepseek]))
        self.assertEqual(
            [(r.name, r.adapter.class_name, r.experts, r.top_k) for r in found],
            [
                ("layers.0.mlp.gate", "MixtralTopKRouter", 8, 2),
                ("layers.1.mlp.gate", "DeepseekV2MoEGate", 8, 2),
            ],
        )

    def test_gpt_oss_of_both_kinds_gives_the_same(self):
        older, newer = routers.GptOssTopKRouter(), routers.NewerGptOssTopKRouter()
        newer.load_state_dict(older.state_dict())
        blocks = [routers.TupleBlock(older), routers.TupleBlock(newer)]
        rows = self.check(blocks, [0, 1])
        for row in rows:
            self.assertAlmostEqual(sum(row.weights[0]), 1, places=5)
            self.assertAlmostEqual(sum(row.weights[1]), 1, places=5)

    def test_deepseek_of_every_kind(self):
        rows = self.check(
            [
                None,
                routers.DeepseekBlock(routers.DeepseekV2MoEGate()),
                routers.DeepseekBlock(routers.DeepseekV3TopkRouter()),
                routers.DeepseekV3MoE(),
                routers.DeepseekV2Moe(),
            ],
            [1, 2, 3, 4],
        )
        for row in rows:
            self.assertAlmostEqual(sum(row.weights[1]), 2.5, places=4)  # the routed scaling factor
            self.assertAlmostEqual(sum(row.weights[2]), 2.5, places=4)

    def test_megatron_with_and_without_capacity(self):
        rows = self.check([routers.MegatronBlock(3), routers.MegatronBlock(5, capacity=2)], [2, 4])
        self.assertEqual({len(r.ids[0]) for r in rows}, {2})
        self.assertLess(min(len(r.ids[1]) for r in rows), 2)  # the capacity dropped some

    def test_megatrons_rows_are_sequence_first(self):
        model = routers.Model([routers.MegatronBlock(1)])
        batch = torch.tensor([[1, 2, 3], [4, 5, 0]])
        mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
        with self.capture(model, token_ids=True, requests=True) as capture:
            model(input_ids=batch, attention_mask=mask)
            expected = seen(model)
        self.assertEqual(capture.disabled, {})
        rows = self.imported("run.log")[1]
        places = {(r.request, r.position, r.token_id): sorted(r.ids[0]) for r in rows}
        order = [(0, 0, 1), (1, 0, 4), (0, 1, 2), (1, 1, 5), (0, 2, 3)]  # as the router sees them
        self.assertEqual(places, {place: row[0] for place, row in zip(order, expected)})

    def test_logits_of_a_router_that_no_adapter_knows(self):
        model = routers.Model([routers.HomeMade(), routers.HomeMade()])
        with self.assertRaisesRegex(
            ValueError, "no router found in Model; known are: MixtralTopKRouter, "
        ):
            capture_model(model, self.path("run.log"))
        expected = []
        names = ["layers.0.mlp.score", "layers.1.mlp.score"]
        with capture_logits(model, self.path("run.log"), names, top_k=2) as capture:
            for _ in range(2):
                model(tokens())
                expected += seen(model)
        self.assertEqual(capture.disabled, {})
        self.assertEqual(chosen(self.imported("run.log")[1]), expected)

    def test_an_adapter_of_the_callers_own(self):
        def read(router, output):
            best = output.softmax(dim=-1).topk(router.top_k, dim=-1)
            return Choice(best.indices, best.values)

        model = routers.Model([None, routers.HomeMade(), routers.MixtralSparseMoeBlock()])
        mine = Adapter("HomeMade", read, child="score")
        expected = []
        path = self.path("run.log")
        with capture_model(model, path, adapters=[mine, *ADAPTERS], top_k=2) as capture:
            model(tokens())
            expected += seen(model)
        self.assertEqual(capture.disabled, {})
        self.assertEqual(chosen(self.imported("run.log")[1]), expected)
        self.assertEqual(self.layer_numbers, [1, 2])

    def test_recomputation_of_the_whole_model_is_left_out_when_paused(self):
        model = routers.Model([routers.MixtralSparseMoeBlock()])
        with self.capture(model) as capture:
            for _ in range(2):
                start = torch.zeros(
                    1, requires_grad=True
                )  # so that there is something to recompute
                out = checkpoint(lambda x, b: model(b) + x, start, tokens(), use_reentrant=True)
                with capture.paused():
                    out.sum().backward()
            counters = capture.counters()
        self.assertEqual((counters["stored_batches"], counters["forwards_not_recorded"]), (2, 2))

    def test_training_with_recomputation_is_recorded_once(self):
        for kind in ("reentrant", "not reentrant"):
            with self.subTest(kind):
                model = routers.Model(
                    [routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()],
                    recompute=kind,
                )
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                expected = []
                with self.capture(model, overwrite=True) as capture:
                    for _ in range(4):
                        batch = tokens()
                        loss = torch.nn.functional.cross_entropy(
                            model(input_ids=batch).flatten(0, 1), batch.flatten()
                        )
                        expected += seen(model)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    counters = capture.counters()
                self.assertEqual(chosen(self.imported("run.log")[1]), expected)
                self.assertEqual(counters["forwards_not_recorded"], 8)
                self.assertEqual(counters["stored_batches"], 8)

    def test_training_is_not_changed(self):
        def losses(captured):
            torch.manual_seed(3)
            model = routers.Model(
                [
                    routers.MixtralSparseMoeBlock(),
                    routers.DeepseekBlock(routers.DeepseekV3TopkRouter()),
                ]
            )
            optimizer = torch.optim.Adam(model.parameters())
            capture = self.capture(model) if captured else None
            result = []
            for _ in range(5):
                batch = tokens()
                loss = torch.nn.functional.cross_entropy(
                    model(input_ids=batch).flatten(0, 1), batch.flatten()
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                result.append(loss.item())
            if capture:
                capture.close()
            return result

        self.assertEqual(losses(True), losses(False))

    def test_microbatches_of_a_step_append(self):
        model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()])
        expected = []
        with self.capture(model, steps="explicit", token_ids=True) as capture:
            for step in (10, 20):
                capture.step(step)
                for _ in range(3):
                    batch = tokens(1, 4)
                    model(input_ids=batch)
                    expected += [
                        (step, token, row)
                        for token, row in zip(batch.flatten().tolist(), seen(model))
                    ]
            with capture.paused():
                model(input_ids=tokens())
        rows = self.imported("run.log")[1]
        self.assertEqual([(r.step, r.token_id, c) for r, c in zip(rows, chosen(rows))], expected)
        with self.capture(model, overwrite=True) as capture, self.assertRaisesRegex(
            ValueError, 'steps="explicit"'
        ):
            capture.step(3)

    def test_generation_has_requests_and_positions_and_no_padding(self):
        model = routers.Model([routers.MixtralSparseMoeBlock()])
        prompts = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 4]])
        mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
        with self.capture(model, token_ids=True, requests=True) as capture:
            for _ in range(2):  # two batches of two requests
                model(input_ids=prompts, attention_mask=mask)
                model(
                    input_ids=torch.tensor([[1], [2]]),
                    attention_mask=torch.cat([mask, torch.ones(2, 1).long()], 1),
                )
        self.assertEqual(capture.disabled, {})
        rows = self.imported("run.log")[1]
        first = [
            (0, 0, 5),
            (0, 1, 6),
            (1, 0, 7),
            (1, 1, 8),
            (1, 2, 9),
            (1, 3, 4),
            (0, 2, 1),
            (1, 4, 2),
        ]
        again = [(request + 2, position, token) for request, position, token in first]
        self.assertEqual(
            sorted((r.request, r.position, r.token_id) for r in rows), sorted(first + again)
        )

    def test_positions_without_a_mask(self):
        class Cache:
            def get_seq_length(self):
                return 4

        model = routers.Model([routers.MixtralSparseMoeBlock()])
        for first, further in (
            (
                {"position_ids": torch.arange(4).reshape(1, 4)},
                {"position_ids": torch.tensor([[4]])},
            ),
            ({}, {"past_key_values": Cache()}),
        ):
            with self.capture(model, requests=True, overwrite=True) as capture:
                for _ in range(2):
                    model(input_ids=tokens(2, 4), **first)
                    model(input_ids=tokens(2, 1), **further)
                self.assertEqual(capture.disabled, {})
                capture.close()
                rows = self.imported("run.log")[1]
                places = sorted((r.request, r.position) for r in rows)
                self.assertEqual(places, [(q, p) for q in range(4) for p in range(5)])

    def test_padding_can_be_kept(self):
        model = routers.Model([routers.MixtralSparseMoeBlock()])
        mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
        with self.capture(model, keep_padding=True) as capture:
            model(input_ids=tokens(2, 3), attention_mask=mask)
        self.assertEqual(capture.counters()["stored_tokens"], 6)
        with self.capture(model, overwrite=True) as capture:
            model(input_ids=tokens(2, 3), attention_mask=mask)
        self.assertEqual(capture.counters()["stored_tokens"], 3)

    def test_a_router_that_gives_something_else_is_left_out_and_the_host_goes_on(self):
        class Strange(routers.MixtralTopKRouter):
            def forward(self, rows):
                return super().forward(rows)[0]

        class StrangeBlock(routers._Block):
            def __init__(self):
                super().__init__()
                self.router = Strange()

            def route(self, rows):
                weights, ids = self.router(rows).topk(2, dim=-1)
                return ids, weights

        model = routers.Model([StrangeBlock(), routers.MixtralSparseMoeBlock()])
        with warnings.catch_warnings(record=True) as caught, self.capture(model) as capture:
            warnings.simplefilter("always")
            for _ in range(3):
                model(input_ids=tokens())
            counters = capture.counters()
        said = [str(w.message) for w in caught if "moe_capture" in str(w.message)]
        self.assertEqual(
            said,
            [
                "moe_capture: router layers.0.mlp.router is no longer recorded: "
                "layers.0.mlp.router: expected a tuple of ids and weights, got torch.float32 "
                "[15, 8]; MixtralTopKRouter is read as in Transformers 5: (logits, scores, ids)"
            ],
        )
        self.assertEqual((counters["routers_disabled"], counters["stored_batches"]), (1, 3))

    def test_a_forward_that_fails_ends_its_step(self):
        model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()])
        with self.capture(model) as capture:
            with self.assertRaises(IndexError):
                model(input_ids=torch.full((1, 2), 10_000))
            model.layers[0](torch.zeros(1, 2, routers.HIDDEN))  # outside the model's forward
            model(input_ids=tokens(1, 2))
            counters = capture.counters()
        self.assertEqual((counters["forwards_not_recorded"], counters["stored_batches"]), (1, 2))
        self.assertEqual({r.step for r in self.imported("run.log")[1]}, {1})

    def test_close_leaves_the_model_as_it_was(self):
        model = routers.Model([routers.MixtralSparseMoeBlock()])
        self.capture(model).close()
        self.assertNotIn("forward", vars(model))
        self.assertFalse(any(m._forward_hooks for m in model.modules()))

    def test_a_copied_or_saved_model_is_not_captured(self):
        model = routers.Model([routers.MixtralSparseMoeBlock()])
        batch = tokens()
        with self.capture(model) as capture:
            expected = model(batch)
            saved = io.BytesIO()
            torch.save(model, saved)
            saved.seek(0)
            for other in (copy.deepcopy(model), torch.load(saved)):
                self.assertTrue(torch.equal(other(batch), expected))
                with torch.no_grad():
                    other.head.weight.zero_()
                self.assertFalse(torch.equal(other(batch), expected))  # its own weights
            self.assertTrue(torch.equal(model(batch), expected))
            self.assertEqual(capture.counters()["stored_batches"], 2)

    def test_what_the_copies_drop_is_left_out_of_the_trace(self):
        class Copy:
            ended = False

            def query(self):
                return self.ended

        model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()])
        expected = []
        with self.capture(model, steps="explicit") as capture:
            for step in range(3):
                capture.step(step)
                for microbatch in range(2):
                    late = step == 1 and microbatch == 0
                    if late:  # the device is behind, and there is no room to wait for it
                        copy = Copy()
                        nothing = {"ids": torch.zeros(0, 2, dtype=torch.int64)}
                        capture._copies._waiting.append((copy, (step, 0), nothing, 0))
                        limit, capture._copies._limit = capture._copies._limit, 0
                    model(tokens())
                    if late:
                        copy.ended, capture._copies._limit = True, limit
                    if step != 1:
                        expected += seen(model)
            counters = capture.counters()
        self.assertEqual(
            [counters[n] for n in ("stored_batches", "stored_tokens", "dropped_batches")],
            [10, 10 * 15, 2],
        )
        self.assertEqual(counters["batches_dropped_before_the_log"], 2)
        said, rows = self.imported("run.log")
        self.assertIn("no room for 2 batches (30 tokens, 60 choices) within step 1, ", said)
        self.assertIn("15 tokens left out: batches of their step and rank were dropped", said)
        self.assertEqual(chosen(rows), expected)

    def test_the_host_goes_on_where_warnings_are_errors(self):
        def read(router, output):
            raise ValueError("no answer")

        model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()])
        batch = tokens()
        expected = model(batch)
        silent = Adapter("MixtralSparseMoeBlock", read, child="gate")
        capture = self.capture(model, adapters=[silent])
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()) as said:
            warnings.simplefilter("error")
            self.assertTrue(torch.equal(model(batch), expected))
        self.assertEqual(len(capture.disabled), 2)
        self.assertIn("router layers.0.mlp.gate is no longer recorded: no answer", said.getvalue())

    def test_padding_that_cannot_be_left_out_is_said_once(self):
        model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MixtralSparseMoeBlock()])
        forward = model.forward
        model.forward = lambda input_ids, attention_mask=None: forward(input_ids[:, :2])
        mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
        with self.capture(model) as capture, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(2):
                model(input_ids=tokens(2, 3), attention_mask=mask)
        self.assertEqual(
            [str(w.message) for w in said],
            [
                "moe_capture: layers.0.mlp.gate: 4 rows, but the model was given input_ids of "
                "shape (2, 3): the padding that attention_mask shows is recorded too"
            ],
        )
        self.assertEqual(capture.counters()["stored_tokens"], 2 * 2 * 4)

    def test_the_mask_is_waited_for_once_per_forward(self):
        model = routers.Model([routers.MixtralSparseMoeBlock(), routers.MegatronBlock(2)])
        mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
        with self.capture(model) as capture:
            nonzero, waits = torch.Tensor.nonzero, []
            count = lambda tensor: waits.append(tensor) or nonzero(tensor)
            with mock.patch.object(torch.Tensor, "nonzero", count):
                model(input_ids=tokens(2, 3), attention_mask=mask)
            self.assertEqual(len(waits), 1)
        self.assertEqual((capture.disabled, capture.counters()["stored_tokens"]), ({}, 2 * 3))

    def test_wrong_options(self):
        model = routers.Model([routers.MixtralSparseMoeBlock()])
        for mistake, options in (
            ("steps: 'epoch', expected 'forward' or 'explicit'", {"steps": "epoch"}),
            ("layer_numbers: 2 for 1 routers", {"layer_numbers": [1, 2]}),
        ):
            with self.assertRaises(ValueError) as caught:
                self.capture(model, **options)
            self.assertEqual(str(caught.exception), mistake)
        del model.layers[0].mlp.top_k
        with self.assertRaisesRegex(
            ValueError, "layers.0.mlp.gate: the top-k is not known; give top_k="
        ):
            self.capture(model)

    def test_two_processes_are_two_ranks(self):
        script = Path(__file__).with_name("two_ranks.py")
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}  # any other may be missing
        address = f"file://{self.path('rendezvous')}"
        ranks = [
            subprocess.Popen(
                [sys.executable, script, address, str(rank), self.path("run.log")],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        said = [rank.communicate(timeout=200)[0] for rank in ranks]
        self.assertEqual([rank.returncode for rank in ranks], [0, 0])
        rows = self.imported("run.rank0.log", "run.rank1.log")[1]
        expected = [
            [json.loads(line) for line in text.splitlines()] for text in said
        ]  # printed by two_ranks.py
        self.assertEqual(
            [(r.step, r.rank, c) for r, c in zip(rows, chosen(rows))],
            [
                (step, rank, ids)
                for step in range(2)
                for rank in range(2)
                for ids in expected[rank][step]
            ],
        )


@needs_torch
class HostCopiesTest(unittest.TestCase):
    """The queue of copies, with copies that end when the test says so (there is no device here)."""

    def test_batches_are_written_in_order_once_they_have_arrived(self):
        from moe_capture.host_copies import HostCopies

        written = []
        dropped = []
        copies = HostCopies(
            lambda where, fields: written.append(where),
            lambda *what: dropped.append(what),
            limit_bytes=100,
        )

        class Copy:
            ended = False

            def query(self):
                return self.ended

            def synchronize(self):
                self.ended = True

        first, second = Copy(), Copy()
        copies._waiting.extend([(first, "a", {}, 40), (second, "b", {}, 40)])
        copies._bytes = 80
        second.ended = True
        copies.put("c", {"ids": torch.zeros(2, dtype=torch.int64)})  # waits behind the two
        self.assertEqual(written, [])
        copies.put("d", {"ids": torch.zeros(1, 2, dtype=torch.int64)})  # no room
        self.assertEqual((copies.dropped, dropped), (1, [("d", 1, 2)]))
        first.ended = True
        copies.put("e", {"ids": torch.zeros(2, dtype=torch.int64)})
        self.assertEqual(written, ["a", "b", "c", "e"])
        copies._waiting.append((Copy(), "f", {}, 1))
        copies.drain(wait=True)
        self.assertEqual(written[-1], "f")
