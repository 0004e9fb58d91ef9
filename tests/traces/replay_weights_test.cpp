// Gate weights come along with the choices where they are asked for.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/traces/temp_file.h"
#include "traces/replay.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

constexpr int kLayers = 4;

// Row t chooses expert t % 7 and, in odd layers of odd rows, 7 + t % 5. A choice's weight is its
// expert plus its layer times 20 plus t times 100.
void write_weighted(const std::string& path, int rows, bool weights) {
  TraceHeader header;
  header.experts.assign(kLayers, 16);
  header.top_k = 2;
  header.has_gate_weights = weights;
  TraceWriter writer(path, header);
  for (int t = 0; t < rows; ++t) {
    std::vector<std::uint16_t> choices;
    std::vector<std::uint8_t> counts;
    std::vector<float> values;
    const auto choose = [&](int layer, int expert) {
      choices.push_back(static_cast<std::uint16_t>(expert));
      values.push_back(static_cast<float>(100 * t + 20 * layer + expert));
    };
    for (int layer = 0; layer < kLayers; ++layer) {
      const bool two = layer % 2 == 1 && t % 2 == 1;
      counts.push_back(two ? 2 : 1);
      choose(layer, t % 7);
      if (two) choose(layer, 7 + t % 5);
    }
    TokenRow row;
    row.request = t / 10;
    row.position = t % 10;
    row.choices = choices;
    row.choice_counts = counts;
    if (weights) row.gate_weights = values;
    writer.append(row);
  }
  writer.finish();
}

const RoutingShape kShape{std::vector<int>(kLayers, 16), 2};

TEST(ReplayWeights, AreThoseOfTheChoicesHeldOrPaged) {
  const TempFile file("weights.moetrace");
  constexpr int kRows = 40000;  // weights are whole numbers below 2^24
  write_weighted(file.path(), kRows, true);
  ASSERT_GT(TraceReader(file.path()).index().chunks.size(), 1u);
  for (const bool paged : {false, true}) {
    ReplayOptions options;
    options.gate_weights = std::make_shared<std::vector<float>>();
    if (paged) options.memory_budget = std::int64_t{kRows} * 24;  // the index, and a step's rows
    const auto source = make_replay(file.path(), ReplayRule::kSample, kShape, {30, 20}, 4,
                                    AdaptRule::kNone, options);
    for (int layer = 0; layer < kLayers; ++layer) {
      LayerRouting out;
      source->fill(3, layer, out);
      const std::vector<float>& weights = *options.gate_weights;
      ASSERT_EQ(weights.size(), out.choices.size());
      for (std::int64_t t = 0; t < out.tokens(); ++t) {
        const auto token = static_cast<std::size_t>(t);
        const auto row =
            static_cast<int>(weights[static_cast<std::size_t>(out.choice_begin[token])] / 100);
        const std::int64_t count = out.choice_begin[token + 1] - out.choice_begin[token];
        EXPECT_EQ(count, layer % 2 == 1 && row % 2 == 1 ? 2 : 1);
        for (std::int64_t c = out.choice_begin[token]; c < out.choice_begin[token + 1]; ++c) {
          const auto choice = static_cast<std::size_t>(c);
          EXPECT_EQ(weights[choice],
                    static_cast<float>(100 * row + 20 * layer + out.choices[choice]));
        }
      }
    }
  }
}

TEST(ReplayWeights, MustBeInTheTrace) {
  const TempFile file("weights.moetrace");
  write_weighted(file.path(), 100, false);
  ReplayOptions options;
  options.gate_weights = std::make_shared<std::vector<float>>();
  EXPECT_EQ(error_text([&] {
              make_replay(file.path(), ReplayRule::kSample, kShape, {30}, 4, AdaptRule::kNone,
                          options);
            }),
            file.path() +
                ": this trace has no gate weights, and overflow by score needs them; use priority: "
                "order");
}

}  // namespace
}  // namespace sim
