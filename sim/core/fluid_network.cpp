#include "sim/core/fluid_network.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr double kPsPerSecond = 1e12;
constexpr double kLongest = 100.0 * 24 * 3600 * kPsPerSecond;  // what the clock holds

constexpr double kEndless = 1e30;  // bytes: no link moves them in kLongest

}  // namespace

FluidNetwork::FluidNetwork(EventLoop& loop, Listener listener)
    : loop_(loop), listener_(std::move(listener)) {}

ResourceId FluidNetwork::add_resource(Bandwidth capacity) {
  return solver_.add_resource(capacity.count() / kPsPerSecond);
}

void FluidNetwork::set_capacity(ResourceId resource, Bandwidth capacity) {
  advance_to_now();
  ++capacity_changes_;
  solver_.set_capacity(resource, capacity.count() / kPsPerSecond, offset());
  request_settle();
}

Bandwidth FluidNetwork::capacity(ResourceId resource) const {
  return Bandwidth(solver_.capacity(resource) * kPsPerSecond);
}

double FluidNetwork::offset() const { return static_cast<double>((loop_.now() - epoch_).count()); }

void FluidNetwork::start(std::span<const ResourceUse> uses, Bytes bytes, std::uint64_t tag,
                         Options options) {
  const Duration delay = start_delay_ ? start_delay_(uses) : Duration(0);
  if (delay <= Duration(0)) {
    start_now(uses, bytes, tag, options);
    return;
  }
  ++delayed_;
  std::vector<ResourceUse> kept(uses.begin(), uses.end());
  loop_.after(delay, [this, kept = std::move(kept), bytes, tag, options] {
    --delayed_;
    start_now(kept, bytes, tag, options);
  });
}

void FluidNetwork::start_endless(std::span<const ResourceUse> uses, double weight) {
  if (solver_.active() == 0) epoch_ = loop_.now();
  advance_to_now();
  const FairShareSolver::FlowIndex flow =
      solver_.add(uses, kEndless, weight, std::numeric_limits<double>::infinity(), offset());
  if (static_cast<std::size_t>(flow) >= tags_.size())
    tags_.resize(static_cast<std::size_t>(flow) + 1);
  ++endless_;
  request_settle();
}

void FluidNetwork::start_now(std::span<const ResourceUse> uses, Bytes bytes, std::uint64_t tag,
                             Options options) {
  if (solver_.active() == 0) epoch_ = loop_.now();
  advance_to_now();
  const double amount = static_cast<double>(bytes.count());
  const FairShareSolver::FlowIndex flow =
      solver_.add(uses, amount, options.weight, options.cap / kPsPerSecond, offset());
  const std::size_t index = static_cast<std::size_t>(flow);
  if (index >= tags_.size()) {
    tags_.resize(index + 1);
  }
  tags_[index] = tag;
  ++started_;
  request_settle();
}

double FluidNetwork::seconds_alone(std::span<const ResourceUse> uses, Bytes bytes) const {
  double worst = 0;
  for (const ResourceUse& use : uses) {
    worst = std::max(worst, use.multiplier / (solver_.capacity(use.resource) * kPsPerSecond));
  }
  return worst * static_cast<double>(bytes.count());
}

// Takes every end up to the present tick, in time order, with new rates after each batch.
void FluidNetwork::advance_to_now() {
  if (solver_.active() == 0) return;
  if (settle_requested_)
    return;  // changes of this very tick are not solved yet, and nothing ended since
  const double now = offset();
  while (solver_.active() > 0 && solver_.next_finish() <= now) {
    finished_.clear();
    const double time = solver_.take_finished(now, finished_);
    for (const FairShareSolver::FlowIndex flow : finished_) {
      deliveries_.push_back(tags_[static_cast<std::size_t>(flow)]);
    }
    solver_.settle(time);
  }
  if (!deliveries_.empty() && !delivery_requested_) {
    delivery_requested_ = true;
    loop_.at(loop_.now(), [this] { deliver(); });
  }
}

void FluidNetwork::request_settle() {
  if (settle_requested_) return;
  settle_requested_ = true;
  loop_.at(loop_.now(), [this] { settle(); });
}

void FluidNetwork::settle() {
  settle_requested_ = false;
  solver_.settle(offset());
  schedule_next();
}

void FluidNetwork::schedule_next() {
  const double next = solver_.active() == 0 ? FairShareSolver::kNever : solver_.next_finish();
  if (!(next < kLongest)) {  // nothing moves, or so slowly that the clock would run out

    if (next_scheduled_) loop_.cancel(next_event_);
    next_scheduled_ = false;
    return;
  }
  const Time when =
      std::max(loop_.now(), epoch_ + Duration(static_cast<std::int64_t>(std::ceil(next))));
  if (next_scheduled_ && when == next_time_) return;
  if (next_scheduled_) loop_.cancel(next_event_);
  next_scheduled_ = true;
  next_time_ = when;
  next_event_ = loop_.at(when, [this] { on_finish(); });
}

void FluidNetwork::on_finish() {
  next_scheduled_ = false;
  if (settle_requested_) return;  // settle() runs later in this tick and schedules again
  advance_to_now();
  schedule_next();
}

void FluidNetwork::deliver() {
  delivery_requested_ = false;
  std::vector<std::uint64_t> batch;
  batch.swap(deliveries_);
  for (const std::uint64_t tag : batch) listener_(tag);
}

}  // namespace sim
