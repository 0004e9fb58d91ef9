"""Dumps of SGLang's expert distribution recorder (expert_distribution_recorder_*.pt) as our raw log
or as counts.

Its modes, by what a file holds (SGLang 0.4.6 to 0.5; srt/eplb/expert_distribution.py):
  stat, stat_approx: {rank, logical_count [steps, layers, experts], ...}: counts, which SGLang has
    already summed over ranks
  per_pass: {records: [{forward_pass_id, rank, gatherer_key, global_physical_count [layers, physical
    experts]}], last_physical_to_logical_map [layers, physical experts]}: counts of one rank
  per_token: the same, each record also with input_ids, extend_seq_lens and topk_ids_of_layer
    [layers, tokens, k], whose ids are physical experts and -1 where there is no choice: tokens of
    one rank
Physical experts (replicas) become logical ones by last_physical_to_logical_map, which SGLang keeps
only as it was at the end: a run that rebalanced in between is mapped wrongly, and no dump says
whether it did. Counts become a .npy [step, layer, expert]; tokens a raw log with the step
(forward_pass_id), the rank, the token ids and the tag prefill or decode. Layers without any choice
(dense ones) are left out.
"""

import os

from .capture import Capture
from .torch_file import load


# Tokens written between two flushes: all their layers fit the log's buffer of 64 MiB (4096 tokens x
# 61 layers x 8 choices: 2 MB).
_PIECE = 4096


class WrongDump(Exception):
    """A file that is no dump of the recorder, or whose parts do not fit."""


def import_dumps(paths, out, model="", overwrite=False):
    """Converts the dumps of one run (per_pass and per_token: one file per rank) to `out`; returns
    lines that say what was done.

    model: name for the raw log. Raises WrongDump, FileRefused, OSError.
    """
    import numpy

    if not overwrite and os.path.exists(out):
        raise WrongDump(f"{out} is there already; --overwrite replaces it")
    dumps = [(path, load(path)) for path in paths]
    modes = {path: _mode(path, dump) for path, dump in dumps}
    if len(set(modes.values())) != 1:
        raise WrongDump(
            "files of several modes: "
            + ", ".join(f"{path} is {mode}" for path, mode in modes.items())
        )
    mode = next(iter(modes.values()))
    if mode == "stat":
        if len(dumps) != 1:
            raise WrongDump("a stat dump is a sum over all ranks already: give one file")
        counts = _array(dumps[0][0], "logical_count", dumps[0][1]["logical_count"], (2, 3))
        steps, counts = list(range(len(counts))) if counts.ndim == 3 else [0], counts.reshape(
            -1, *counts.shape[-2:]
        )
    elif mode == "per_pass":
        steps, counts = _sum_of_passes(dumps)
    else:
        return _write_tokens(dumps, out, model, overwrite)
    if (counts < 0).any():
        raise WrongDump(f"{paths[0]}: a count is below 0")
    kept = counts.sum(axis=(0, 2)) > 0
    if not kept.any():
        raise WrongDump(f"{paths[0]}: every count is 0")
    with open(out, "wb") as file:
        numpy.save(file, numpy.ascontiguousarray(counts[:, kept]))
    lines = [
        f"{out}: counts of {len(steps)} steps, {int(kept.sum())} layers, {counts.shape[2]} experts "
        f"({mode})"
    ]
    if steps != list(range(len(steps))):
        lines.append(
            f"note: forward passes {steps[0]} to {steps[-1]} are steps 0 to {len(steps) - 1}"
        )
    return lines + _left_out(kept)


def _left_out(kept):
    missing = [str(n) for n, there in enumerate(kept) if not there]
    return (
        [f"note: layers without any choice are left out: {', '.join(missing)}"] if missing else []
    )


def _mode(path, dump):
    if isinstance(dump, dict) and "logical_count" in dump:
        return "stat"
    records = dump.get("records") if isinstance(dump, dict) else None
    if (
        not isinstance(records, list)
        or not records
        or not all(isinstance(r, dict) for r in records)
    ):
        raise WrongDump(
            f"{path}: neither logical_count nor records in it: no dump of SGLang's expert "
            "distribution recorder"
        )
    return "per_token" if "topk_ids_of_layer" in records[0] else "per_pass"


def _array(path, what, value, dimensions):
    if getattr(value, "ndim", None) not in dimensions or value.dtype.kind not in "iuf":
        raise WrongDump(
            f"{path}: {what}: expected a tensor of numbers with "
            f"{' or '.join(map(str, dimensions))} dimensions"
        )
    import numpy

    with numpy.errstate(invalid="ignore"):  # of a NaN, which is refused
        whole = value.astype("int64")
    if (whole != value).any():
        raise WrongDump(f"{path}: {what}: numbers that are not whole")
    return whole


def _number(path, record, key):
    value = record.get(key)
    if type(value) is not int or value < 0:
        # (a repr of nested lists that name each other could be without end)
        got = value if type(value) is int and abs(value) < 2**63 else f"a {type(value).__name__}"
        raise WrongDump(f"{path}: a record's {key}: expected a number from 0, got {got}")
    return value


def _map_of(path, dump):
    """Logical expert of each physical one [layers, physical], and the number of logical experts."""
    if "last_physical_to_logical_map" not in dump:
        raise WrongDump(f"{path}: no last_physical_to_logical_map")
    logical = _array(
        path, "last_physical_to_logical_map", dump["last_physical_to_logical_map"], (2,)
    )
    if not logical.size or logical.min() < 0 or logical.max() >= logical.shape[1]:
        raise WrongDump(
            f"{path}: last_physical_to_logical_map: expected logical experts below "
            f"{logical.shape[-1]}"
        )
    return logical, int(logical.max()) + 1


def _sum_of_passes(dumps):
    """(forward pass ids in order, counts [passes, layers, logical experts]) over all files."""
    import numpy

    sums, shape = {}, None
    # Records may share a tensor, a sum is made for each: the counts of a recorder's own dump take a
    # fourth of this.
    most = 8 * sum(os.path.getsize(path) for path, _ in dumps)
    for path, dump in dumps:
        logical, experts = _map_of(path, dump)
        if shape not in (None, (len(logical), experts)):
            raise WrongDump(
                f"{path}: {len(logical)} layers and {experts} experts, unlike the file before"
            )
        shape = (len(logical), experts)
        for record in dump["records"]:
            counts = _array(
                path, "global_physical_count", record.get("global_physical_count"), (2,)
            )
            if counts.shape != logical.shape or (counts < 0).any():
                raise WrongDump(
                    f"{path}: global_physical_count: expected counts {list(logical.shape)}, got "
                    f"{list(counts.shape)}"
                )
            forward_pass = _number(path, record, "forward_pass_id")
            if forward_pass not in sums:
                sums[forward_pass] = numpy.zeros(shape, dtype=numpy.int64)
                if len(sums) * sums[forward_pass].nbytes > most:
                    raise WrongDump(f"{path}: more forward passes than so small a file can count")
            layers = numpy.broadcast_to(numpy.arange(len(logical))[:, None], logical.shape)
            numpy.add.at(sums[forward_pass], (layers, logical), counts)
    passes = sorted(sums)
    return passes, numpy.stack([sums[p] for p in passes])


def _survey_tokens(dumps):
    """Checks every record. Returns (records in order of step and rank, which layers have a choice
    [layers], most choices of a token, number of experts); a record is (step, rank, phase, physical
    ids [layers, tokens, k], their logical experts [layers, physical experts], token ids).
    """
    records, experts, most, kept = [], 0, 0, None
    for path, dump in dumps:
        logical, count = _map_of(path, dump)
        experts = max(experts, count)
        for record in dump["records"]:
            ids = record.get("topk_ids_of_layer")
            _array(path, "topk_ids_of_layer", ids, (3,))
            layers = len(logical) if kept is None else len(kept)
            if len(ids) != len(logical) or len(ids) != layers:
                raise WrongDump(f"{path}: topk_ids_of_layer: {len(ids)} layers, expected {layers}")
            if ids.size and (ids.min() < -1 or ids.max() >= logical.shape[1]):
                raise WrongDump(
                    f"{path}: topk_ids_of_layer: an id is not among the {logical.shape[1]} "
                    "physical experts; with the shared expert fused into the choice, record "
                    "without --enable-shared-experts-fusion"
                )
            made = ids >= 0
            used = made.any(axis=(1, 2))
            kept = used if kept is None else kept | used
            most = max(most, int(made.sum(axis=2).max(initial=0)))
            tokens = record.get("input_ids")
            if (
                not isinstance(tokens, list)
                or len(tokens) != ids.shape[1]
                or not all(type(t) is int and 0 <= t < 2**63 for t in tokens)
            ):
                raise WrongDump(
                    f"{path}: input_ids: expected {ids.shape[1]} numbers, as topk_ids_of_layer has "
                    "tokens"
                )
            step, rank = _number(path, record, "forward_pass_id"), _number(path, record, "rank")
            phase = "decode" if record.get("extend_seq_lens") is None else "prefill"
            records.append((step, rank, phase, ids, logical, tokens))
    if most == 0:
        raise WrongDump(f"{dumps[0][0]}: no choice in it")
    records.sort(key=lambda r: r[:2])  # stable: the halves of an overlapped batch stay in order
    return records, kept, most, experts


def _logical(ids, logical, most):
    """Of physical ids [tokens, k], -1 for none: (logical ids [tokens, most], the choices first and
    in their order; how many there are [tokens]).
    """
    import numpy

    order = numpy.argsort(ids < 0, axis=1, kind="stable")[:, :most]
    ids = numpy.take_along_axis(ids, order, axis=1).astype("int64")
    choices = (ids >= 0).sum(axis=1).astype("uint8")
    return numpy.where(ids >= 0, logical[ids.clip(min=0)], -1), choices


def _write_tokens(dumps, out, model, overwrite):
    records, kept, most, experts = _survey_tokens(dumps)
    numbers = [n for n, there in enumerate(kept) if there]
    with Capture(
        out,
        model=model,
        experts=[experts] * len(numbers),
        layer_numbers=numbers,
        top_k=most,
        token_ids=True,
        tags=True,
        overwrite=overwrite,
        provenance="SGLang expert distribution recorder, per_token",
    ) as log:
        tags = {name: log.tag(name) for name in ("prefill", "decode")}
        for step, rank, phase, ids, logical, token_ids in records:
            for first in range(0, len(token_ids), _PIECE):
                rows = slice(first, first + _PIECE)
                for layer, number in enumerate(numbers):
                    chosen, choices = _logical(ids[number][rows], logical[number], most)
                    log.record(
                        step=step,
                        layer=layer,
                        rank=rank,
                        ids=chosen,
                        choices=choices,
                        negative_is_none=True,
                        token_ids=token_ids[rows] if layer == 0 else None,
                        tags=tags[phase] if layer == 0 else None,
                    )
                log.flush()  # no host waits for us here: rather wait than drop
        if log.counters()["dropped_batches"]:
            raise WrongDump(f"{out}: the log could not keep up")
    tokens = sum(len(r[5]) for r in records)
    return [
        f"{out}: {tokens} tokens of {len({r[0] for r in records})} steps, "
        f"{len({r[1] for r in records})} ranks, {len(numbers)} layers, "
        f"{experts} experts (per_token)"
    ] + _left_out(kept)
