#include "sim/core/port_exchange.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr int kLast = PortRun::kSizeClasses - 1;

std::size_t send_of(std::int32_t part) { return 2 * static_cast<std::size_t>(part); }
std::size_t receive_of(std::int32_t part) { return send_of(part) + 1; }

}  // namespace

PortPairs transposed(const PortPairs& pairs, std::size_t parts) {
  PortPairs result;
  result.begin.assign(parts + 1, 0);
  result.pairs.resize(pairs.pairs.size());
  for (const PortPairs::Pair& pair : pairs.pairs) {
    ++result.begin[static_cast<std::size_t>(pair.part) + 1];
  }
  for (std::size_t p = 0; p < parts; ++p) result.begin[p + 1] += result.begin[p];
  std::vector<std::uint32_t> next(result.begin.begin(), result.begin.end() - 1);
  for (std::size_t s = 0; s < parts; ++s) {
    for (const PortPairs::Pair& pair : pairs.of(s)) {
      result.pairs[next[static_cast<std::size_t>(pair.part)]++] = {static_cast<std::int32_t>(s),
                                                                   pair.units};
    }
  }
  return result;
}

PortRun::PortRun(const PortBody& body, StartRule start, EventLoop& loop, FluidNetwork& network,
                 std::uint64_t tag_base)
    : body_(body),
      start_(start),
      loop_(loop),
      network_(network),
      tag_base_(tag_base),
      ports_(body.ports.size()),
      parts_(body.ports.size() / 2) {
  SIM_CHECK(body.latency.size() == parts_.size(), "a port body has a latency per part");
  for (std::size_t q = 0; q < ports_.size(); ++q) prepare(q);
}

void PortRun::prepare(std::size_t q) {
  Port& port = ports_[q];
  port.total = body_.ports[q].bytes.count();
  const std::span<const PortPairs::Pair> pairs = pairs_of(q);
  std::int64_t units = 0;
  for (const PortPairs::Pair& pair : pairs) units += pair.units;
  const std::int64_t of_pairs = units * body_.unit.count();
  SIM_CHECK(q % 2 == 0 ? of_pairs <= port.total : of_pairs == port.total,
            "a port moves the bytes of its pairs");
  SIM_CHECK(port.total == 0 || body_.ports[q].uses_end > body_.ports[q].uses_begin,
            "a port moves bytes over something");
  port.largest[kLast] = std::numeric_limits<std::uint32_t>::max();
  port.through[kLast] = port.total;
  if (!pairs.empty()) set_classes(q, units);
  parts_[q / 2].outstanding +=
      static_cast<std::int64_t>(pairs.size()) + (port.total > 0 ? 1 : 0);
}

// Pairs up to 1/2, 1 and 3/2 of the mean pair, and the rest. A class without pairs is through when
// the one before is; one that would be through just before the next one is through with it.
void PortRun::set_classes(std::size_t q, std::int64_t units) {
  Port& port = ports_[q];
  const std::span<const PortPairs::Pair> pairs = pairs_of(q);
  const double mean = static_cast<double>(units) / static_cast<double>(pairs.size());
  for (int k = 0; k < kLast; ++k) {
    port.largest[k] = static_cast<std::uint32_t>(mean * 0.5 * (k + 1));
  }
  std::int64_t moved[kSizeClasses] = {};
  std::int64_t members[kSizeClasses] = {};
  for (const PortPairs::Pair& pair : pairs) {
    int own = 0;
    for (int k = 0; k < kLast; ++k) {
      moved[k] += std::min(pair.units, port.largest[k]);
      own += pair.units > port.largest[k] ? 1 : 0;
    }
    ++members[own];
  }
  // What stays inside the part moves along with the pairs.
  for (int k = 0; k < kLast; ++k) {
    port.through[k] = members[k] == 0
                          ? (k == 0 ? 0 : port.through[k - 1])
                          : static_cast<std::int64_t>(static_cast<double>(port.total) *
                                                      static_cast<double>(moved[k]) /
                                                      static_cast<double>(units));
  }
  for (int k = kLast - 1; k >= 0; --k) {
    if (port.through[k] > 0 && (port.through[k + 1] - port.through[k]) * kWaves < port.total) {
      port.through[k] = port.through[k + 1];
    }
  }
}

std::vector<PortRun::Served> PortRun::take_served() { return std::exchange(served_, {}); }

// One thing less that a part waits for.
void PortRun::count_down(std::int32_t p, std::int32_t initiator) {
  Part& part = parts_[static_cast<std::size_t>(p)];
  if (--part.outstanding == 0 && part.reached) served_.push_back({p, initiator});
}

void PortRun::reach(std::int32_t p) {
  Part& part = parts_[static_cast<std::size_t>(p)];
  part.reached = true;
  if (part.outstanding == 0) {
    served_.push_back({p, p});
    return;
  }
  const Duration latency = body_.latency[static_cast<std::size_t>(p)];
  if (latency > Duration(0)) {
    loop_.after(latency, [this, p] { open(p); });
  } else {
    open(p);
  }
}

void PortRun::open(std::int32_t p) {
  parts_[static_cast<std::size_t>(p)].open = true;
  const bool rendezvous = start_ == StartRule::kRendezvous;
  const std::int64_t unit = body_.unit.count();
  std::int64_t sendable = ports_[send_of(p)].total;
  for (const PortPairs::Pair& pair : body_.by_sender->of(static_cast<std::size_t>(p))) {
    const std::int64_t bytes = pair.units * unit;
    if (rendezvous && !parts_[static_cast<std::size_t>(pair.part)].open) {
      sendable -= bytes;
    } else {
      supply(receive_of(pair.part), bytes, p);
    }
  }
  supply(send_of(p), sendable, p);
  if (!rendezvous) return;
  std::int64_t receivable = 0;
  for (const PortPairs::Pair& pair : body_.by_receiver->of(static_cast<std::size_t>(p))) {
    if (!parts_[static_cast<std::size_t>(pair.part)].open) continue;
    supply(send_of(pair.part), pair.units * unit, p);
    receivable += pair.units * unit;
  }
  supply(receive_of(p), receivable, p);
}

void PortRun::supply(std::size_t q, std::int64_t bytes, std::int32_t initiator) {
  if (bytes == 0) return;
  Port& port = ports_[q];
  port.available += bytes;
  port.initiator = initiator;
  advance(q);
}

// Starts what the port may move next, up to where the next size class is through.
void PortRun::advance(std::size_t q) {
  Port& port = ports_[q];
  if (port.flying > 0 || port.done == port.available) return;
  if (port.available < port.total && (port.available - port.done) * kWaves < port.total) return;
  int next = port.size_class;
  while (port.through[next] <= port.done) ++next;
  const std::int64_t until = std::min(port.available, port.through[next]);
  port.flying = until - port.done;
  const PortBody::Port& given = body_.ports[q];
  network_.start(
      std::span(body_.uses).subspan(given.uses_begin, given.uses_end - given.uses_begin),
      Bytes(port.flying), tag_base_ + q);
}

void PortRun::transfer_ended(std::uint32_t q) {
  Port& port = ports_[q];
  port.done += port.flying;
  port.flying = 0;
  pass_classes(q);
  advance(q);
}

// Pairs of the classes that are through now no longer hold up the other side.
void PortRun::pass_classes(std::size_t q) {
  Port& port = ports_[q];
  const std::int32_t first = port.size_class;
  while (port.size_class < kSizeClasses && port.through[port.size_class] <= port.done) {
    ++port.size_class;
  }
  if (port.size_class == first) return;
  const std::uint32_t above = first == 0 ? 0 : port.largest[first - 1];
  const std::uint32_t up_to = port.largest[port.size_class - 1];
  for (const PortPairs::Pair& pair : pairs_of(q)) {
    if (pair.units > above && pair.units <= up_to) count_down(pair.part, port.initiator);
  }
  if (port.done == port.total) count_down(static_cast<std::int32_t>(q / 2), port.initiator);
}

}  // namespace sim
