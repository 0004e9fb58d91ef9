#include "sim/app/link_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sim {
namespace {

constexpr Duration kFirstPeriod{250'000};  // 0.25 us
constexpr std::size_t kMostSamples = 512;
constexpr std::size_t kFewestSamples = 64;
constexpr std::size_t kMostValues = 2'000'000;  // 8 bytes each

}  // namespace

LinkSampler::LinkSampler(EventLoop& loop, ClusterNetwork& network, PortNetwork* ports)
    : loop_(loop), network_(network.fluid()), period_(kFirstPeriod) {
  const Cluster& cluster = network.cluster();
  for (std::size_t l = 0; l < cluster.links.size(); ++l) {
    links_.emplace_back(cluster.links[l].name, network.link(LinkId(static_cast<std::int64_t>(l))));
  }
  if (ports != nullptr) {
    for (const PortNetwork::Cut& cut : ports->cuts()) links_.emplace_back(cut.name, cut.resource);
  }
  kept_ = std::clamp(kMostValues / std::max<std::size_t>(1, links_.size()), kFewestSamples,
                     kMostSamples);
  schedule(loop.now() + period_);
}

LinkSampler::~LinkSampler() { loop_.cancel(next_); }

// A background event: it does not keep the run going.
void LinkSampler::schedule(Time when) {
  next_ = loop_.at_background(when, [this] { sample(); });
}

void LinkSampler::sample() {
  Sample now{loop_.now(), {}};
  for (std::size_t l = 0; l < links_.size(); ++l) {
    const double share = network_.utilisation(links_[l].second);
    if (share > 0)
      now.used.push_back({static_cast<std::int32_t>(l), static_cast<float>(100 * share)});
  }
  samples_.push_back(std::move(now));
  if (samples_.size() == kept_) {
    for (std::size_t i = 0; 2 * i + 1 < samples_.size(); ++i)
      samples_[i] = std::move(samples_[2 * i + 1]);
    samples_.resize(samples_.size() / 2);
    period_ *= 2;
  }
  schedule(loop_.now() + period_);
}

void LinkSampler::write(TimelineWriter& writer, int process, Time end) {
  std::vector<double> sums(links_.size());
  for (const Sample& each : samples_) {
    for (const Used& used : each.used)
      sums[static_cast<std::size_t>(used.link)] += static_cast<double>(used.percent);
  }
  std::vector<std::size_t> order(links_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t shown = std::min(kShown, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
      [&](std::size_t a, std::size_t b) { return sums[a] != sums[b] ? sums[a] > sums[b] : a < b; });
  for (std::size_t i = 0; i < shown && sums[order[i]] > 0; ++i) {
    if (!named_) writer.name_process(process, "busiest links");
    named_ = true;
    const std::string& name = links_[order[i]].first;
    double before = -1;
    for (const Sample& each : samples_) {
      double percent = 0;
      for (const Used& used : each.used) {
        if (static_cast<std::size_t>(used.link) == order[i])
          percent = std::round(static_cast<double>(used.percent) * 10) / 10;
      }
      if (percent != before) writer.counter(process, name, "%", each.time, percent);
      before = percent;
    }
    if (before > 0) writer.counter(process, name, "%", end, 0);
  }
}

void LinkSampler::clear(Time now) {
  samples_.clear();
  loop_.cancel(next_);
  period_ = kFirstPeriod;
  schedule(now + period_);
}

}  // namespace sim
