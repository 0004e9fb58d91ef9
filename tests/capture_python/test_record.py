"""Capture.record by hand: every kind of memory, every column, every mistake."""

import array
import multiprocessing
import os
import re
import subprocess
import sys

from moe_capture import Capture
from support import Case, needs_numpy, needs_torch, numpy, torch

IDS = [[0, 5], [3, 1], [7, 2]]


class RecordTest(Case):
    def capture(self, **options):
        arguments = {"experts": [8], "top_k": 2, "overwrite": True, **options}
        log = Capture(self.path("run.log"), **arguments)
        self.addCleanup(log.close)
        return log

    def ids_after(self, values, **options):
        """The ids of the trace after recording `values` as one step each."""
        with self.capture(**options) as log:
            for step, value in enumerate(values):
                self.assertTrue(log.record(step=step, layer=0, ids=value))
        _, rows = self.imported("run.log")
        return [[row.ids[0] for row in rows if row.step == step] for step in range(len(values))]

    def test_lists_and_buffers(self):
        flat = [n for row in IDS for n in row]
        values = [
            IDS,
            memoryview(array.array("q", flat)).cast("B").cast("q", (3, 2)),
            memoryview(bytes(flat)).cast("B", (3, 2)),
            memoryview(array.array("i", flat)).cast("B").cast("i", (3, 2)),
            memoryview(array.array("H", flat)).cast("B").cast("H", (3, 2)),
        ]
        self.assertEqual(self.ids_after(values), [IDS] * len(values))

    def test_one_dimension_is_top_1(self):
        self.assertEqual(self.ids_after([[4, 6, 0]], top_k=1), [[[4], [6], [0]]])

    @needs_numpy
    def test_arrays_of_every_type_and_layout(self):
        ids = numpy.array(IDS)
        wide = numpy.full((6, 5), 99)
        wide[::2, 1:3] = ids
        read_only = ids.copy()
        read_only.flags.writeable = False
        unaligned = numpy.frombuffer(b"\0" + ids.tobytes(), dtype="u1")[1:].view("i8").reshape(3, 2)
        values = [ids.astype(t) for t in ("i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", ">i4")]
        values += [numpy.asfortranarray(ids), wide[::2, 1:3], ids[::-1][::-1], read_only, unaligned]
        self.assertEqual(self.ids_after(values), [IDS] * len(values))

    @needs_torch
    def test_tensors_of_every_type_and_layout(self):
        ids = torch.tensor(IDS)
        wide = torch.full((6, 5), 99)
        wide[::2, 1:3] = ids
        values = [
            ids,
            ids.int(),
            ids.short(),
            ids.to(torch.uint8),
            ids.to(torch.int8),
            ids.t().contiguous().t(),
            wide[::2, 1:3],
        ]
        self.assertEqual(self.ids_after(values), [IDS] * len(values))

    @needs_torch
    def test_every_column(self):
        weights = torch.tensor([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0]])
        with self.capture(
            experts=[8, 300], layer_numbers=[1, 3], weights=True, token_ids=True, tags=True
        ) as log:
            tag = log.tag("code")
            self.assertEqual((log.tag("prose"), log.tag("code")), (1, 0))
            log.record(
                step=4,
                layer=0,
                rank=3,
                ids=IDS,
                weights=weights,
                token_ids=torch.tensor([11, 12, 13]),
                tags=torch.tensor([tag, tag, 1]),
            )
            log.record(
                step=4,
                layer=1,
                rank=3,
                ids=[[299, 0], [1, 2], [3, 4]],
                weights=weights.double(),
                choices=[2, 1, 0],
            )
            log.record(
                step=5,
                layer=0,
                ids=torch.zeros(0, 2, dtype=torch.long),
                weights=torch.zeros(0, 2),
                token_ids=[],
                tags=0,
            )
        said, rows = self.imported("run.log")
        self.assertEqual(
            [(r.step, r.rank, r.token_id) for r in rows], [(4, 3, 11), (4, 3, 12), (4, 3, 13)]
        )
        self.assertEqual([r.ids for r in rows], [[[0, 5], [299, 0]], [[3, 1], [1]], [[7, 2], []]])
        self.assertEqual(
            [r.weights for r in rows], [[[0.75, 0.25]] * 2, [[0.5, 0.5], [0.5]], [[1.0, 0.0], []]]
        )
        self.assertIn("code", self.simulate("trace", "info", self.path("imported.moetrace")))

    def test_what_is_wrong_is_said_and_not_recorded(self):
        for mistake, arguments in (
            ("an id is not an expert of this layer", {"ids": [[0, 8]]}),
            ("an id is not an expert of this layer", {"ids": [[0, -1]]}),
            ("top_k is not 1 to options.top_k", {"ids": [[0, 1, 2]]}),
            ("layer is not below options.layers", {"layer": 1}),
            ("layer: -1, expected a number from 0 to 4294967295", {"layer": -1}),
            ("step: -1, expected a number from 0 to 9007199254740992", {"step": -1}),
            (
                "step: 18446744073709551621, expected a number from 0 to 9007199254740992",
                {"step": 2**64 + 5},  # whose low bits are 5
            ),
            ("step: 1.5, expected a number from 0 to 9007199254740992", {"step": 1.5}),
            ("ids: rows of different lengths; pad them and give choices=", {"ids": [[0, 1], [2]]}),
            ("ids: expected a tensor, an array, a buffer or a list, got str", {"ids": "01"}),
            (
                "ids: a buffer of float32, expected int64 or int32 or uint16 or uint8",
                {"ids": array.array("f", [1])},
            ),
            ("weights: expected [1, 2] as ids, got [2, 1]", {"weights": [0.5, 0.5]}),
            ("a column is given that options.flags did not announce", {"weights": [[0.5, 0.5]]}),
            ("a column is given that options.flags did not announce", {"token_ids": [5]}),
            ("token_ids: expected [1], one per token, got [2]", {"token_ids": [5, 6]}),
            ("choices: unsigned byte integer is greater than maximum", {"choices": [256]}),
            ("a token has more choices than top_k", {"choices": [3]}),
        ):
            with self.subTest(mistake), self.capture() as log:
                with self.assertRaises((ValueError, TypeError)) as caught:
                    log.record(**{"step": 0, "layer": 0, "ids": [[0, 1]], **arguments})
                self.assertEqual(str(caught.exception), mistake)
                self.assertEqual(log.counters()["stored_batches"], 0)

    def test_wrong_options(self):
        for experts, more in (
            ([], {}),
            ([0], {}),
            ([-1], {}),
            ([8], {"top_k": 0}),
            ([8], {"layer_numbers": [1, 2]}),
            (["8"], {}),
            ([8], {"buffer_bytes": 1}),
            ([8], {"buffer_bytes": 2**64 + 2**20}),
            ([8], {"buffer_bytes": -1}),
            ([8], {"model": "tiny\0"}),
            ([8], {"provenance": "a\0test"}),
        ):
            with self.subTest(experts=experts, **more), self.assertRaises((ValueError, OSError)):
                self.capture(experts=experts, **more)
        with self.assertRaisesRegex(ValueError, "path: there is a NUL in it"):
            Capture(self.path("run.log\0.txt"), experts=[8], top_k=2)
        with self.assertRaisesRegex(OSError, "no/folder/run.log"):
            Capture(self.path("no/folder/run.log"), experts=[8], top_k=2)
        self.capture().close()
        with self.assertRaisesRegex(OSError, "run.log"):
            self.capture(overwrite=False)

    def test_a_tag_with_a_nul_is_refused(self):
        with self.capture(tags=True) as log:
            self.assertEqual(log.tag("a"), 0)
            with self.assertRaisesRegex(ValueError, "tag: there is a NUL in it"):
                log.tag("a\0b")

    def test_a_drop_of_the_callers_leaves_the_step_out(self):
        with self.capture() as log:
            for step in range(3):
                log.record(step=step, layer=0, ids=IDS)
            log.drop(step=1, layer=0, tokens=4, choices=8)
            with self.assertRaisesRegex(ValueError, "layer is not below options.layers"):
                log.drop(step=1, layer=1, tokens=4, choices=8)
            with self.assertRaisesRegex(ValueError, "tokens: -1, expected a number"):
                log.drop(step=1, layer=0, tokens=-1, choices=8)
            counters = log.counters()
        self.assertEqual((counters["dropped_batches"], counters["dropped_tokens"]), (1, 4))
        said, rows = self.imported("run.log")
        self.assertEqual([r.step for r in rows], [0] * 3 + [2] * 3)
        self.assertIn("imported.moetrace: 6 rows read as capture-log\n", said)
        with self.assertRaisesRegex(ValueError, "this capture is closed"):
            log.drop(step=1, layer=0, tokens=4, choices=8)

    def test_a_closed_log_takes_no_more(self):
        log = self.capture()
        log.record(step=0, layer=0, ids=IDS)
        log.close()
        log.close()
        self.assertEqual(log.counters()["stored_choices"], 6)
        with self.assertRaisesRegex(ValueError, "this capture is closed"):
            log.record(step=1, layer=0, ids=IDS)

    def test_a_host_that_ends_without_close_leaves_a_whole_log(self):
        host = (
            "from moe_capture import Capture\n"
            f"log = Capture({self.path('run.log')!r}, experts=[8], top_k=2)\n"
            "for step in range(500): log.record(step=step, layer=0, ids=[[1, 2], [3, 4]])\n"
        )
        for ending in ("", "import sys; sys.exit(3)", "raise ValueError", "del log"):
            with self.subTest(ending):
                (self.folder / "run.log").unlink(missing_ok=True)
                subprocess.run([sys.executable, "-c", host + ending], stderr=subprocess.DEVNULL)
                said, rows = self.imported("run.log")
                self.assertEqual(len(rows), 1000)
                self.assertNotIn("note", said)

    def test_full_buffer_drops_counts_and_says_so(self):
        offered = 0
        with self.capture(buffer_bytes=64 << 10) as log:
            rows = bytes(2 * 4000)  # expert 0 twice
            view = memoryview(rows).cast("B", (4000, 2))
            stored = 0
            for step in range(4000):
                stored += log.record(step=step, layer=0, ids=view)
                offered += 1
                if stored < offered - 3:
                    break
            counters = log.counters()
        self.assertEqual(counters["stored_batches"] + counters["dropped_batches"], offered)
        self.assertEqual(counters["stored_choices"] + counters["dropped_choices"], offered * 8000)
        self.assertGreater(counters["dropped_batches"], 0)
        said, rows = self.imported("run.log")
        # A batch of which only a part was stored cannot be a step of the trace, and import says how
        # many tokens that concerns.
        left_out = re.search(
            r"note: (\d+) tokens left out: batches of their step and rank were dropped", said
        )
        self.assertEqual(
            len(rows) + (int(left_out[1]) if left_out else 0), counters["stored_tokens"]
        )
        self.assertIn(
            f"no room for {counters['dropped_batches']} batches ({counters['dropped_tokens']} "
            "tokens",
            said,
        )

    def test_a_forked_child_leaves_the_log_alone(self):
        with self.capture() as log:
            log.record(step=0, layer=0, ids=IDS)
            child = multiprocessing.get_context("fork").Process(
                target=_record_in_child, args=(log,)
            )
            child.start()
            child.join(100)
            self.assertEqual(child.exitcode, 0)
            log.record(step=1, layer=0, ids=IDS)
        _, rows = self.imported("run.log")
        self.assertEqual([r.step for r in rows], [0, 0, 0, 1, 1, 1])


def _record_in_child(log):
    try:
        log.record(step=0, layer=0, ids=IDS)
    except ValueError as mistake:
        log.close()
        os._exit(0 if "forked" in str(mistake) else 3)
    os._exit(2)
