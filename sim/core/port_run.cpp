#include "sim/core/port_run.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr int kClasses = PortRun::kSizeClasses;
// Upper ends of the classes but the last, in mean pairs of the port.
constexpr double kClassEnds[] = {0.4, 0.6, 0.8, 1.0, 1.2, 1.45, 1.8};
static_assert(std::size(kClassEnds) + 1 == kClasses);
// Classes that are through within this share of a port's bytes are through together.
constexpr double kSameMoment = 1.0 / 64;

std::size_t send_of(std::int32_t endpoint) { return 2 * static_cast<std::size_t>(endpoint); }
std::size_t receive_of(std::int32_t endpoint) { return send_of(endpoint) + 1; }
std::int32_t part_of(std::int32_t endpoint) { return endpoint / 2; }

}  // namespace

PortPairs transposed(const PortPairs& pairs) {
  const std::size_t endpoints = pairs.begin.size() - 1;
  PortPairs result;
  result.begin.assign(endpoints + 1, 0);
  result.pairs.resize(pairs.pairs.size());
  for (const PortPairs::Pair& pair : pairs.pairs) {
    ++result.begin[static_cast<std::size_t>(pair.other) + 1];
  }
  for (std::size_t e = 0; e < endpoints; ++e) result.begin[e + 1] += result.begin[e];
  std::vector<std::uint32_t> next(result.begin.begin(), result.begin.end() - 1);
  for (std::size_t e = 0; e < endpoints; ++e) {
    for (const PortPairs::Pair& pair : pairs.of(e)) {
      result.pairs[next[static_cast<std::size_t>(pair.other)]++] = {static_cast<std::int32_t>(e),
                                                                    pair.units_there, pair.units};
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
      parts_(body.parts()) {
  SIM_CHECK(body.ports.size() == 4 * body.latency.size(), "a part has four ports and a latency");
  for (std::size_t q = 0; q < ports_.size(); ++q) prepare(q);
  for (const PortBody::Hold& hold : body.holds) {
    SIM_CHECK(ports_[hold.port].total > 0, "a port that is waited for has something to do");
    ++parts_[static_cast<std::size_t>(hold.part)].outstanding;
  }
}

void PortRun::prepare(std::size_t q) {
  Port& port = ports_[q];
  port.total = body_.ports[q].bytes.count();
  const std::span<const PortPairs::Pair> pairs = pairs_of(q);
  std::int64_t units = 0;
  for (const PortPairs::Pair& pair : pairs) units += pair.units;
  const std::int64_t of_pairs = units * body_.unit.count();
  SIM_CHECK(q % 2 == 0 ? of_pairs <= port.total : of_pairs == port.total,
            "a port moves the bytes of its pairs; what stays inside a part is sent");
  SIM_CHECK(port.total == 0 || body_.ports[q].uses_end > body_.ports[q].uses_begin,
            "a port moves bytes over something");
  port.largest[kClasses - 1] = std::numeric_limits<std::uint32_t>::max();
  port.through[kClasses] = port.total;
  std::fill(std::begin(port.active), std::end(port.active), 1.0F);
  if (!pairs.empty()) set_classes(q, units);
  parts_[q / 4].outstanding += static_cast<std::int64_t>(pairs.size()) + (port.total > 0 ? 1 : 0);
}

// A class without pairs is through when the one before is.
void PortRun::set_classes(std::size_t q, std::int64_t units) {
  Port& port = ports_[q];
  const std::span<const PortPairs::Pair> pairs = pairs_of(q);
  const double mean = static_cast<double>(units) / static_cast<double>(pairs.size());
  for (int k = 0; k + 1 < kClasses; ++k) {
    port.largest[k] = static_cast<std::uint32_t>(mean * kClassEnds[k] * (1 + 1e-12));
  }
  double sum[kClasses] = {};
  std::int64_t count[kClasses] = {};
  for (const PortPairs::Pair& pair : pairs) {
    int k = 0;
    while (pair.units > port.largest[k]) ++k;
    sum[k] += pair.units;
    ++count[k];
  }
  // A class's pairs stand for each other, so min(pair, level) of a class is that of its mean. What
  // stays inside the part moves along with the pairs.
  const double bytes_per_unit = static_cast<double>(port.total) / static_cast<double>(units);
  double below = 0;
  std::int64_t at_or_above = static_cast<std::int64_t>(pairs.size());
  for (int k = 0; k < kClasses; ++k) {
    port.active[k] =
        static_cast<float>(static_cast<double>(std::max<std::int64_t>(1, at_or_above)) /
                           static_cast<double>(pairs.size()));
    if (count[k] == 0) {
      port.through[k] = k == 0 ? 0 : port.through[k - 1];
      continue;
    }
    const double level = sum[k] / static_cast<double>(count[k]);
    const double moved = below + level * static_cast<double>(at_or_above);
    port.through[k] =
        std::min(port.total, static_cast<std::int64_t>(std::llround(moved * bytes_per_unit)));
    below += sum[k];
    at_or_above -= count[k];
  }
  port.active[kClasses] = static_cast<float>(1.0 / static_cast<double>(pairs.size()));
  for (int k = kClasses - 1; k >= 0; --k) {
    const double left = static_cast<double>(port.through[k + 1] - port.through[k]);
    if (port.through[k] > 0 && left < kSameMoment * static_cast<double>(port.total)) {
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
  // One-sided, a part that sends nothing has nothing to open; it may even be done before.
  const std::size_t first = 4 * static_cast<std::size_t>(p);
  const bool sends = ports_[first].total > 0 || ports_[first + 2].total > 0;
  if (start_ == StartRule::kOneSided && !sends) return;
  const Duration latency = body_.latency[static_cast<std::size_t>(p)];
  if (latency > Duration(0)) {
    loop_.after(latency, [this, p] { open(p); });
  } else {
    open(p);
  }
}

void PortRun::open(std::int32_t p) {
  parts_[static_cast<std::size_t>(p)].open = true;
  const std::size_t first = 2 * static_cast<std::size_t>(p);
  open_endpoint(first, p);
  open_endpoint(first + 1, p);
}

void PortRun::open_endpoint(std::size_t endpoint, std::int32_t p) {
  const bool rendezvous = start_ == StartRule::kRendezvous;
  const std::int64_t unit = body_.unit.count();
  std::int64_t sendable = ports_[2 * endpoint].total;
  for (const PortPairs::Pair& pair : body_.by_sender.of(endpoint)) {
    if (rendezvous && !parts_[static_cast<std::size_t>(part_of(pair.other))].open) {
      sendable -= pair.units * unit;
    } else {
      supply(receive_of(pair.other), pair.units_there * unit, p);
    }
  }
  supply(2 * endpoint, sendable, p);
  if (!rendezvous) return;
  std::int64_t receivable = 0;
  for (const PortPairs::Pair& pair : body_.by_receiver.of(endpoint)) {
    if (!parts_[static_cast<std::size_t>(part_of(pair.other))].open) continue;
    supply(send_of(pair.other), pair.units_there * unit, p);
    receivable += pair.units * unit;
  }
  supply(2 * endpoint + 1, receivable, p);
}

void PortRun::supply(std::size_t q, std::int64_t bytes, std::int32_t initiator) {
  if (bytes == 0) return;
  Port& port = ports_[q];
  port.available += bytes;
  port.initiator = initiator;
  if (port.supplied || port.flying > 0) return;  // what flies looks again when it ends
  port.supplied = true;
  if (supplied_.empty()) loop_.after(Duration(0), [this] { advance_supplied(); });
  supplied_.push_back(q);
}

void PortRun::advance_supplied() {
  for (const std::size_t q : std::exchange(supplied_, {})) {
    ports_[q].supplied = false;
    advance(q);
  }
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
  FluidNetwork::Options options;
  options.weight = given.flows * static_cast<double>(port.active[next]) *
                   static_cast<double>(port.available) / static_cast<double>(port.total);
  network_.start(std::span(body_.uses).subspan(given.uses_begin, given.uses_end - given.uses_begin),
                 Bytes(port.flying), tag_base_ + q, options);
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
  while (port.size_class < kClasses && port.through[port.size_class] <= port.done) {
    ++port.size_class;
  }
  if (port.size_class > first) {
    const std::uint32_t above = first == 0 ? 0 : port.largest[first - 1];
    const std::uint32_t up_to = port.largest[port.size_class - 1];
    for (const PortPairs::Pair& pair : pairs_of(q)) {
      if (pair.units > above && pair.units <= up_to) {
        count_down(part_of(pair.other), port.initiator);
      }
    }
  }
  if (port.done < port.total) return;
  count_down(static_cast<std::int32_t>(q / 4), port.initiator);
  const auto first_hold = std::lower_bound(
      body_.holds.begin(), body_.holds.end(), q,
      [](const PortBody::Hold& hold, std::size_t wanted) { return hold.port < wanted; });
  for (auto hold = first_hold; hold != body_.holds.end() && hold->port == q; ++hold) {
    count_down(hold->part, port.initiator);
  }
}

}  // namespace sim
