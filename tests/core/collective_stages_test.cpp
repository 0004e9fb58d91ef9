// Stages of a collective: what a part waits for, that no barrier is added, and who is booked.
#include <gtest/gtest.h>

#include <numeric>

#include "sim/core/error.h"
#include "sim/core/task_graph.h"

namespace sim {
namespace {

constexpr CauseId kWork = 0, kNetwork = 1, kCongestion = 2, kStartup = 3, kLaunch = 4;

struct Log : Observer {
  std::vector<PartSpan> parts;
  void on_part(const PartSpan& r) override { parts.push_back(r); }
};

struct Move {
  int from;
  int to;  // the sender itself: a copy inside it
  std::int64_t bytes;
  StageId stage;
};

// Ranks with one port each way; 1 byte takes 1 ps on an idle port.
struct World {
  EventLoop loop;
  Log log;
  TaskGraph graph{loop, log, {kNetwork, kCongestion, kStartup, kLaunch}};
  std::vector<StreamId> compute, comm;
  std::vector<ResourceId> up, down, memory;

  explicit World(int ranks) {
    for (int d = 0; d < ranks; ++d) {
      compute.push_back(graph.add_stream(DeviceId(d), StreamKind::kCompute, Duration(0)));
      comm.push_back(graph.add_stream(DeviceId(d), StreamKind::kCommunication, Duration(0)));
      up.push_back(graph.network().add_resource(Bandwidth(1e12)));
      down.push_back(graph.network().add_resource(Bandwidth(1e12)));
      memory.push_back(graph.network().add_resource(Bandwidth(1e12)));
    }
  }
  // Ranks come at `arrivals`; returns when each part ended.
  std::vector<std::int64_t> run(std::vector<std::int64_t> arrivals,
                                std::vector<CollectiveBody::Stage> stages, std::vector<Move> moves,
                                StartRule rule = StartRule::kOneSided) {
    std::vector<PartSpec> parts(arrivals.size());
    for (std::size_t p = 0; p < arrivals.size(); ++p) {
      TaskSpec spec;
      spec.stream = compute[p];
      spec.duration = Duration(arrivals[p]);
      parts[p] = {comm[p], {graph.add_task(spec, {})}, HeldId(), 0};
    }
    const std::vector<TaskId> ids =
        graph.add_collective({1, 0, 0}, parts, [=, this](CollectiveBody& body) {
          body.start = rule;
          body.startup.assign(parts.size(), Duration(0));
          body.beside = beside;
          for (const CollectiveBody::Stage& stage : stages) body.add_stage(stage);
          for (const Move& move : moves) {
            const std::size_t from = static_cast<std::size_t>(move.from);
            const std::size_t to = static_cast<std::size_t>(move.to);
            const std::int32_t sender = move.from, receiver = move.to;
            if (from == to) {
              const ResourceUse own{memory[from], 1};
              body.add({&sender, 1}, {}, Bytes(move.bytes), Duration(0), {&own, 1}, move.stage);
            } else {
              const std::vector<ResourceUse> path = {{up[from], 1}, {down[to], 1}};
              body.add({&sender, 1}, {&receiver, 1}, Bytes(move.bytes), Duration(0), path,
                       move.stage);
            }
          }
        });
    std::vector<std::int64_t> ends(arrivals.size());
    causes.resize(arrivals.size());
    for (std::size_t p = 0; p < ids.size(); ++p) {
      graph.when_done(std::span(&ids[p], 1), [&ends, p, this](Time end, const CauseVector& path) {
        ends[p] = to_ps(end);
        causes[p] = path;
      });
    }
    loop.run();
    EXPECT_EQ(graph.unfinished(), 0u);
    for (std::size_t p = 0; p < ends.size(); ++p) {
      EXPECT_EQ(std::accumulate(causes[p].begin(), causes[p].end(), std::int64_t{0}), ends[p]);
    }
    return ends;
  }
  std::vector<CauseVector> causes;
  Duration beside{};
};

const CollectiveBody::Stage kFirst{};
CollectiveBody::Stage next_of(StageId before, std::int64_t delay_ps = 0) {
  return {Duration(delay_ps), {before, -1}};
}

using Ends = std::vector<std::int64_t>;

TEST(Stages, AStageBeginsWhenItsRankIsDoneWithTheOneBefore) {
  World w(3);
  // 0 > 1 takes 100; then 1 > 2 takes 50. Rank 0 has nothing in the second stage.
  EXPECT_EQ(w.run({0, 0, 0}, {kFirst, next_of(0)}, {{0, 1, 100, 0}, {1, 2, 50, 1}}),
            (Ends{100, 150, 150}));
  EXPECT_EQ(w.causes[2][kNetwork], 150);
  EXPECT_EQ(w.causes[2][kCongestion], 0);
}

TEST(Stages, ALatencyBesideTheTransfersJoinsThemByTheFourthPower) {
  World w(2);
  w.beside = Duration(1000);
  // As long as its transfer: 2^(1/4) of it. Rank 1 comes at 500 and is served 500 later:
  // (1000^4 + 500^4)^(1/4) = 1016 from then. Beside a long transfer: next to nothing.
  EXPECT_EQ(w.run({0, 500}, {kFirst}, {{0, 1, 1000, 0}}), (Ends{1190, 1516}));
  EXPECT_EQ(w.causes[0][kNetwork], 1000);
  EXPECT_EQ(w.causes[0][kStartup], 190);
  World far(2);
  far.beside = Duration(1000);
  EXPECT_EQ(far.run({0, 0}, {kFirst}, {{0, 1, 100000, 0}}), (Ends{100001, 100001}));
}

TEST(Stages, NoRankWaitsForOthersThatItHasNothingFrom) {
  World w(4);
  // 0 and 1 swap 10 in either stage; 2 and 3 swap 1000: no barrier between the pairs.
  const std::vector<Move> moves = {{0, 1, 10, 0},   {1, 0, 10, 0},   {0, 1, 10, 1}, {1, 0, 10, 1},
                                   {2, 3, 1000, 0}, {3, 2, 1000, 0}, {2, 3, 10, 1}, {3, 2, 10, 1}};
  EXPECT_EQ(w.run({0, 0, 0, 0}, {kFirst, next_of(0)}, moves), (Ends{20, 20, 1010, 1010}));
}

TEST(Stages, WhatArrivesBeforeAReceiversStageIsTakenWhenItOpens) {
  for (const StartRule rule : {StartRule::kOneSided, StartRule::kRendezvous}) {
    World w(3);
    // Rank 1 is busy with 1 > 2 (500) in its first stage; rank 0 sends it 10 in the second.
    const Ends ends = w.run({0, 0, 0}, {kFirst, next_of(0)}, {{1, 2, 500, 0}, {0, 1, 10, 1}}, rule);
    const bool rendezvous = rule == StartRule::kRendezvous;
    EXPECT_EQ(ends, (rendezvous ? Ends{510, 510, 500} : Ends{10, 500, 500}));
  }
}

TEST(Stages, DelaysAndCopiesComeBetween) {
  World w(2);
  // A copy of 30 at rank 0, 7 of delay, then 100 to rank 1, then 5 of delay at the end of each.
  const Ends ends =
      w.run({0, 0}, {kFirst, next_of(0, 7), next_of(1, 5)}, {{0, 0, 30, 0}, {0, 1, 100, 1}});
  EXPECT_EQ(ends, (Ends{142, 142}));
  EXPECT_EQ(w.causes[1][kNetwork], 130);
  EXPECT_EQ(w.causes[1][kStartup], 12);
}

TEST(Stages, ALateRankIsWaitedForThroughTheChain) {
  World w(3);
  // Rank 0 comes at 70: rank 1 has it at 170, and passes it on to rank 2 until 220.
  EXPECT_EQ(w.run({70, 0, 0}, {kFirst, next_of(0)}, {{0, 1, 100, 0}, {1, 2, 50, 1}}),
            (Ends{170, 220, 220}));
  ASSERT_EQ(w.log.parts.size(), 3u);
  for (const PartSpan& part : w.log.parts) {
    EXPECT_EQ(part.waited_for, DeviceId(0));
    EXPECT_EQ(part.wait_peer, Duration(part.device == DeviceId(0) ? 0 : 70));
  }
  EXPECT_EQ(w.causes[2][kWork], 70);
  EXPECT_EQ(w.causes[2][kNetwork], 150);
}

TEST(Stages, TwoChainsRunSideBySideAndMeetInAStageAfterBoth) {
  World w(4);
  // Rank 0 sends 100 to rank 1 and, in a chain of its own, copies 60; both come before 0 > 2.
  const std::vector<CollectiveBody::Stage> stages = {kFirst, kFirst, {Duration(0), {0, 1}}};
  EXPECT_EQ(w.run({0, 0, 0, 0}, stages, {{0, 1, 100, 0}, {0, 0, 60, 1}, {0, 2, 50, 2}}),
            (Ends{150, 100, 150, 0}));
}

TEST(Stages, SharingInsideAStageIsCongestion) {
  World w(3);
  // Both send rank 2 their 100 in the second stage: 200 on its port, of which 100 are rank 0's own.
  const Ends ends = w.run({0, 0, 0}, {kFirst, next_of(0)},
                          {{0, 0, 10, 0}, {1, 1, 10, 0}, {0, 2, 100, 1}, {1, 2, 100, 1}});
  EXPECT_EQ(ends, (Ends{210, 210, 210}));
  EXPECT_EQ(w.causes[0][kNetwork], 110);
  EXPECT_EQ(w.causes[0][kCongestion], 100);
  EXPECT_EQ(w.causes[2][kNetwork], 210);
}

TEST(Stages, AWrongOrderIsRefused) {
  CollectiveBody body;
  EXPECT_THROW(body.add_stage(next_of(0)), InternalError);  // after itself
  body.add_stage(kFirst);
  EXPECT_EQ(body.add_stage(next_of(0)), 1);
  World w(1);
  EXPECT_THROW(w.run({0}, {kFirst}, {{0, 0, 5, 1}}), InternalError);
}

}  // namespace
}  // namespace sim
