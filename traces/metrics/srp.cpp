#include "traces/metrics/srp.h"

#include "sim/core/error.h"

namespace sim {
namespace {

// The count of one expert in the current window. Its histogram is brought up to date only when the
// count changes, so a window costs as much as the choices that enter and leave it.
struct Running {
  std::int64_t since = 0;  // first window with this count
  int count = 0;
};

class Windows {
 public:
  Windows(int experts, int m)
      : running_(static_cast<std::size_t>(experts)),
        counted_(static_cast<std::size_t>(experts), -1),
        histograms_(static_cast<std::size_t>(experts),
                    WindowHistogram(static_cast<std::size_t>(m) + 1, 0)) {}

  // A token counts once for an expert, even if it names it twice.
  void change(std::span<const std::uint16_t> choices, int by, std::int64_t window) {
    ++visit_;
    for (const std::uint16_t expert : choices) {
      if (counted_[expert] == visit_) continue;
      counted_[expert] = visit_;
      settle(expert, window);
      running_[expert].count += by;
    }
  }
  // Before window number `window`, all counts are again 0.
  void settle_all(std::int64_t window) {
    for (std::size_t e = 0; e < running_.size(); ++e) {
      settle(e, window);
      running_[e] = {};
    }
  }
  std::vector<WindowHistogram> take() { return std::move(histograms_); }

 private:
  void settle(std::size_t expert, std::int64_t window) {
    Running& now = running_[expert];
    histograms_[expert][static_cast<std::size_t>(now.count)] += window - now.since;
    now.since = window;
  }

  std::vector<Running> running_;
  std::vector<std::int64_t> counted_;
  std::int64_t visit_ = 0;
  std::vector<WindowHistogram> histograms_;
};

}  // namespace

std::vector<WindowHistogram> window_histograms(const LayerTokens& tokens,
                                               const Sequences& sequences, int m) {
  SIM_CHECK(m >= 1, "a window holds a token");
  Windows windows(tokens.experts, m);
  for (std::size_t s = 0; s + 1 < sequences.begin.size(); ++s) {
    const std::int64_t first = sequences.begin[s];
    const std::int64_t end = sequences.begin[s + 1];
    if (end - first < m) continue;
    for (std::int64_t t = first; t < first + m; ++t) windows.change(tokens.of(t), 1, 0);
    for (std::int64_t t = first + m; t < end; ++t) {
      const std::int64_t window = t - first - m + 1;
      windows.change(tokens.of(t - m), -1, window);
      windows.change(tokens.of(t), 1, window);
    }
    windows.settle_all(end - first - m + 1);
  }
  return windows.take();
}

Srp best_srp(const WindowHistogram& histogram) {
  Srp best;
  const std::size_t m = histogram.size() - 1;
  double act = 0;
  for (std::size_t f = 0; f <= m; ++f) {
    act += static_cast<double>(f) * static_cast<double>(histogram[f]);
  }
  if (act == 0) return best;
  double pred = 0;
  double hits = 0;
  for (std::size_t threshold = m + 1; threshold-- > 0;) {
    const double windows = static_cast<double>(histogram[threshold]);
    pred += static_cast<double>(m) * windows;
    hits += static_cast<double>(threshold) * windows;
    const double f1 = 2 * hits / (pred + act);
    if (f1 >= best.f1) best = {f1, static_cast<int>(threshold), pred / act};
  }
  return best;
}

WindowHistogram sum_histograms(const std::vector<WindowHistogram>& histograms) {
  WindowHistogram sum(histograms.empty() ? 1 : histograms[0].size(), 0);
  for (const WindowHistogram& histogram : histograms) {
    for (std::size_t f = 0; f < sum.size(); ++f) sum[f] += histogram[f];
  }
  return sum;
}

}  // namespace sim
