#include "sim/app/machine_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <list>
#include <map>
#include <optional>

#include "models/costs/calibrated_costs.h"
#include "models/costs/constants_file.h"
#include "sim/app/kernel_kinds.h"
#include "sim/core/error.h"
#include "sim/input/fitting/least_squares.h"
#include "sim/input/fitting/row_ids.h"
#include "sim/input/yaml_text.h"

namespace sim {
namespace {

constexpr std::size_t kFewRows = 20;  // below, only the three parameters every form has are moved
constexpr std::size_t kFolds = 4;
constexpr double kWorstMedian = 0.5;     // of a fit that is worth having
constexpr double kOutlierFactor = 2.5;   // nearer to its fit than this no row is an outlier
constexpr double kOutlierSpread = 6;     // times the median of the rows' distances
constexpr double kCeilingFactor = 3;     // that a best ceiling may be above the second
constexpr double kMostMemory = 100e12;   // B/s of a device
constexpr double kMostCompute = 100e15;  // FLOP/s of a device
constexpr int kMostJudgements = 3;       // of outliers, each by the fit without the ones before

// A measured call, ready to be priced. Subjects do not move: calls point into them.
struct Point {
  const MeasuredCase* row = nullptr;
  const KernelKind* kind = nullptr;
  KernelSubject subject;
  std::string id;
  std::int64_t number = 0;  // of the row in the file, from 1
  int sms = 0;
};

// Rows of one kernel that share their constants.
struct Group {
  const KernelKind* kind = nullptr;
  std::string source;
  KernelFormat format;
  std::vector<const Point*> points;
};

KernelFormat format_of(const KernelCase& what) {
  const std::optional<KernelFormat> format = parse_kernel_format(what.dtype);
  return format ? *format : KernelFormat{*parse_dtype(what.dtype), *parse_dtype(what.dtype), false};
}

// Empty: it is used. Else why no constants rest on the row.
std::string reason_to_leave(const KernelCase& what, const KernelKind* kind) {
  if (what.kernel.rfind("ceiling", 0) == 0) return "";
  if (what.kernel == "moe_layer") return "a whole layer: what a simulation is compared with";
  if (what.pass != "forward") return "not a forward pass";
  if (kind == nullptr) return "no kernel of a model's step";
  const auto quantise = what.options.find("quantise");
  if (quantise != what.options.end() && quantise->second != "none") {
    return "quantised: another kernel under the same name";
  }
  const auto layout = what.options.find("layout");
  if (layout != what.options.end() && layout->second == "padded")
    return "padded rows: a model's are not";
  return "";
}

bool fill(Point& point) {
  const KernelKind& kind = *point.kind;
  point.subject.format = format_of(point.row->what);
  for (const KernelSize& size : kind.sizes) {
    const auto find = [&](std::string_view key) { return point.row->what.size_or(key, -1); };
    std::int64_t value = find(size.key);
    if (value < 0 && !size.also.empty()) value = find(size.also);
    if (value < 0) value = size.fallback;
    if (value == kNeeded) return false;
    point.subject.sizes.push_back(value);
  }
  point.subject.rows = point.row->what.rows;
  try {
    kind.fill(kind, point.subject);
  } catch (const Error&) {
    return false;
  }
  return true;
}

const CostForm* form_of(KernelFamily family) {
  for (const CostForm* form : cost_forms()) {
    if (form->family == family) return form;
  }
  return nullptr;
}

bool moves(const FormParameter& parameter, bool few) {
  static constexpr std::string_view kCore[] = {"start", "compute_share", "memory_share"};
  static constexpr std::string_view kMore[] = {"smoothness", "tile_rows", "activation"};
  const auto among = [&](std::span<const std::string_view> keys) {
    return std::find(keys.begin(), keys.end(), parameter.key) != keys.end();
  };
  return among(kCore) || (!few && among(kMore));
}

class Fit {
 public:
  Fit(const Device& device, const CostForm& form, std::vector<double> values,
      std::vector<std::size_t> free)
      : device_(&device), form_(&form), values_(std::move(values)), free_(std::move(free)) {}

  const std::vector<std::size_t>& free() const { return free_; }

  double predict(const Point& point, std::span<const double> values) const {
    const DeviceRates rates = rates_for(*device_, point.subject.format.multiplied, point.sms);
    return form_->time(call_of(*point.kind, point.subject), rates, values).time;
  }

  // `loss`, where it is asked for: of the best values, before they are rounded.
  std::vector<double> run(const std::vector<const Point*>& points, double* loss = nullptr) const {
    std::vector<FittedValue> moved;
    for (const std::size_t i : free_) {
      const FormParameter& parameter = form_->parameters[i];
      // A CPU starts a kernel sooner than a GPU, and may use far less of its peaks.
      const double least = parameter.kind == ParameterKind::kNumber  ? parameter.least
                           : parameter.kind == ParameterKind::kShare ? 1e-4
                                                                     : 1e-9;
      const double most = parameter.kind == ParameterKind::kShare ? 1.0 : parameter.most;
      moved.push_back({std::clamp(values_[i], least, most), least, most});
    }
    std::vector<double> measured;
    for (const Point* point : points) measured.push_back(point->row->median_us * 1e-6);
    std::vector<double> values = values_;
    const Minimum minimum = least_relative_squares(
        moved, measured, [&](std::span<const double> tried, std::span<double> predicted) {
          for (std::size_t i = 0; i < free_.size(); ++i) values[free_[i]] = tried[i];
          for (std::size_t p = 0; p < points.size(); ++p) {
            // A logarithm for the relative error: twice and half are as far off.
            predicted[p] = measured[p] * (1 + std::log(predict(*points[p], values) / measured[p]));
          }
        });
    for (std::size_t i = 0; i < free_.size(); ++i) {
      values[free_[i]] = rounded_value(minimum.values[i]);
    }
    if (loss != nullptr) *loss = minimum.loss;
    return values;
  }

  // ln(predicted / measured).
  double away(const Point& point, std::span<const double> values) const {
    return std::log(predict(point, values) / (point.row->median_us * 1e-6));
  }

  void add_errors(const std::vector<const Point*>& points, std::span<const double> values,
                  std::vector<PredictionError>& errors) const {
    for (const Point* point : points) {
      errors.push_back({point->id, predict(*point, values) / (point->row->median_us * 1e-6) - 1});
    }
  }

 private:
  const Device* device_;
  const CostForm* form_;
  std::vector<double> values_;
  std::vector<std::size_t> free_;
};

// Where a fit begins: the catalog's constants of the same kernel, else the form's own start.
std::vector<double> first_values(const CostForm& form, const KernelConstants* nearest, bool few) {
  if (nearest != nullptr && nearest->form == &form) return nearest->values;
  std::vector<double> values;
  for (const FormParameter& parameter : form.parameters) {
    values.push_back(moves(parameter, few) ? parameter.start : parameter.absent);
  }
  return values;
}

const KernelConstants* nearest_of(const Device* sheet, const Group& group) {
  if (sheet == nullptr) return nullptr;
  const std::string op(group.kind->op);
  return choose_constants(*sheet, {group.kind->family, group.format, false, &op, nullptr},
                          call_of(*group.kind, group.points.front()->subject));
}

// Tile sizes are whole numbers that the minimiser does not move: the pair that fits best, of those
// that kernels have. One and one: a kernel that pads nothing, as on a CPU.
std::vector<double> best_tiles(const Device& device, const CostForm& form,
                               std::vector<double> values, const std::vector<std::size_t>& free,
                               const std::vector<const Point*>& points) {
  int least = -1;
  int most = -1;
  for (std::size_t i = 0; i < form.parameters.size(); ++i) {
    if (form.parameters[i].key == "tile_least") least = static_cast<int>(i);
    if (form.parameters[i].key == "tile_most") most = static_cast<int>(i);
  }
  if (least < 0 || most < 0) return values;
  static constexpr std::pair<double, double> kTiles[] = {{1, 1},   {8, 8},    {8, 64},
                                                         {16, 64}, {16, 128}, {64, 128}};
  const auto allowed = [&](int i, double value) {
    const FormParameter& parameter = form.parameters[static_cast<std::size_t>(i)];
    return value >= parameter.least && value <= parameter.most;
  };
  double best = std::numeric_limits<double>::infinity();
  std::vector<double> result = values;
  for (const auto& [low, high] : kTiles) {
    if (!allowed(least, low) || !allowed(most, high)) continue;
    values[static_cast<std::size_t>(least)] = low;
    values[static_cast<std::size_t>(most)] = high;
    double loss = 0;
    const std::vector<double> tried = Fit(device, form, values, free).run(points, &loss);
    if (loss >= best) continue;
    best = loss;
    result = tried;
  }
  return result;
}

std::vector<const Point*> without_outliers(const Fit& fit, std::span<const double> values,
                                           const std::vector<const Point*>& points) {
  std::vector<double> sizes;
  for (const Point* point : points) sizes.push_back(std::fabs(fit.away(*point, values)));
  std::vector<double> sorted = sizes;
  std::sort(sorted.begin(), sorted.end());
  const double limit =
      std::max(std::log(kOutlierFactor), kOutlierSpread * sorted[sorted.size() / 2]);
  std::vector<const Point*> result;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (sizes[i] <= limit) result.push_back(points[i]);
  }
  return result;
}

std::vector<std::size_t> free_parameters(const CostForm& form, bool few) {
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < form.parameters.size(); ++i) {
    if (moves(form.parameters[i], few)) free.push_back(i);
  }
  return free;
}

void set_ids_and_range(KernelConstants& constants, const std::vector<const Point*>& points) {
  std::vector<std::string> ids;
  std::vector<double> extents(constants.form->extents.size());
  constants.range.assign(extents.size(), {1e300, 0});
  for (const Point* point : points) {
    ids.push_back(point->id);
    constants.form->extents_of(call_of(*point->kind, point->subject), extents);
    for (std::size_t i = 0; i < extents.size(); ++i) {
      constants.range[i].first = std::min(constants.range[i].first, extents[i]);
      constants.range[i].second = std::max(constants.range[i].second, extents[i]);
    }
  }
  constants.fitted_to = compact_ids(ids);
}

std::optional<Fit> fit_of(const Group& group, const Device& device, const Device* sheet,
                          const std::vector<const Point*>& points) {
  const CostForm& form = *form_of(group.kind->family);
  const bool few = points.size() < kFewRows;
  const std::vector<std::size_t> free = free_parameters(form, few);
  if (points.size() < 2 * free.size()) return std::nullopt;
  const std::vector<double> first = first_values(form, nearest_of(sheet, group), few);
  return Fit(device, form, best_tiles(device, form, first, free, points), free);
}

// Nothing: fewer than two rows for each parameter, which `reason` says.
std::optional<MachineKernel> fit_group(const Group& group, const Device& device,
                                       const Device* sheet, const std::string& provenance,
                                       std::string& reason) {
  const CostForm& form = *form_of(group.kind->family);
  MachineKernel result;
  std::vector<const Point*> kept = group.points;
  std::optional<Fit> fit;
  std::vector<double> values;
  for (int judged = 0;; ++judged) {
    fit = fit_of(group, device, sheet, kept);
    if (!fit) {
      const std::size_t out = group.points.size() - kept.size();
      reason = fmt::format("{}, {}: {} rows{} are too few for {} parameters", group.kind->name,
                           group.source, kept.size(),
                           out > 0 ? fmt::format(" (and {} outliers)", out) : std::string(),
                           free_parameters(form, kept.size() < kFewRows).size());
      return std::nullopt;
    }
    values = fit->run(kept);
    if (judged == kMostJudgements) break;
    std::vector<const Point*> near = without_outliers(*fit, values, group.points);
    if (near == kept) break;
    kept = std::move(near);
  }
  for (const std::size_t i : fit->free()) result.moved.emplace_back(form.parameters[i].key);
  std::vector<std::string> numbers;
  for (const Point* point : group.points) {
    if (std::find(kept.begin(), kept.end(), point) != kept.end()) continue;
    numbers.push_back(fmt::format("{}", point->number));
    result.outliers.push_back({point->number, std::exp(-fit->away(*point, values))});
  }
  KernelConstants& constants = result.constants;
  constants.family = group.kind->family;
  constants.source = group.source;
  constants.format = group.format;
  constants.form = &form;
  constants.values = values;
  std::vector<PredictionError> errors;
  fit->add_errors(kept, constants.values, errors);
  result.fitted = summarise_errors(errors);
  if (kept.size() >= fit->free().size() + 2 * kFolds) {
    errors.clear();
    for (std::size_t fold = 0; fold < kFolds; ++fold) {
      std::vector<const Point*> seen, other;
      for (std::size_t i = 0; i < kept.size(); ++i) {
        (i % kFolds == fold ? other : seen).push_back(kept[i]);
      }
      fit->add_errors(other, fit->run(seen), errors);
    }
    result.held_out = summarise_errors(errors);
  }
  set_ids_and_range(constants, kept);
  constants.label = CostLabel::kFitted;
  constants.provenance =
      fmt::format("{}; {} rows, median error {:.1f} %, 90th percentile {:.1f} %{}{}", provenance,
                  kept.size(), 100 * result.fitted.median, 100 * result.fitted.p90,
                  result.held_out.rows > 0
                      ? fmt::format("; held out {:.1f} and {:.1f} %", 100 * result.held_out.median,
                                    100 * result.held_out.p90)
                      : std::string("; too few rows to hold some out"),
                  numbers.empty() ? std::string()
                                  : fmt::format("; {} outliers left out: {} row {}", numbers.size(),
                                                group.kind->name, fmt::join(numbers, ", ")));
  return result;
}

// Names of models/operators.cpp that a measured streaming kernel stands for.
std::vector<std::string> operators_of(const KernelKind& kind) {
  if (kind.family != KernelFamily::kStreaming) return {};
  if (kind.name == "norm") return {"norm", "residual_norm", "q_a_norm", "kv_norm_rope_write"};
  if (kind.name == "activation") return {"dense_activation", "shared_activation"};
  return {std::string(kind.op)};
}

// to_yaml() puts these between double quotes as they are.
std::string escaped(const std::string& text) {
  const std::string quoted = yaml_quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

// A row of a ceiling and what it reached, in B/s or FLOP/s.
struct Ceiling {
  double rate = 0;
  const MeasuredCase* row = nullptr;
  std::size_t number = 0;  // of the row in the file, from 1
};

// The best of one kind; a best that leaves the second far behind is a slip, and is said.
double best_ceiling(std::vector<Ceiling>& rows, const std::string& kind, const char* unit,
                    double most, const std::string& file_name, std::vector<std::string>& said) {
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Ceiling& a, const Ceiling& b) { return a.rate > b.rate; });
  std::size_t best = 0;
  if (rows.size() > 1 && rows[0].rate > kCeilingFactor * rows[1].rate) {
    said.push_back(fmt::format("outlier: {} row {}: {:.3g} {}, the next is {:.3g}", kind,
                               rows[0].number, rows[0].rate, unit, rows[1].rate));
    best = 1;
  }
  if (rows[best].rate > most) {
    throw Error(Place{file_name, rows[best].row->line},
                fmt::format("{} reaches {:.3g} {}, more than any device's {:.0e}", kind,
                            rows[best].rate, unit, most),
                "are its times in us and its sizes in B?");
  }
  return rows[best].rate;
}

Device sheet_of(const MeasurementFile& file, const std::string& file_name,
                std::vector<std::string>& said) {
  Device device;
  double memory = 0;
  std::vector<Ceiling> copies;
  std::map<DType, std::vector<Ceiling>> products;
  for (std::size_t i = 0; i < file.rows.size(); ++i) {
    const MeasuredCase& row = file.rows[i];
    const double seconds = row.median_us * 1e-6;
    const auto size = [&](const char* name) { return static_cast<double>(row.what.size(name)); };
    if (row.what.kernel == "ceiling_memory") {
      copies.push_back({size("bytes") / seconds, &row, i + 1});
    } else if (row.what.kernel == "ceiling_matrix") {
      products[*parse_dtype(row.what.dtype)].push_back(
          {2.0 * size("m") * size("n") * size("k") / seconds, &row, i + 1});
    }
  }
  if (!copies.empty()) {
    memory = best_ceiling(copies, "ceiling_memory", "B/s", kMostMemory, file_name, said);
  }
  for (auto& [dtype, rows] : products) {
    device.peak[dtype] =
        FlopRate(best_ceiling(rows, fmt::format("ceiling_matrix of {}", to_text(dtype)), "FLOP/s",
                              kMostCompute, file_name, said));
  }
  if (memory <= 0 || device.peak.empty()) {
    throw Error(Place{file_name}, "there are no rows of ceiling_memory and ceiling_matrix",
                "measure them, or name the device with --device");
  }
  // What was not measured stands for what was: a CPU multiplies bf16 in fp32.
  for (const auto& [missing, other] : {std::pair{DType::kFp32, DType::kBf16},
                                       {DType::kBf16, DType::kFp16},
                                       {DType::kBf16, DType::kFp32}}) {
    if (!device.peak.contains(missing) && device.peak.contains(other)) {
      device.peak[missing] = device.peak[other];
    }
  }
  if (!device.peak.contains(DType::kFp32)) device.peak[DType::kFp32] = device.peak[DType::kBf16];
  device.memory_bandwidth = Bandwidth(memory);
  device.memory_capacity = Bytes(file.device.memory_bytes);
  device.sms = std::max(1, file.device.sms);
  device.clock_hz = file.device.clock_mhz * 1e6;
  device.efficiency_label = "measured";
  device.efficiency_source = "the peaks are themselves what large calls reached";
  return device;
}

}  // namespace

MachineFit fit_machine(const MeasurementFile& file, const std::string& file_name,
                       const std::string& device_name, const Device* sheet) {
  MachineFit result;
  result.device = sheet != nullptr ? *sheet : sheet_of(file, file_name, result.left_out);
  result.device.kernels.clear();
  result.device.name = device_name;
  const std::string provenance =
      fmt::format("{}, {}, {} on {}{}{}{}", file_name, file.date, file.written_by, file.device.name,
                  file.device.driver.empty() ? "" : ", driver " + file.device.driver,
                  file.device.runtime.empty() ? "" : ", " + file.device.runtime,
                  file.device.clock_mhz > 0 ? fmt::format(", {:.0f} MHz", file.device.clock_mhz)
                                            : std::string());
  result.device.source =
      sheet != nullptr ? sheet->source : "peaks and bandwidth measured: " + provenance;
  if (file.failed_checks > 0) {
    result.left_out.push_back(fmt::format(
        "{} cases whose results were wrong when they were measured", file.failed_checks));
  }
  for (const LeftOut& each : file.left_out) {
    result.left_out.push_back(fmt::format("{}, not measured: {}", each.kernel, each.reason));
  }
  std::list<Point> points;
  std::vector<Group> groups;
  std::map<std::string, std::int64_t> left;
  std::int64_t number = 0;
  for (const MeasuredCase& row : file.rows) {
    ++number;
    const KernelKind* kind = find_kernel_kind(row.what.kernel);
    const std::string reason = reason_to_leave(row.what, kind);
    if (!reason.empty()) ++left[fmt::format("{}: {}", row.what.kernel, reason)];
    if (!reason.empty() || kind == nullptr) continue;
    if (form_of(kind->family) == nullptr) {
      ++left[fmt::format("{}: there is no form for it", row.what.kernel)];
      continue;
    }
    Point& point = points.emplace_back();
    point.row = &row;
    point.kind = kind;
    point.number = number;
    point.id = fmt::format("{}#{}", file_name, number);
    point.sms = row.what.sms > 0 ? std::min(row.what.sms, result.device.sms) : result.device.sms;
    if (!fill(point)) {
      points.pop_back();
      ++left[fmt::format("{}: sizes that no model's kernel has", row.what.kernel)];
      continue;
    }
    const std::string source = fmt::format("microbench-{}{}", row.what.implementation,
                                           row.what.launch == "graph" ? "-graph" : "");
    auto at = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
      return group.kind == kind && group.source == source && group.format == point.subject.format;
    });
    if (at == groups.end()) at = groups.insert(at, {kind, source, point.subject.format, {}});
    at->points.push_back(&point);
  }
  for (const auto& [what, rows] : left) {
    result.left_out.push_back(fmt::format("{} ({} rows)", what, rows));
  }
  for (const Group& group : groups) {
    std::string reason;
    std::optional<MachineKernel> fitted =
        fit_group(group, result.device, sheet, provenance, reason);
    if (!fitted) {
      result.left_out.push_back(reason);
      continue;
    }
    MachineKernel& kernel = *fitted;
    if (kernel.fitted.median > kWorstMedian) {
      result.left_out.push_back(fmt::format(
          "{}, {}: the form misses its {} rows by a median of {:.0f} %: the roofline "
          "answers",
          group.kind->name, group.source, group.points.size(), 100 * kernel.fitted.median));
      continue;
    }
    kernel.constants.operators = operators_of(*group.kind);
    result.device.kernels.push_back(kernel.constants);
    result.kernels.push_back(std::move(kernel));
  }
  if (result.kernels.empty()) {
    throw Error(Place{file_name}, "the file has no kernel that constants can be fitted to",
                "without --only, microbench measures all");
  }
  // Streaming kernels that were not measured: as the norm.
  for (const KernelConstants& each : result.device.kernels) {
    if (each.operators.empty() || each.operators.front() != "norm") continue;
    KernelConstants others = each;
    others.operators.clear();
    others.label = CostLabel::kAssumed;
    others.provenance = "as the norm: " + others.provenance;
    result.device.kernels.push_back(std::move(others));
    break;
  }
  return result;
}

std::string device_yaml(const Device& device) {
  std::string text = fmt::format("name: {}\nsource: {}\nsms: {}\n", yaml_scalar(device.name),
                                 yaml_quoted(device.source), device.sms);
  if (device.clock_hz > 0) text += fmt::format("clock: {:.6g} MHz\n", device.clock_hz * 1e-6);
  text += "peak:\n";
  for (const auto& [dtype, peak] : device.peak) {
    text += fmt::format("  {}: {:.4g} TFLOP/s\n", to_text(dtype), peak.count() * 1e-12);
  }
  text += fmt::format("memory:\n  bandwidth: {:.4g} GB/s\n  capacity: {} B\n",
                      device.memory_bandwidth.count() * 1e-9, device.memory_capacity.count());
  text += fmt::format("efficiency:\n  compute: {:.3g}\n", device.compute_efficiency);
  for (const auto& [dtype, share] : device.efficiency_of) {
    text += fmt::format("  {}: {:.3g}\n", to_text(dtype), share);
  }
  text += fmt::format("  memory: {:.3g}\n  label: {}\n  source: {}\nkernels:\n",
                      device.memory_efficiency, device.efficiency_label,
                      yaml_quoted(device.efficiency_source));
  for (KernelConstants kernel : device.kernels) {
    kernel.provenance = escaped(kernel.provenance);
    for (std::string& rows : kernel.fitted_to) rows = escaped(rows);
    text += to_yaml(kernel, 0);
  }
  return text;
}

}  // namespace sim
