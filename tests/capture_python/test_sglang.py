"""Dumps as SGLang's expert distribution recorder writes them, made here by the real torch.save,
into a trace.
"""

import collections
import io
import pickle
import random
import subprocess
import sys
import tracemalloc
import zipfile

from support import Case, needs_torch, numpy, torch
from moe_capture import torch_file
from moe_capture.sglang import WrongDump, import_dumps

# Two layers, of which the first is dense; three logical experts on four physical ones, expert 1 of
# the second layer twice.
MAP = [[0, 1, 2, 0], [0, 1, 2, 1]]


def token_record(forward_pass, rank, tokens, ids, prefill):
    """ids: per token its physical experts in the second layer; the recorder has room for 3, unused
    are -1.
    """
    rows = torch.full((2, len(tokens), 3), -1, dtype=torch.int32)
    for token, experts in enumerate(ids):
        rows[1, token, : len(experts)] = torch.tensor(experts, dtype=torch.int32)
    return {
        "forward_pass_id": forward_pass,
        "rank": rank,
        "gatherer_key": "primary",
        "input_ids": tokens,
        "positions": list(range(len(tokens))),
        "extend_seq_lens": [len(tokens)] if prefill else None,
        "forward_mode": 1,
        "topk_ids_of_layer": rows,
        "misc_objects": [],
        "global_physical_count": torch.zeros(2, 4, dtype=torch.int32),
    }


@needs_torch
class SglangTest(Case):
    def save(self, name, value):
        torch.save(value, self.path(name))
        return self.path(name)

    def convert(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "moe_capture", "sglang", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )

    def converted(self, *arguments):
        done = self.convert(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_tokens_of_two_ranks(self):
        for rank in range(2):
            # A slice that keeps its large storage, as the recorder's buffers would without clone().
            self.save(
                f"rank{rank}.pt",
                {
                    "last_physical_to_logical_map": torch.tensor(MAP + MAP)[:2],
                    "records": [
                        token_record(7, rank, [11, 12], [[3, 0], [1, 2]], True),
                        token_record(8, rank, [13], [[2, rank]], False),
                    ],
                },
            )
        said = self.converted("rank0.pt", "rank1.pt", "-o", "run.log", "--model", "tiny")
        self.assertEqual(
            said,
            "run.log: 6 tokens of 2 steps, 2 ranks, 1 layers, 3 experts (per_token)\n"
            "note: layers without any choice are left out: 0\n",
        )
        _, rows = self.imported("run.log")
        self.assertEqual(
            [(r.step, r.rank, r.token_id, r.ids) for r in rows],
            [
                (7, 0, 11, [[1, 0]]),
                (7, 0, 12, [[1, 2]]),
                (7, 1, 11, [[1, 0]]),
                (7, 1, 12, [[1, 2]]),
                (8, 0, 13, [[2, 0]]),
                (8, 1, 13, [[2, 1]]),
            ],
        )
        info = self.simulate("trace", "info", self.path("imported.moetrace"))
        self.assertIn("prefill", info)
        self.assertIn("decode", info)

    def test_counts_of_stat_mode(self):
        counts = torch.tensor([[[0, 0, 0], [5, 1, 0]], [[0, 0, 0], [2, 2, 2]]])
        self.save(
            "stat.pt",
            {"rank": 0, "logical_count": counts, "average_utilization_rate_over_window": None},
        )
        said = self.converted("stat.pt", "-o", "counts.npy")
        self.assertEqual(
            said,
            "counts.npy: counts of 2 steps, 1 layers, 3 experts (stat)\n"
            "note: layers without any choice are left out: 0\n",
        )
        self.assertEqual(numpy.load(self.path("counts.npy")).tolist(), [[[5, 1, 0]], [[2, 2, 2]]])
        self.simulate(
            *("trace", "import", self.path("counts.npy"), "-o", self.path("counts.moetrace")),
            *("--model", "tiny", "--top-k", "2"),
        )
        counts = [line.split("|")[1].split() for line in self.lines_of("counts.moetrace")[1:]]
        self.assertEqual(counts, [["5", "1", "0"], ["2", "2", "2"]])

    def test_counts_per_pass_are_summed_over_ranks_and_replicas(self):
        def record(forward_pass, rank, counts):
            return {
                "forward_pass_id": forward_pass,
                "rank": rank,
                "gatherer_key": "primary",
                "global_physical_count": torch.tensor([[0, 0, 0, 0], counts]),
            }

        for rank in range(2):
            self.save(
                f"rank{rank}.pt",
                {
                    "last_physical_to_logical_map": torch.tensor(MAP),
                    "records": [record(4, rank, [1, 2, 3, 4]), record(3, rank, [0, 0, 0, rank])],
                },
            )
        said = self.converted("rank0.pt", "rank1.pt", "-o", "counts.npy")
        self.assertIn("note: forward passes 3 to 4 are steps 0 to 1\n", said)
        self.assertEqual(numpy.load(self.path("counts.npy")).tolist(), [[[0, 1, 0]], [[2, 12, 6]]])

    def test_what_is_wrong_is_said(self):
        good = {
            "last_physical_to_logical_map": torch.tensor(MAP),
            "records": [token_record(0, 0, [1], [[0]], True)],
        }
        beyond = {**good, "records": [token_record(0, 0, [1], [[4]], True)]}
        few = {**good, "records": [{**token_record(0, 0, [1], [[0]], True), "input_ids": []}]}
        self.save("stat.pt", {"logical_count": torch.ones(1, 2, 3)})
        (self.folder / "there.log").touch()
        for name, value, mistake in (
            (
                "list.pt",
                [1],
                "list.pt: neither logical_count nor records in it: no dump of SGLang's expert "
                "distribution recorder",
            ),
            (
                "beyond.pt",
                beyond,
                "beyond.pt: topk_ids_of_layer: an id is not among the 4 physical experts; with the "
                "shared expert "
                "fused into the choice, record without --enable-shared-experts-fusion",
            ),
            (
                "few.pt",
                few,
                "few.pt: input_ids: expected 1 numbers, as topk_ids_of_layer has tokens",
            ),
            (
                "nan.pt",
                {"logical_count": torch.ones(1, 2, 3) / 3},
                "nan.pt: logical_count: numbers that are not whole",
            ),
            ("zero.pt", {"logical_count": torch.zeros(1, 2, 3)}, "zero.pt: every count is 0"),
        ):
            with self.subTest(name):
                self.save(name, value)
                done = self.convert(name, "-o", "out")
                self.assertEqual((done.returncode, done.stderr), (1, mistake + "\n"))
        self.save("good.pt", good)
        self.assertEqual(
            self.convert("good.pt", "stat.pt", "-o", "out").stderr,
            "files of several modes: good.pt is per_token, stat.pt is stat\n",
        )
        self.assertEqual(
            self.convert("good.pt", "-o", "there.log").stderr,
            "there.log is there already; --overwrite replaces it\n",
        )

    def test_code_in_a_file_is_not_run(self):
        class Attack:
            def __reduce__(self):
                return print, ("I was run",)

        self.save("attack.pt", {"logical_count": Attack()})
        done = self.convert("attack.pt", "-o", "out")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr),
            (
                1,
                "",
                "attack.pt: it wants __builtin__.print, which is neither a number, text, a list, a "
                "dict nor a dense tensor; not "
                "loaded, since that could run code of the file's author\n",
            ),
        )

    def test_damaged_files_are_refused(self):
        self.save("good.pt", {"logical_count": torch.ones(2, 2, 3)})
        content = (self.folder / "good.pt").read_bytes()
        refused = 0
        for at in range(0, len(content), 7):
            for damaged in (
                content[:at],
                content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :],
            ):
                (self.folder / "bad.pt").write_bytes(damaged)
                try:
                    torch_file.load(self.path("bad.pt"))
                except torch_file.FileRefused:
                    refused += 1
        self.assertGreater(
            refused, len(content) // 7
        )  # every cut, and the flips that meet something

    def test_many_tensors_of_one_storage_are_refused(self):
        one = torch.zeros(1000, dtype=torch.int64)
        self.save("few.pt", [one[:], one[1:]])
        self.assertEqual([len(t) for t in torch_file.load(self.path("few.pt"))], [1000, 999])
        self.save("many.pt", [one[:] for _ in range(1000)])
        with self.assertRaisesRegex(torch_file.FileRefused, "many.pt: its tensors are more than 8"):
            torch_file.load(self.path("many.pt"))

    def test_a_directory_that_claims_much_or_shares_bytes_is_refused(self):
        """The limit is of the file's own length, not of what its directory says."""
        self.save("good.pt", torch.arange(6))
        content = bytearray((self.folder / "good.pt").read_bytes())
        for entry in zipfile.ZipFile(self.path("good.pt")).infolist():
            at = content.rindex(entry.filename.encode()) - 46  # its place in the directory
            self.assertEqual(content[at : at + 4], b"PK\1\2")
            content[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
        (self.folder / "bad.pt").write_bytes(content)
        with self.assertRaisesRegex(torch_file.FileRefused, "would be larger than the file"):
            torch_file.load(self.path("bad.pt"))

        # A storage that is read again and again, by turns as another type, and kept by no tensor.
        self.save("good.pt", torch.arange(1000))

        def reads(times):
            content = b"\x80\x02]("
            for turn in range(times):
                kind, numbers = (b"Long", 1000) if turn % 2 else (b"Int", 2000)
                content += b"(X\7\0\0\0storagectorch\n" + kind + b"Storage\nX\1\0\0\x000"
                content += b"X\3\0\0\0cpuJ" + numbers.to_bytes(4, "little") + b"tQ"
            self.with_pickle(content + b"e.")

        reads(4)
        self.assertEqual(len(torch_file.load(self.path("bad.pt"))), 4)
        reads(20)
        with self.assertRaisesRegex(torch_file.FileRefused, "more than 8 times the file"):
            torch_file.load(self.path("bad.pt"))

    def test_what_a_file_names_is_not_printed_without_end(self):
        laughs = []
        for _ in range(60):  # 2^60 words as text
            laughs = [laughs, laughs]
        record = {**token_record(0, 0, [1], [[0]], True), "rank": laughs}
        self.save(
            "laughs.pt", {"last_physical_to_logical_map": torch.tensor(MAP), "records": [record]}
        )
        done = self.convert("laughs.pt", "-o", "out")
        self.assertEqual(
            (done.returncode, done.stderr),
            (1, "laughs.pt: a record's rank: expected a number from 0, got a list\n"),
        )

    def test_more_passes_than_the_file_can_count_are_refused(self):
        shared = torch.zeros(2, 400, dtype=torch.int32)
        records = [
            {"forward_pass_id": n, "rank": 0, "global_physical_count": shared} for n in range(900)
        ]
        self.save(
            "shared.pt",
            {"last_physical_to_logical_map": torch.arange(400).repeat(2, 1), "records": records},
        )
        done = self.convert("shared.pt", "-o", "out")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(
            done.stderr, "shared.pt: more forward passes than so small a file can count\n"
        )

    def test_any_bytes_give_a_message_or_a_result(self):
        """Flips, cuts and copied pieces of valid dumps, in the archive and, with the checksums made
        good, in its pickle.
        """
        ids = [[3, 0], [1, 2]]
        self.save(
            "tokens.pt",
            {
                "last_physical_to_logical_map": torch.tensor(MAP),
                "records": [
                    token_record(7, 0, [11, 12], ids, True),
                    token_record(8, 0, [13], [[2]], False),
                ],
            },
        )
        self.save(
            "passes.pt",
            {
                "last_physical_to_logical_map": torch.tensor(MAP),
                "records": [
                    {"forward_pass_id": n, "rank": 0, "global_physical_count": torch.ones(2, 4)}
                    for n in range(2)
                ],
            },
        )
        self.save("stat.pt", {"logical_count": torch.ones(2, 2, 3)})
        chance = random.Random(5)
        outcomes = collections.Counter()
        kinds = {"tokens.pt": 250, "passes.pt": 200, "stat.pt": 100}
        tracemalloc.start()
        for name, rounds in kinds.items():
            whole = (self.folder / name).read_bytes()
            with zipfile.ZipFile(self.path(name)) as source:
                parts = {info.filename: source.read(info) for info in source.infolist()}
            for turn in range(rounds):
                bad = self.path("bad.pt")
                if turn % 4 == 0:
                    (self.folder / "bad.pt").write_bytes(_mutated(whole, chance))
                else:
                    part = chance.choice([n for n in parts if n.endswith(".pkl") or "/data/" in n])
                    if turn % 4 < 3:
                        part = next(n for n in parts if n.endswith("data.pkl"))
                    with zipfile.ZipFile(bad, "w") as archive:
                        for entry, content in parts.items():
                            archive.writestr(
                                entry, _mutated(content, chance) if entry == part else content
                            )
                try:
                    import_dumps([bad], self.path("out"), overwrite=True)
                    outcomes["imported"] += 1
                except (WrongDump, torch_file.FileRefused, OSError, ValueError) as mistake:
                    outcomes[type(mistake).__name__] += 1
                    self.assertLess(len(str(mistake)), 1000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(most, 32 << 20)
        self.assertGreater(outcomes["imported"], 20, outcomes)
        self.assertGreater(outcomes["FileRefused"], 100, outcomes)
        self.assertGreater(outcomes["WrongDump"], 20, outcomes)

    def with_pickle(self, content):
        """good.pt with another data.pkl, as bad.pt."""
        source = zipfile.ZipFile(self.path("good.pt"))
        with zipfile.ZipFile(self.path("bad.pt"), "w") as bad:
            for info in source.infolist():
                is_pickle = info.filename.endswith("data.pkl")
                bad.writestr(info.filename, content if is_pickle else source.read(info))

    def test_a_pickle_that_wants_much_memory_is_refused(self):
        self.save("good.pt", torch.arange(6))
        self.with_pickle(b"\x80\x02Nr" + (2**32 - 1).to_bytes(4, "little") + b".")
        with self.assertRaisesRegex(torch_file.FileRefused, "it remembers value 4294967295 in 9"):
            torch_file.load(self.path("bad.pt"))

    def test_a_tensor_beyond_its_storage_is_refused(self):
        self.save("good.pt", torch.arange(6).reshape(2, 3))
        for size, stride in (
            ((2, 3), (3, 1)),
            ((2, 4), (4, 1)),
            ((2**40, 3), (0, 1)),
            ((2, 3), (2**62, 1)),
            ((-1, 3), (3, 1)),
        ):
            stream = io.BytesIO()

            class Pickler(
                pickle._Pickler
            ):  # the Python one, whose save_global can be told what to write
                def persistent_id(self, value):
                    return (
                        ("storage", _Name("torch", "LongStorage"), "0", "cpu", 6)
                        if value == "STORAGE"
                        else None
                    )

                def save(self, value, save_persistent_id=True):
                    if isinstance(value, _Name):
                        self.write(
                            b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n"
                        )
                    else:
                        super().save(value, save_persistent_id)

            pickler = Pickler(stream, 2)
            pickler.write(b"\x80\x02")
            pickler.save(_Name("torch._utils", "_rebuild_tensor_v2"))
            pickler.save(("STORAGE", 0, size, stride, False, {}))
            pickler.write(b"R.")
            self.with_pickle(stream.getvalue())
            with self.subTest(size=size, stride=stride):
                if size == (2, 3) and stride == (3, 1):
                    value = torch_file.load(self.path("bad.pt"))
                    self.assertEqual(value.tolist(), [[0, 1, 2], [3, 4, 5]])
                else:
                    with self.assertRaisesRegex(torch_file.FileRefused, "a tensor (of shape|with)"):
                        torch_file.load(self.path("bad.pt"))


def _mutated(content, chance):
    """One to three changes of `content`: a byte flipped or set, an end cut, a piece doubled."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(content) or 1)
        how = chance.randrange(5)
        if how == 0:
            content = content[:at]
        elif how == 1:
            content[at:at] = content[at : at + chance.randint(1, 40)]
        elif at < len(content):
            flipped = content[at] ^ 1 << chance.randrange(8)
            content[at] = chance.randrange(256) if how == 2 else flipped
    return bytes(content)


class _Name:
    def __init__(self, module, name):
        self.module, self.name = module, name
