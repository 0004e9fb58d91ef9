// Transfers over a dead resource are left over and reported; they never end, not even after a
// hundred days.
#include <gtest/gtest.h>

#include "sim/core/fluid_network.h"
#include "sim/core/random.h"

namespace sim {
namespace {

class DeadLinks : public ::testing::TestWithParam<int> {};

TEST_P(DeadLinks, EveryTransferOverOneIsLeftOverAndTheOthersEnd) {
  RandomStream random(static_cast<std::uint64_t>(GetParam()), "dead");
  EventLoop loop;
  std::size_t ended = 0;
  FluidNetwork network(loop, [&](std::uint64_t) { ++ended; });
  constexpr std::int64_t kLinks = 8;
  for (std::int64_t l = 0; l < kLinks; ++l) {
    network.add_resource(Bandwidth(l < 2 ? 0 : 1e9 * (1 + random.uniform())));
  }
  std::size_t starved = 0;
  const std::size_t count = 30;
  for (std::size_t t = 0; t < count; ++t) {
    const std::int64_t a = static_cast<std::int64_t>(random.below(kLinks));
    const std::int64_t b = (a + 1 + static_cast<std::int64_t>(random.below(kLinks - 1))) % kLinks;
    const std::vector<ResourceUse> uses = {{ResourceId(a), 1 + random.uniform()},
                                           {ResourceId(b), 1}};
    if (a < 2 || b < 2) ++starved;
    const auto bytes = static_cast<std::int64_t>(1 + random.below(1'000'000));
    loop.at(Time(Duration(static_cast<std::int64_t>(random.below(1'000'000'000)))),
            [&network, uses, bytes, t] { network.start(uses, Bytes(bytes), t); });
  }
  loop.run();
  EXPECT_EQ(network.active(), starved);
  EXPECT_EQ(ended, count - starved);
}

INSTANTIATE_TEST_SUITE_P(Seeds, DeadLinks, ::testing::Range(0, 60));

}  // namespace
}  // namespace sim
