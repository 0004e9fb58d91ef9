// Compiled twice: as CUDA by attention_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/attention_steps.h"
#include "models/microbench/cuda/cases/product_check.h"
#include "models/microbench/cuda/kernels/attention_backward.h"
#include "models/microbench/cuda/kernels/mla_decode.h"
#include "models/microbench/reference/attention.h"

namespace sim::device_code {
namespace {

using reference::AttentionShape;

constexpr float kLog2E = 1.44269504F;

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

struct GradientArrays {
  const Array<Bf16>& q;
  const Array<Bf16>& k;
  const Array<Bf16>& v;
  const Array<Bf16>& out;
  const Array<Bf16>& dout;
  const Array<float>& lse;
  const Array<Bf16>& dq;
  const Array<Bf16>& dk;
  const Array<Bf16>& dv;
};

// The rows of the last sequence, on the host: the check reads most of them several times. Row 0 is
// its first; the last ones lie at the end of the array.
class LastSequence {
 public:
  LastSequence(const Array<Bf16>& array, std::int64_t sequences, std::int64_t width)
      : width_(width),
        values_(
            array.download(array.size() / sequences * (sequences - 1), array.size() / sequences)) {}
  std::vector<double> row(std::int64_t row) const {
    const auto begin = values_.begin() + row * width_;
    return as_doubles(std::vector<Bf16>(begin, begin + width_));
  }

 private:
  std::int64_t width_;
  std::vector<Bf16> values_;
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Sampled rows of the gradients by their definition. The forward's log-sum-exp is an input; it is
// held against its own definition for the sampled queries.
class GradientCheck {
 public:
  GradientCheck(const AttentionShape& shape, const GradientArrays& arrays)
      : s_(shape),
        arrays_(arrays),
        q_(arrays.q, shape.sequences, shape.head_dim),
        k_(arrays.k, shape.sequences, shape.head_dim),
        v_(arrays.v, shape.sequences, shape.value_dim),
        out_(arrays.out, shape.sequences, shape.value_dim),
        dout_(arrays.dout, shape.sequences, shape.value_dim),
        dq_(arrays.dq, shape.sequences, shape.head_dim),
        dk_(arrays.dk, shape.sequences, shape.head_dim),
        dv_(arrays.dv, shape.sequences, shape.value_dim),
        lse_(arrays.lse.download()) {}

  void run(Comparison& comparison) {
    comparison.all_written("dq", arrays_.dq);
    comparison.all_written("dk", arrays_.dk);
    comparison.all_written("dv", arrays_.dv);
    Sample lse, dq, dk, dv;
    for (const std::int64_t head : spread(s_.heads, 2))
      for (const std::int64_t query : spread(s_.queries, 6)) check_query(head, query, lse, dq);
    for (const std::int64_t kv_head : spread(s_.kv_heads, 2))
      for (const std::int64_t key : spread(s_.context, 6)) check_key(kv_head, key, dk, dv);
    comparison.compare("lse", lse.got, lse.expected, kFp32Tolerance);
    // Weights and slopes are rounded to bf16 before they are multiplied again.
    comparison.compare("dq", dq.got, dq.expected, 4 * kBf16Tolerance);
    comparison.compare("dk", dk.got, dk.expected, 4 * kBf16Tolerance);
    comparison.compare("dv", dv.got, dv.expected, 4 * kBf16Tolerance);
  }

 private:
  struct Sample {
    std::vector<double> got;
    std::vector<double> expected;
    void add(const std::vector<double>& one, const std::vector<double>& other) {
      got.insert(got.end(), one.begin(), one.end());
      expected.insert(expected.end(), other.begin(), other.end());
    }
  };

  std::int64_t query_row(std::int64_t query, std::int64_t head) const {
    return query * s_.heads + head;
  }
  std::int64_t key_row(std::int64_t key, std::int64_t kv_head) const {
    return key * s_.kv_heads + kv_head;
  }
  double lse(std::int64_t query, std::int64_t head) const {
    const std::int64_t first = (s_.sequences - 1) * s_.queries * s_.heads;
    return as_double(lse_[index(first + query_row(query, head))]) / kLog2E;
  }
  double delta(std::int64_t query, std::int64_t head) const {
    const std::int64_t row = query_row(query, head);
    return dot(out_.row(row), dout_.row(row));
  }

  void check_query(std::int64_t head, std::int64_t query, Sample& lse_sample, Sample& dq_sample) {
    const std::int64_t kv_head = head / s_.group();
    const std::int64_t row = query_row(query, head);
    const auto q = q_.row(row);
    const auto dout = dout_.row(row);
    const double mean = delta(query, head);
    const double normal = lse(query, head);
    std::vector<double> expected(index(s_.head_dim));
    double sum = 0;
    for (std::int64_t key = 0; key <= query; ++key) {
      const auto k = k_.row(key_row(key, kv_head));
      const auto v = v_.row(key_row(key, kv_head));
      const double score = dot(q, k) * s_.scale;
      sum += std::exp(score);
      const double slope = std::exp(score - normal) * (dot(dout, v) - mean);
      for (std::size_t i = 0; i < k.size(); ++i) expected[i] += s_.scale * slope * k[i];
    }
    dq_sample.add(dq_.row(row), expected);
    lse_sample.add({normal}, {std::log(sum)});
  }

  void check_key(std::int64_t kv_head, std::int64_t key, Sample& dk_sample, Sample& dv_sample) {
    const std::int64_t row = key_row(key, kv_head);
    const auto k = k_.row(row);
    const auto v = v_.row(row);
    std::vector<double> dk(k.size());
    std::vector<double> dv(v.size());
    for (std::int64_t head = kv_head * s_.group(); head < (kv_head + 1) * s_.group(); ++head)
      for (std::int64_t query = key; query < s_.queries; ++query) {
        const auto q = q_.row(query_row(query, head));
        const auto dout = dout_.row(query_row(query, head));
        const double weight = std::exp(dot(q, k) * s_.scale - lse(query, head));
        const double slope = weight * (dot(dout, v) - delta(query, head));
        for (std::size_t i = 0; i < v.size(); ++i) dv[i] += weight * dout[i];
        for (std::size_t i = 0; i < k.size(); ++i) dk[i] += s_.scale * slope * q[i];
      }
    dk_sample.add(dk_.row(row), dk);
    dv_sample.add(dv_.row(row), dv);
  }

  AttentionShape s_;
  GradientArrays arrays_;
  LastSequence q_, k_, v_, out_, dout_, dq_, dk_, dv_;
  std::vector<float> lse_;
};

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
  arguments.scale = static_cast<float>(shape.scale) * kLog2E;
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
