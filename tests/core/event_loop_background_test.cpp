// Events that run in their turn and keep nothing going.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "sim/core/fluid_network.h"

namespace sim {
namespace {

Time at_ps(std::int64_t ps) { return Time(Duration(ps)); }

TEST(BackgroundEvents, RunInTheirTurnUntilNothingElseIsLeft) {
  EventLoop loop;
  std::vector<std::int64_t> ran;
  std::function<void()> again = [&] {
    ran.push_back(to_ps(loop.now()));
    loop.at_background(loop.now() + Duration(10), again);
  };
  loop.at_background(at_ps(0), again);
  EXPECT_TRUE(loop.empty());
  EXPECT_EQ(loop.run(), 0u) << "nothing to run for";
  loop.at(at_ps(25), [&] { ran.push_back(-25); });
  EXPECT_FALSE(loop.empty());
  EXPECT_EQ(loop.run(), 4u);
  EXPECT_THAT(ran, ::testing::ElementsAre(0, 10, 20, -25));
  EXPECT_EQ(to_ps(loop.now()), 25);
}

TEST(BackgroundEvents, CancellingOneLeavesTheOthersCounted) {
  EventLoop loop;
  int ran = 0;
  const EventLoop::Handle background = loop.at_background(at_ps(5), [&] { ran += 100; });
  const EventLoop::Handle ordinary = loop.at(at_ps(6), [&] { ran += 10; });
  loop.at(at_ps(7), [&] { ++ran; });
  loop.cancel(background);
  loop.cancel(background);
  loop.cancel(ordinary);
  EXPECT_EQ(loop.run(), 1u);
  EXPECT_EQ(ran, 1);
}

TEST(EndlessLoad, SharesAndIsNoTransfer) {
  EventLoop loop;
  std::vector<std::int64_t> ended;
  FluidNetwork network(loop, [&](std::uint64_t) { ended.push_back(to_ps(loop.now())); });
  const ResourceId link = network.add_resource(Bandwidth(1e12));  // a byte per picosecond
  const ResourceUse uses[] = {{link, 1}};
  network.start_endless(uses, 3);
  EXPECT_EQ(network.active(), 0u);
  network.start(uses, Bytes(1000), 0);
  EXPECT_EQ(network.active(), 1u);
  loop.run();
  EXPECT_THAT(ended, ::testing::ElementsAre(4000));
  EXPECT_EQ(network.active(), 0u);
  EXPECT_EQ(network.transfers_started(), 1u);
  EXPECT_EQ(network.violation(1e-9), "");
}

TEST(StartDelay, HoldsUpTheBytesAndTheTransferCountsMeanwhile) {
  EventLoop loop;
  std::vector<std::int64_t> ended;
  FluidNetwork network(loop, [&](std::uint64_t) { ended.push_back(to_ps(loop.now())); });
  const ResourceId link = network.add_resource(Bandwidth(1e12));
  int asked = 0;
  network.set_start_delay([&](std::span<const ResourceUse> uses) {
    EXPECT_EQ(uses.size(), 1u);
    return Duration(asked++ == 0 ? 500 : 0);
  });
  {
    const std::vector<ResourceUse> uses = {{link, 1}};  // gone before the bytes flow
    network.start(uses, Bytes(1000), 0);
    network.start(uses, Bytes(100), 1);
  }
  EXPECT_EQ(network.active(), 2u);
  loop.run();
  EXPECT_THAT(ended, ::testing::ElementsAre(100, 1500));
}

}  // namespace
}  // namespace sim
