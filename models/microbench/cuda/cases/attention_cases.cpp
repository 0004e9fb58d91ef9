// Compiled twice: as CUDA by attention_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/attention_steps.h"
#include "models/microbench/cuda/cases/gradient_check.h"
#include "models/microbench/cuda/kernels/attention_backward.h"
#include "models/microbench/cuda/kernels/mla_decode.h"
#include "models/microbench/reference/attention.h"

namespace sim::device_code {
namespace {

using reference::AttentionShape;

bool is_decode(const KernelCase& what) {
  return what.kernel == "attention_decode" || what.kernel == "mla_decode";
}

// The context in so many parts that the multiprocessors have two blocks each, and no more parts
// than tiles of keys.
int splits_of(const Device& device, std::int64_t items, std::int64_t context) {
  const std::int64_t tiles = (context + kKeyTile - 1) / kKeyTile;
  const std::int64_t wanted = (2 * device.sms + items - 1) / items;
  const std::int64_t splits = std::max<std::int64_t>(1, std::min(wanted, tiles));
  // Parts are whole tiles: as many as there are parts with a tile in them.
  const std::int64_t per_split = (tiles + splits - 1) / splits;
  return static_cast<int>((tiles + per_split - 1) / per_split);
}

// Sampled outputs against the definition in double precision; all must be written.
void check_attention(const AttentionShape& shape, const Array<Bf16>& q, const Array<Bf16>& k,
                     const Array<Bf16>& v, const Array<Bf16>& out, Comparison& comparison) {
  comparison.all_written("out", out);
  const auto floats = [](const Array<Bf16>& array, std::int64_t first, std::int64_t count) {
    const std::vector<double> values = as_doubles(array.download(first, count));
    return std::vector<float>(values.begin(), values.end());
  };
  // One sequence at a time, so that the reference needs no more than its keys and values.
  AttentionShape one = shape;
  one.sequences = 1;
  std::vector<double> got;
  std::vector<double> expected;
  for (const std::int64_t sequence : spread(shape.sequences, 2)) {
    const auto queries = floats(q, sequence * one.query_size(), one.query_size());
    const auto keys = floats(k, sequence * one.key_size(), one.key_size());
    const auto values = floats(v, sequence * one.value_size(), one.value_size());
    for (const std::int64_t query : spread(shape.queries, 12))
      for (const std::int64_t head : spread(shape.heads, 4)) {
        std::vector<double> result(index(shape.value_dim));
        reference::attention_of_one(one, queries, keys, values, 0, query, head, result);
        expected.insert(expected.end(), result.begin(), result.end());
        const std::int64_t at =
            ((sequence * shape.queries + query) * shape.heads + head) * shape.value_dim;
        const auto line = as_doubles(out.download(at, shape.value_dim));
        got.insert(got.end(), line.begin(), line.end());
      }
  }
  // Weights are rounded to bf16 before they meet the values, the result once more.
  comparison.compare("out", got, expected, 2 * kBf16Tolerance);
}

template <int kKey, int kValue>
void add_prefill(PreparedCase& prepared, const AttentionShape& shape,
                 const AttentionArguments& arguments) {
  const std::int64_t tiles = (shape.queries + kQueryTile - 1) / kQueryTile;
  prepared.add_kernel(&attention_prefill<kKey, kValue>, kAttentionThreads,
                      attention_shared_bytes<kKey, kValue, kQueryTile>(),
                      tiles * shape.sequences * shape.heads, arguments);
}

void add_decode(PreparedCase& prepared, const KernelCase& what, const AttentionShape& shape,
                AttentionArguments arguments, Bf16* out) {
  const bool latent = what.kernel == "mla_decode";
  const std::int64_t items =
      shape.sequences * (latent ? (shape.heads + kMlaHeads - 1) / kMlaHeads : shape.kv_heads);
  arguments.splits = splits_of(prepared.device(), items, shape.context);
  const std::int64_t rows = shape.sequences * shape.heads;
  arguments.partial = prepared.output<float>(rows * arguments.splits * shape.value_dim).data();
  arguments.stats = prepared.output<float>(rows * arguments.splits * 2).data();
  const std::int64_t blocks = items * arguments.splits;
  const std::size_t shared = attention_shared_bytes(what);
  if (latent)
    prepared.add_kernel(&mla_decode, kMlaThreads, shared, blocks, arguments);
  else if (shape.head_dim == 64)
    prepared.add_kernel(&attention_decode<64, 64>, kAttentionThreads, shared, blocks, arguments);
  else
    prepared.add_kernel(&attention_decode<128, 128>, kAttentionThreads, shared, blocks, arguments);
  prepared.add_kernel(&combine_splits, kAttentionThreads, 0, rows, arguments.partial,
                      arguments.stats, out, rows, arguments.splits,
                      static_cast<int>(shape.value_dim));
}

template <int kKey, int kValue>
void add_gradient(PreparedCase& prepared, const AttentionShape& shape, AttentionArguments arguments,
                  const Array<Bf16>& q, const Array<Bf16>& k, const Array<Bf16>& v,
                  const Array<Bf16>& out) {
  const std::int64_t rows = shape.sequences * shape.queries * shape.heads;
  const std::int64_t query_tiles = (shape.queries + kQueryTile - 1) / kQueryTile;
  const std::int64_t key_tiles = (shape.context + kKeyTile - 1) / kKeyTile;
  auto& lse = prepared.output<float>(rows);
  arguments.lse = lse.data();
  // The forward pass happened before the call that is timed.
  Device& device = prepared.device();
  constexpr std::size_t kShared = attention_shared_bytes<kKey, kValue, kQueryTile>();
  const int blocks = grid_of(device, &attention_prefill<kKey, kValue>, kAttentionThreads, kShared,
                             query_tiles * shape.sequences * shape.heads);
  launch(device, &attention_prefill<kKey, kValue>, blocks, kAttentionThreads, kShared, arguments);
  const auto& dout = prepared.random<Bf16>(shape.out_size(), 1);
  auto& delta = prepared.output<float>(rows);
  auto& dq = prepared.output<Bf16>(shape.query_size());
  auto& dk = prepared.output<Bf16>(shape.key_size());
  auto& dv = prepared.output<Bf16>(shape.value_size());
  const AttentionGradientArguments gradient{arguments,
                                            dout.data(),
                                            delta.data(),
                                            dq.data(),
                                            dk.data(),
                                            dv.data(),
                                            static_cast<float>(shape.scale)};
  constexpr std::int64_t kWarps = kAttentionThreads / 32;
  prepared.add_kernel(&attention_delta, kAttentionThreads, 0, (rows + kWarps - 1) / kWarps,
                      out.data(), dout.data(), delta.data(), rows,
                      static_cast<int>(shape.value_dim));
  prepared.add_kernel(&attention_query_gradient<kKey, kValue>, kAttentionThreads,
                      query_gradient_shared_bytes<kKey, kValue>(),
                      query_tiles * shape.sequences * shape.heads, gradient);
  prepared.add_kernel(&attention_key_gradient<kKey, kValue>, kAttentionThreads,
                      key_gradient_shared_bytes<kKey, kValue>(),
                      key_tiles * shape.sequences * shape.kv_heads, gradient);
  const GradientArrays arrays{q, k, v, out, dout, lse, dq, dk, dv};
  prepared.add_check(
      [shape, arrays](Comparison& comparison) { GradientCheck(shape, arrays).run(comparison); });
}

}  // namespace

std::size_t attention_shared_bytes(const KernelCase& what) {
  if (what.kernel == "mla_decode") return kMlaSharedBytes;
  if (what.pass == "backward")
    return what.kernel == "mla_prefill" ? query_gradient_shared_bytes<192, 128>()
                                        : query_gradient_shared_bytes<128, 128>();
  if (what.kernel == "mla_prefill") return attention_shared_bytes<192, 128, kQueryTile>();
  const bool decode = what.kernel == "attention_decode";
  if (what.size("head_dim") == 64)
    return decode ? attention_shared_bytes<64, 64, kMostGroup>()
                  : attention_shared_bytes<64, 64, kQueryTile>();
  return decode ? attention_shared_bytes<128, 128, kMostGroup>()
                : attention_shared_bytes<128, 128, kQueryTile>();
}

std::string attention_unsupported(const KernelCase& what) {
  if (what.dtype != "bf16") return "attention is bf16 here";
  if (what.implementation == "vendor")
    return "the vendor's library is used for matrix products only";
  if (what.pass == "backward" && what.size_or("head_dim", 0) == 64)
    return "attention backward has heads of 128 (and of MLA) only";
  if (what.kernel == "mla_prefill")
    return what.size("head_dim") == 192 && what.size("value_dim") == 128
               ? ""
               : "MLA prefill has heads of 192 and 128 only";
  if (what.kernel == "mla_decode")
    return what.size("kv_rank") == kLatent && what.size("rope_dim") == kMlaKey - kLatent
               ? ""
               : "MLA decode has a rank of 512 and 64 rotary numbers only";
  if (what.size("head_dim") != 64 && what.size("head_dim") != 128)
    return "attention has heads of 64 and 128 only";
  if (what.size("heads") % what.size("kv_heads") != 0)
    return "query heads that are no multiple of the key heads";
  if (is_decode(what) && what.size("heads") / what.size("kv_heads") > kMostGroup)
    return "decode has at most 16 query heads per key head";
  return "";
}

void add_attention(PreparedCase& prepared, const KernelCase& what) {
  const AttentionShape shape = reference::attention_shape(what);
  const bool latent = what.kernel == "mla_decode";
  const auto& q = prepared.random<Bf16>(shape.query_size(), 2);
  const auto& k = prepared.random<Bf16>(shape.key_size(), 1);
  const auto& v = latent ? k : prepared.random<Bf16>(shape.value_size(), 1);
  auto& out = prepared.output<Bf16>(shape.out_size());
  AttentionArguments arguments{};
  arguments.q = q.data();
  arguments.k = k.data();
  arguments.v = v.data();
  arguments.out = out.data();
  arguments.sequences = static_cast<int>(shape.sequences);
  arguments.context = static_cast<int>(shape.context);
  arguments.heads = static_cast<int>(shape.heads);
  arguments.kv_heads = static_cast<int>(shape.kv_heads);
  arguments.scale = static_cast<float>(shape.scale) * kScoreUnit;
  if (what.pass == "backward") {
    if (what.kernel == "mla_prefill")
      add_gradient<192, 128>(prepared, shape, arguments, q, k, v, out);
    else
      add_gradient<128, 128>(prepared, shape, arguments, q, k, v, out);
    return;
  }
  if (is_decode(what))
    add_decode(prepared, what, shape, arguments, out.data());
  else if (what.kernel == "mla_prefill")
    add_prefill<192, 128>(prepared, shape, arguments);
  else if (shape.head_dim == 64)
    add_prefill<64, 64>(prepared, shape, arguments);
  else
    add_prefill<128, 128>(prepared, shape, arguments);
  prepared.add_check([shape, &q, &k, &v, &out](Comparison& comparison) {
    check_attention(shape, q, k, v, out, comparison);
  });
}

}  // namespace sim::device_code
