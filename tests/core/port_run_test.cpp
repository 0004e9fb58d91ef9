// Sends and receives per part, by hand: two or three parts, ports of 1 byte/ns.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "sim/core/task_graph.h"

namespace sim {
namespace {

constexpr std::uint32_t kUnit = 1000;  // bytes: a unit takes 1 us

class Ends : public Observer {
 public:
  void on_part(const PartSpan& part) override { ends[part.device.index()] = part.end; }
  void on_collective(const CollectiveSpan& span) override { bound_s = span.bound_s; }
  std::vector<std::optional<Time>> ends = std::vector<std::optional<Time>>(8);
  double bound_s = 0;
};

struct Give {
  int from, to;
  std::uint32_t units;
};

// Ends in microseconds of parts that arrive at `arrivals` (us) and exchange over one port each way.
struct Result {
  std::vector<double> ends_us;
  double bound_us = 0;
};
Result run(const std::vector<double>& arrivals_us, const std::vector<Give>& gives, StartRule start,
           const std::vector<double>& speeds = {}, double latency_us = 0) {
  const std::size_t n = arrivals_us.size();
  EventLoop loop;
  Ends ends;
  TaskGraph graph(loop, ends, {0, 1, 2, 3});
  std::vector<ResourceId> up, down;
  for (std::size_t p = 0; p < n; ++p) {
    const Bandwidth speed(1e9 * (speeds.empty() ? 1 : speeds[p]));
    up.push_back(graph.network().add_resource(speed));
    down.push_back(graph.network().add_resource(speed));
  }
  std::vector<PartSpec> parts;
  for (std::size_t p = 0; p < n; ++p) {
    const DeviceId device(static_cast<std::int64_t>(p));
    TaskSpec arrival;
    arrival.stream = graph.add_stream(device, StreamKind::kHost, Duration(0));
    arrival.duration = duration_from_seconds(arrivals_us[p] * 1e-6);
    PartSpec part;
    part.after = {graph.add_task(arrival, {})};
    part.stream = graph.add_stream(device, StreamKind::kCommunication, Duration(0));
    parts.push_back(part);
  }
  graph.add_collective({}, parts, [&](CollectiveBody& body) {
    body.start = start;
    body.startup.assign(n, Duration(0));
    PortBody& ports = body.ports.emplace();
    ports.unit = Bytes(kUnit);
    ports.latency.assign(n, duration_from_seconds(latency_us * 1e-6));
    ports.by_sender.begin.push_back(0);
    for (std::size_t p = 0; p < n; ++p) {
      ports.by_sender.begin.push_back(ports.by_sender.begin.back());  // nothing inside a domain
      for (const Give& give : gives) {
        if (static_cast<std::size_t>(give.from) == p)
          ports.by_sender.pairs.push_back({2 * give.to + 1, give.units, give.units});
      }
      ports.by_sender.begin.push_back(static_cast<std::uint32_t>(ports.by_sender.pairs.size()));
    }
    ports.by_receiver = transposed(ports.by_sender);
    for (std::size_t e = 0; e < 2 * n; ++e) {
      for (const PortPairs* side : {&ports.by_sender, &ports.by_receiver}) {
        PortBody::Port port;
        std::int64_t units = 0;
        for (const PortPairs::Pair& pair : side->of(e)) units += pair.units;
        port.bytes = Bytes(units * kUnit);
        port.flows = static_cast<double>(side->of(e).size());
        port.uses_begin = static_cast<std::uint32_t>(ports.uses.size());
        ports.uses.push_back({side == &ports.by_sender ? up[e / 2] : down[e / 2], 1});
        port.uses_end = static_cast<std::uint32_t>(ports.uses.size());
        ports.ports.push_back(port);
      }
    }
  });
  loop.run();
  EXPECT_EQ(graph.unfinished(), 0U);
  Result result;
  for (std::size_t p = 0; p < n; ++p) {
    result.ends_us.push_back(to_seconds(ends.ends[p].value() - Time{}) * 1e6);
  }
  result.bound_us = ends.bound_s * 1e6;
  return result;
}

TEST(PortRun, AReceiveRunsNoFurtherThanTheBytesWhoseSendersHaveStarted) {
  // Part 2 gets 4 us from part 0 at once and 2 us from part 1, which comes at 10 us: it idles from
  // 4 to 10 and ends at 12. Part 0 is done when its bytes are, part 1 with its own.
  const Result result = run({0, 10, 0}, {{0, 2, 4}, {1, 2, 2}}, StartRule::kOneSided);
  EXPECT_NEAR(result.ends_us[2], 12, 1e-3);
  EXPECT_NEAR(result.ends_us[1], 12, 1e-3);
  EXPECT_NEAR(result.bound_us, 6, 1e-9);
}

TEST(PortRun, ALateReceiverHoldsUpARendezvousAndNotAOneSidedWrite) {
  const Result one_sided = run({0, 10}, {{0, 1, 4}}, StartRule::kOneSided);
  EXPECT_NEAR(one_sided.ends_us[0], 4, 1e-3);
  EXPECT_NEAR(one_sided.ends_us[1], 10, 1e-3);  // all was there when it came
  const Result rendezvous = run({0, 10}, {{0, 1, 4}}, StartRule::kRendezvous);
  EXPECT_NEAR(rendezvous.ends_us[0], 14, 1e-3);
  EXPECT_NEAR(rendezvous.ends_us[1], 14, 1e-3);
}

TEST(PortRun, ASlowSenderHoldsItsReceiversBack) {
  // Part 0 sends at a quarter of the speed: 8 units take 32 us, and both receivers get the last of
  // theirs then.
  const Result result =
      run({0, 0, 0}, {{0, 1, 4}, {0, 2, 4}, {1, 2, 1}}, StartRule::kOneSided, {0.25, 1, 1});
  EXPECT_NEAR(result.ends_us[1], 32, 1e-3);
  EXPECT_NEAR(result.ends_us[2], 32, 1e-3);
}

TEST(PortRun, ASlowReceiverHoldsItsSendersOnlyAsLongAsTheirOwnBytesTake) {
  // Part 2 receives 1 unit from part 0 and 9 from part 1, at equal rates until the small one is
  // through: 2 of 10 us.
  const Result result = run({0, 0, 0}, {{0, 2, 1}, {1, 2, 9}}, StartRule::kOneSided);
  EXPECT_NEAR(result.ends_us[0], 2, 1e-3);
  EXPECT_NEAR(result.ends_us[1], 10, 1e-3);
  EXPECT_NEAR(result.ends_us[2], 10, 1e-3);
}

TEST(PortRun, APartWithNothingToSendOrReceiveEndsWhenItIsReached) {
  const Result result = run({0, 0, 3}, {{0, 1, 5}}, StartRule::kOneSided);
  EXPECT_NEAR(result.ends_us[2], 3, 1e-6);
}

// The last part comes when all is there: it ends at once, its latency is that of what it would
// send.
TEST(PortRun, AReceiverThatComesLateAndSendsNothingEndsAsItComes) {
  const Result result = run({0, 10}, {{0, 1, 4}}, StartRule::kOneSided, {}, 5);
  EXPECT_NEAR(result.ends_us[0], 9, 1e-3);
  EXPECT_NEAR(result.ends_us[1], 10, 1e-3);
}

TEST(PortRun, TransposingTwiceGivesThePairsBack) {
  PortPairs pairs;
  pairs.begin = {0, 2, 3, 3, 4};
  pairs.pairs = {{1, 5, 6}, {3, 7, 7}, {0, 1, 2}, {2, 9, 4}};
  const PortPairs back = transposed(transposed(pairs));
  ASSERT_EQ(back.begin, pairs.begin);
  for (std::size_t i = 0; i < pairs.pairs.size(); ++i) {
    EXPECT_EQ(back.pairs[i].other, pairs.pairs[i].other);
    EXPECT_EQ(back.pairs[i].units, pairs.pairs[i].units);
    EXPECT_EQ(back.pairs[i].units_there, pairs.pairs[i].units_there);
  }
}

}  // namespace
}  // namespace sim
