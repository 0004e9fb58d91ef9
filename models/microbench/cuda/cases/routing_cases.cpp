// Compiled twice: as CUDA by routing_cases.cu, and by the host compiler for the tests.
#include "models/microbench/case_list.h"
#include "models/microbench/cuda/cases/product_check.h"
#include "models/microbench/cuda/cases/routing_steps.h"
#include "models/microbench/cuda/cases/row_steps.h"
#include "models/microbench/cuda/kernels/expert_order.h"
#include "models/microbench/cuda/kernels/fill.h"
#include "models/microbench/cuda/kernels/permute.h"
#include "models/microbench/cuda/kernels/top_k.h"

namespace sim::device_code {
namespace {

constexpr std::int64_t kSampledTokens = 64;

reference::TopKShape top_k_shape(const RoutedShape& shape, reference::Gate gate) {
  return {shape.tokens, shape.experts, shape.top_k, gate};
}

std::int64_t gate_blocks(const RoutedShape& shape) {
  return (shape.tokens + kGateThreads / 32 - 1) / (kGateThreads / 32);
}

PermuteArguments permute_arguments(const RoutedShape& shape, const Ordered& order) {
  return {order.position, static_cast<int>(shape.tokens), static_cast<int>(shape.top_k),
          static_cast<int>(shape.hidden)};
}

// The rows of the token's choices.
std::vector<std::int64_t> rows_of_token(const RoutedShape& shape, const Ordered& order,
                                        std::int64_t token) {
  std::vector<std::int64_t> rows;
  for (std::int64_t slot = 0; slot < shape.top_k; ++slot)
    rows.push_back(order.host.position[index(token * shape.top_k + slot)]);
  return rows;
}

}  // namespace

std::vector<std::int32_t> choices_of(const KernelCase& what, const RoutedShape& shape) {
  const std::vector<std::int64_t> rows =
      what.rows.empty() ? microbench::rows_per_expert(microbench::Skew::kUniform, shape.tokens,
                                                      shape.top_k, shape.experts)
                        : what.rows;
  return reference::choices_with_rows(rows, shape.tokens, shape.top_k, 1);
}

std::vector<Bf16> logits_for(const std::vector<std::int32_t>& choices, const RoutedShape& shape) {
  std::vector<Bf16> logits(index(shape.tokens * shape.experts));
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = to_bf16(random_at(i, 99, 1));
  for (std::int64_t token = 0; token < shape.tokens; ++token)
    for (std::int64_t slot = 0; slot < shape.top_k; ++slot) {
      const std::int32_t expert = choices[index(token * shape.top_k + slot)];
      // Steps of 1/8 are exact in bf16 up to 32.
      logits[index(token * shape.experts + expert)] =
          to_bf16(2.0F + static_cast<float>(shape.top_k - slot) / 8.0F);
    }
  return logits;
}

Gated add_top_k(PreparedCase& prepared, const RoutedShape& shape, reference::Gate gate,
                const Array<Bf16>& logits) {
  auto& choices = prepared.output<std::int32_t>(shape.choices());
  auto& weights = prepared.output<float>(shape.choices());
  const TopKArguments arguments{logits.data(),
                                choices.data(),
                                weights.data(),
                                static_cast<int>(shape.tokens),
                                static_cast<int>(shape.experts),
                                static_cast<int>(shape.top_k)};
  prepared.add_kernel(
      gate == reference::Gate::kSigmoid ? &top_k_forward<true> : &top_k_forward<false>,
      kGateThreads, 0, gate_blocks(shape), arguments);
  prepared.add_check([shape, gate, &logits, &choices, &weights](Comparison& comparison) {
    const std::vector<double> values = as_doubles(logits.download());
    std::vector<std::int32_t> want_choices(index(shape.choices()));
    std::vector<double> want_weights(index(shape.choices()));
    reference::top_k<double>(top_k_shape(shape, gate), values, want_choices, want_weights);
    comparison.same("choices", choices.download(), want_choices);
    comparison.compare("weights", as_doubles(weights.download()), want_weights, kFp32Tolerance);
  });
  return {&choices, &weights};
}

void add_top_k_backward(PreparedCase& prepared, const RoutedShape& shape, reference::Gate gate) {
  const auto& logits = prepared.random<Bf16>(shape.tokens * shape.experts, 4);
  const std::vector<double> values = as_doubles(logits.download());
  std::vector<std::int32_t> host_choices(index(shape.choices()));
  std::vector<double> host_weights(index(shape.choices()));
  reference::top_k<double>(top_k_shape(shape, gate), values, host_choices, host_weights);
  const auto& choices = prepared.uploaded(host_choices);
  const auto& weights =
      prepared.uploaded(std::vector<float>(host_weights.begin(), host_weights.end()));
  const auto& dweights = prepared.random<float>(shape.choices(), 1);
  auto& dlogits = prepared.output<Bf16>(shape.tokens * shape.experts);
  const TopKBackwardArguments arguments{logits.data(),
                                        choices.data(),
                                        weights.data(),
                                        dweights.data(),
                                        dlogits.data(),
                                        static_cast<int>(shape.tokens),
                                        static_cast<int>(shape.experts),
                                        static_cast<int>(shape.top_k)};
  prepared.add_kernel(
      gate == reference::Gate::kSigmoid ? &top_k_backward<true> : &top_k_backward<false>,
      kGateThreads, 0, gate_blocks(shape), arguments);
  prepared.add_check([=, &logits, &weights, &dweights, &dlogits](Comparison& comparison) {
    std::vector<double> expected(index(shape.tokens * shape.experts));
    reference::top_k_backward<double>(top_k_shape(shape, gate), as_doubles(logits.download()),
                                      host_choices, as_doubles(weights.download()),
                                      as_doubles(dweights.download()), expected);
    comparison.compare("dlogits", as_doubles(dlogits.download()), expected, kBf16Tolerance);
  });
}

Ordered add_expert_order(PreparedCase& prepared, const RoutedShape& shape,
                         const Array<std::int32_t>& choices,
                         const std::vector<std::int32_t>& host_choices) {
  const auto count = static_cast<int>(shape.choices());
  auto& offsets = prepared.output<std::int32_t>(shape.experts + 1);
  auto& source = prepared.output<std::int32_t>(count);
  auto& position = prepared.output<std::int32_t>(count);
  const std::int64_t chunks = chunk_count(count);
  auto& per_chunk = prepared.output<std::int32_t>(chunks * shape.experts);
  const ExpertOrderArguments arguments{
      choices.data(),   count,          static_cast<int>(shape.experts),
      per_chunk.data(), offsets.data(), source.data(),
      position.data()};
  const std::size_t shared = order_shared_bytes(arguments.experts);
  const std::int64_t most = (chunks + kOrderThreads / 32 - 1) / (kOrderThreads / 32);
  prepared.add_kernel(&count_choices, kOrderThreads, shared, most, arguments);
  prepared.add_kernel(&scan_chunks, kScanThreads, 32 * sizeof(std::int32_t), 1, arguments);
  prepared.add_kernel(&place_choices, kOrderThreads, shared, most, arguments);
  Ordered order{offsets.data(), position.data(), {}};
  reference::order_by_expert(host_choices, shape.experts, order.host);
  prepared.add_check([host = order.host, &offsets, &source, &position](Comparison& comparison) {
    comparison.same("offsets", offsets.download(), {host.offsets.begin(), host.offsets.end()});
    comparison.same("source", source.download(), host.source);
    comparison.same("position", position.download(), host.position);
  });
  return order;
}

Ordered known_order(PreparedCase& prepared, const RoutedShape& shape,
                    const std::vector<std::int32_t>& host_choices) {
  Ordered order{nullptr, nullptr, {}};
  reference::order_by_expert(host_choices, shape.experts, order.host);
  order.position = prepared.uploaded(order.host.position).data();
  return order;
}

Array<Bf16>& add_permute(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order,
                         const Array<Bf16>& x) {
  auto& rows = prepared.output<Bf16>(shape.choices() * shape.hidden);
  prepared.add_kernel(&permute_rows, kPermuteThreads, 0, shape.tokens,
                      permute_arguments(shape, order), x.data(), rows.data());
  prepared.add_check([shape, order, &x, &rows](Comparison& comparison) {
    comparison.all_written("rows", rows);
    for (const std::int64_t token : spread(shape.tokens, kSampledTokens))
      for (const std::int64_t row : rows_of_token(shape, order, token))
        comparison.compare("rows", rows_of(rows, shape.hidden)(row),
                           rows_of(x, shape.hidden)(token), 0.0);
  });
  return rows;
}

void add_permute_quantised(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order,
                           const Array<Bf16>& x) {
  auto& rows = prepared.output<Fp8>(shape.choices() * shape.hidden);
  auto& scales = prepared.output<float>(shape.choices() * scale_blocks(shape.hidden));
  prepared.add_kernel(&permute_quantised, kPermuteThreads, 0, shape.tokens,
                      permute_arguments(shape, order), x.data(), rows.data(), scales.data());
  prepared.add_check([shape, order, &x, &rows, &scales](Comparison& comparison) {
    comparison.all_written("rows", rows);
    comparison.all_written("scales", scales);
    for (const std::int64_t token : spread(shape.tokens, kSampledTokens))
      for (const std::int64_t row : rows_of_token(shape, order, token))
        check_quantised_row("rows", comparison, rows_of(x, shape.hidden)(token), rows, scales, row);
  });
}

Array<Bf16>& add_unpermute(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order,
                           const Array<Bf16>& rows, const Array<float>* weights) {
  auto& y = prepared.output<Bf16>(shape.tokens * shape.hidden);
  prepared.add_kernel(&unpermute_rows, kPermuteThreads, 0, shape.tokens,
                      permute_arguments(shape, order), rows.data(),
                      weights == nullptr ? nullptr : weights->data(), y.data());
  prepared.add_check([shape, order, &rows, weights, &y](Comparison& comparison) {
    comparison.all_written("y", y);
    for (const std::int64_t token : spread(shape.tokens, kSampledTokens)) {
      std::vector<double> expected(index(shape.hidden));
      std::int64_t at = token * shape.top_k;
      for (const std::int64_t row : rows_of_token(shape, order, token)) {
        const double weight = weights == nullptr ? 1.0 : as_double(weights->download(at, 1)[0]);
        const std::vector<double> values = rows_of(rows, shape.hidden)(row);
        for (std::size_t i = 0; i < values.size(); ++i) expected[i] += weight * values[i];
        ++at;
      }
      comparison.compare("y", rows_of(y, shape.hidden)(token), expected, kBf16Tolerance);
    }
  });
  return y;
}

void add_unpermute_backward(PreparedCase& prepared, const RoutedShape& shape,
                            const Ordered& order) {
  const auto& rows = prepared.random<Bf16>(shape.choices() * shape.hidden, 1);
  const auto& weights = prepared.random<float>(shape.choices(), 0.5, 0.5);
  const auto& dy = prepared.random<Bf16>(shape.tokens * shape.hidden, 1);
  auto& drows = prepared.output<Bf16>(shape.choices() * shape.hidden);
  auto& dweights = prepared.output<float>(shape.choices());
  prepared.add_kernel(&unpermute_rows_backward, kPermuteThreads, 32 * sizeof(float), shape.tokens,
                      permute_arguments(shape, order), rows.data(), weights.data(), dy.data(),
                      drows.data(), dweights.data());
  prepared.add_check([shape, order, &rows, &weights, &dy, &drows,
                      &dweights](Comparison& comparison) {
    comparison.all_written("drows", drows);
    comparison.all_written("dweights", dweights);
    std::vector<double> got_products;
    std::vector<double> want_products;
    for (const std::int64_t token : spread(shape.tokens, kSampledTokens)) {
      const std::vector<double> gradient = rows_of(dy, shape.hidden)(token);
      std::int64_t at = token * shape.top_k;
      for (const std::int64_t row : rows_of_token(shape, order, token)) {
        const double weight = as_double(weights.download(at, 1)[0]);
        const std::vector<double> values = rows_of(rows, shape.hidden)(row);
        std::vector<double> expected = gradient;
        double product = 0;
        for (std::size_t i = 0; i < values.size(); ++i) {
          product += gradient[i] * values[i];
          expected[i] *= weight;
        }
        comparison.compare("drows", rows_of(drows, shape.hidden)(row), expected, kBf16Tolerance);
        got_products.push_back(as_double(dweights.download(at, 1)[0]));
        want_products.push_back(product);
        ++at;
      }
    }
    comparison.compare("dweights", got_products, want_products, kFp32Tolerance);
  });
}

}  // namespace sim::device_code
