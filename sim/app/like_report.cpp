#include "sim/app/like_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "sim/app/catalog.h"
#include "sim/app/simulation.h"
#include "sim/core/error.h"
#include "traces/metrics/trace_metrics.h"
#include "traces/synthetic/like/generate.h"

namespace sim {
namespace {

constexpr double kAim = 0.05;
constexpr std::uint64_t kHalvesSeed = 1;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "moe-like-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
      throw Error("no temporary folder can be made", "set TMPDIR to a folder that can be written");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string name_of(const MetricRow& row) {
  std::string name = row.metric;
  std::replace(name.begin(), name.end(), '_', ' ');
  return row.parameter.empty() ? name : name + ", " + row.parameter;
}

// The model whose decode steps are timed.
struct Timed {
  std::string model;
  std::string adapt;  // of the trace's layers to the model's
  std::string note;
};

// A trace of no known model replays as first-light.yaml does, where its layers have the experts of
// a known one.
std::optional<Timed> timed_model(const TraceHeader& header) {
  const std::vector<CatalogEntry> models = Catalog().models();
  if (std::any_of(models.begin(), models.end(),
                  [&](const CatalogEntry& entry) { return entry.name == header.model; }))
    return Timed{header.model, "none", ""};
  const bool as_phi = std::all_of(header.experts.begin(), header.experts.end(),
                                  [](int experts) { return experts == 16; });
  if (as_phi && header.top_k == 2)
    return Timed{"phi-3.5-moe", "cycle-layers",
                 " (stands in: 16 experts of top-2 too, its layers replay the trace's in turn)"};
  return std::nullopt;
}

// Decode of a model on 8 GPUs, as a file to run.
std::string scenario_text(const Timed& timed, const std::string& trace, const std::string& rule,
                          int tokens_per_gpu) {
  return fmt::format(
      "model: {}\ncluster: {{use: hgx-h100, nodes: 1}}\nparallel: {{ep: 8}}\n"
      "workload: {{kind: decode, tokens_per_gpu: {}, context: 1024, steps: 20}}\n"
      "routing: {{trace: {}, rule: {}, adapt: {}}}\nseed: 7\n",
      timed.model, tokens_per_gpu, trace, rule, timed.adapt);
}

struct Replay {
  std::string rule;
  int tokens_per_gpu;
};

void add_step_times(const TemporaryFolder& folder, const std::array<std::string, 3>& traces,
                    const Timed& timed, bool has_steps, LikeReport& report) {
  const Catalog catalog;
  std::vector<Replay> replays = {{"sample", 64}, {"sample", 256}};
  if (!has_steps) replays.insert(replays.begin(), {"requests", 8});
  for (const Replay& replay : replays) {
    std::array<double, 3> step_s{}, imbalance{};
    for (std::size_t i = 0; i < traces.size(); ++i) {
      const std::string file = folder.file("scenario.yaml");
      std::ofstream(file) << scenario_text(timed, traces[i], replay.rule, replay.tokens_per_gpu);
      const RunOutcome outcome = run_scenario(read_scenario(file, {}, catalog), {});
      step_s[i] = outcome.metric("step_time_s");
      imbalance[i] = outcome.metric("imbalance_max_over_mean");
    }
    const std::string how =
        fmt::format("{} tokens per GPU by {}", replay.tokens_per_gpu, replay.rule);
    report.figures.push_back(
        {"step time (ms), " + how, step_s[1] * 1e3, step_s[0] * 1e3, step_s[2] * 1e3});
    report.figures.push_back(
        {"max/mean over ranks, " + how, imbalance[1], imbalance[0], imbalance[2]});
  }
}

std::string percent(double value) {
  return std::isfinite(value) ? fmt::format("{:+.1f} %", 100 * value) : "-";
}

}  // namespace

bool is_behaviour(const MetricRow& row) {
  return row.metric != "drift_by_chance" && row.parameter != "by chance" &&
         !(row.metric == "shared_experts" && row.parameter == "independent");
}

double LikeFigure::half_difference() const {
  return first == second ? 0 : std::abs(first / second - 1);
}
double LikeFigure::error() const { return synthetic == second ? 0 : synthetic / second - 1; }
bool LikeFigure::passes() const {
  const double gap = std::abs(synthetic - second);
  const double halves = std::abs(first - second);
  if (!std::isfinite(gap) || !std::isfinite(halves)) return false;
  return gap <= std::max(kAim * std::abs(second), halves);
}

LikeReport like_report(const std::string& trace, const LikeOptions& options) {
  LikeReport report;
  report.trace = std::filesystem::path(trace).filename().string();
  const TemporaryFolder folder;
  const std::array<std::string, 3> files = {folder.file("first.moetrace"),
                                            folder.file("second.moetrace"),
                                            folder.file("synthetic.moetrace")};
  std::optional<Timed> timed;
  bool has_steps = false;
  {
    const TokenSequences all = read_sequences(trace);
    report.model = all.header.model;
    timed = timed_model(all.header);
    has_steps = all.header.has_steps;
    const TokenSequences first = half_of(all, false, kHalvesSeed);
    const TokenSequences second = half_of(all, true, kHalvesSeed);
    report.tokens_first = static_cast<std::int64_t>(first.tokens());
    report.tokens_second = static_cast<std::int64_t>(second.tokens());
    write_sequences(first, "first half", files[0]);
    write_sequences(second, "second half", files[1]);
    const LikeModel model = fit_like(first, options);
    report.summary = like_summary(model);
    write_like(model, report.trace, 0, options.seed, files[2]);
  }
  std::array<TraceMetrics, 3> metrics;
  for (std::size_t i = 0; i < files.size(); ++i) metrics[i] = measure_trace(files[i]);
  for (const MetricRow& row : metrics[1].rows) {
    const MetricRow* first = metrics[0].find(row.metric, row.parameter, row.layer);
    const MetricRow* synthetic = metrics[2].find(row.metric, row.parameter, row.layer);
    if (first == nullptr || synthetic == nullptr || !is_behaviour(row)) continue;
    (row.layer ? report.layer_figures : report.figures)
        .push_back({name_of(row), row.value, first->value, synthetic->value});
  }
  if (timed) {
    report.scenario = "decode of " + timed->model + timed->note + " on hgx-h100, 8 GPUs, EP 8";
    add_step_times(folder, files, *timed, has_steps, report);
  }
  return report;
}

std::string like_report_text(const LikeReport& report) {
  std::string text = fmt::format(
      "## {} ({})\n\n{} tokens fitted (first half), {} not (second half): of every two consecutive "
      "requests, or recorded steps, a seeded coin gives one to each half. Synthetic: as many "
      "tokens "
      "as the first half.\n\n{}\n",
      report.trace, report.model, report.tokens_first, report.tokens_second, report.summary);
  text += report.scenario.empty()
              ? "No step time: no model of the catalog has this name or stands in.\n\n"
              : fmt::format("Step times: {}.\n\n", report.scenario);
  const auto count = [](const std::vector<LikeFigure>& figures) {
    return std::count_if(figures.begin(), figures.end(),
                         [](const LikeFigure& figure) { return figure.passes(); });
  };
  text += fmt::format(
      "**{} of {} figures pass** (means over layers; within the larger of {:.0f} % and the halves' "
      "difference of the second half), and {} of {} figures of single layers.\n\n",
      count(report.figures), report.figures.size(), 100 * kAim, count(report.layer_figures),
      report.layer_figures.size());
  text +=
      "| figure | second half | first half | synthetic | halves differ | error | |\n"
      "|---|--:|--:|--:|--:|--:|---|\n";
  for (const LikeFigure& figure : report.figures) {
    text += fmt::format("| {} | {:.4g} | {:.4g} | {:.4g} | {} | {} | {} |\n", figure.name,
                        figure.second, figure.first, figure.synthetic,
                        percent(figure.half_difference()), percent(figure.error()),
                        figure.passes() ? "pass" : "**miss**");
  }
  return text + "\n";
}

std::string like_summary(const LikeModel& model) {
  return fmt::format(
      "{} numbers fitted to {} choices: {} token classes, tables of rank {} between layers and {} "
      "inside a token, topics of {} sequences. Log likelihood per choice {:.3f} nat, {:.3f} with "
      "popularity alone.\n",
      model.parameters(), model.fitted_choices, model.classes, model.layers.back().across.rank,
      model.layers.back().together.rank, model.layout.size(), model.log_likelihood,
      model.popularity_log_likelihood);
}

}  // namespace sim
