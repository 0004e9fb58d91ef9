// simulate calibrate fit | show | accuracy: constants of communication out of published tables, and
// how far the simulator is from the tables.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

#include "models/calibration/dense_accuracy.h"
#include "models/calibration/dense_fit.h"
#include "models/calibration/expert_calibration.h"
#include "models/calibration/measurement_file.h"
#include "models/costs/constants_file.h"
#include "models/device_reader.h"
#include "sim/app/accuracy_experts.h"
#include "sim/app/accuracy_text.h"
#include "sim/app/catalog.h"
#include "sim/app/cluster_choice.h"
#include "sim/app/commands/commands.h"
#include "sim/app/device_choice.h"
#include "sim/app/machine_text.h"
#include "sim/input/fitting/fit_parameter.h"
#include "sim/input/suggestion.h"
#include "sim/input/text_file.h"
#include "topologies/calibration/fit.h"

namespace sim {
namespace {

constexpr const char* kDataHelp =
    "folder of the public reference data, with data/ and papers/ (default: MOE_SHARED_DIR, else "
    "`shared` beside the repository)";

std::string data_folder(const std::string& given, const Catalog& catalog) {
  std::string folder = given;
  if (folder.empty()) {
    const char* shared = std::getenv("MOE_SHARED_DIR");
    folder = shared != nullptr
                 ? std::string(shared)
                 : (std::filesystem::path(catalog.root()).parent_path() / "shared").string();
  }
  if (!std::filesystem::is_directory(std::filesystem::path(folder) / "data")) {
    throw Error(fmt::format("the folder '{}' holds no public reference data", folder),
                "name it with --data, or set MOE_SHARED_DIR");
  }
  return folder;
}

std::string spec_file(const std::string& name, const Catalog& catalog) {
  if (std::filesystem::is_regular_file(name)) return name;
  const CatalogLookup links = catalog_in(catalog.root() + "/topologies/calibration/specs");
  if (const std::optional<std::string> file = links.file(name)) return *file;
  const CatalogLookup kernels = catalog_in(catalog.root() + "/models/calibration/specs");
  if (const std::optional<std::string> file = kernels.file(name)) return *file;
  std::vector<std::string> known = links.names;
  known.insert(known.end(), kernels.names.begin(), kernels.names.end());
  throw Error(fmt::format("there is no specification '{}'", name), suggest(name, known));
}

void fit_experts_of(const std::string& file, const Catalog& catalog, const std::string& folder) {
  const ExpertSpec spec = load_expert_spec(file);
  const Device device = read_device(catalog.device_file(spec.device));
  const std::vector<MeasuredKernel> rows = rows_of_tables(spec, folder);
  std::cout << fmt::format("# simulate calibrate fit {}; errors in %: median / 90th percentile\n",
                           spec.name)
            << fmt::format("device: {}\nkernels:\n", spec.device);
  for (const ExpertKernelSpec& kernel : spec.kernels) {
    std::cout << to_text(calibrate_experts(spec, kernel, rows, device));
  }
}

std::string errors_line(const char* what, const ErrorSummary& errors) {
  if (errors.rows == 0) return "";
  return fmt::format(
      "#   {:<24} {:>5.1f} {:>6.1f} {:>6.1f} {:>6.1f} {:>7.1f}  {:>4} rows, worst {}\n", what,
      100 * errors.mean, 100 * errors.median, 100 * errors.p90, 100 * errors.p95,
      100 * errors.worst, errors.rows, errors.worst_row);
}

void print_split(const SplitErrors& split) {
  std::cout << errors_line("fitted rows", split.fitted) << errors_line("other rows", split.tested)
            << errors_line("  decode-like sizes", split.tested_decode)
            << errors_line("  prefill-like sizes", split.tested_prefill);
}

// The constants of every kernel of the specification, as models/calibration/constants holds them.
void fit_dense(const DenseSpec& spec, const Catalog& catalog, const std::string& folder) {
  const Device device = read_device(catalog.root() + "/models/devices/" + spec.device + ".yaml");
  std::cout << fmt::format("# {}: constants of {}; errors in %: mean, median, p90, p95, worst\n",
                           spec.name, spec.device);
  std::map<std::string, std::vector<MeasuredKernel>> read;
  for (const DenseKernelSpec& kernel : spec.kernels) {
    std::vector<MeasuredKernel> rows;
    for (const std::string& table : kernel.tables) {
      if (!read.contains(table)) read[table] = read_kernels(table, folder);
      rows.insert(rows.end(), read[table].begin(), read[table].end());
    }
    const DenseCalibration result = calibrate_dense(spec, kernel, rows, device);
    std::cout << to_yaml(result.constants, 0) << errors_line("fitted rows", result.fitted)
              << errors_line("other rows", result.others)
              << errors_line("held out", result.held_out);
    if (result.implausible > 0) {
      std::cout << fmt::format("#   {} rows are not plausible\n", result.implausible);
    }
  }
}

// Files of the microbenchmark; the others are specifications. Returns whether there were any.
bool fit_measurements(const std::vector<std::string>& names, const std::string& data,
                      const std::string& device, const std::string& out, const Catalog& catalog) {
  const auto measured = std::count_if(names.begin(), names.end(), is_measurement_file);
  if (measured == 0) {
    if (device.empty() && out.empty()) return false;
    std::error_code code;  // a file that should be a measurement: what is wrong with it
    for (const std::string& name : names) {
      if (std::filesystem::is_regular_file(name, code)) read_measurement_file(name);
    }
    throw Error("--device and --out go with a file of the microbenchmark",
                "constants of a specification are printed");
  }
  if (names.size() > 1) {
    throw Error("one file of the microbenchmark at a time", "each makes one device");
  }
  if (!data.empty()) {
    throw Error("--data has no effect on a file of the microbenchmark", "leave it out");
  }
  std::cout << fit_measurement_file(names.front(), device, out, catalog);
  return true;
}

void fit(const std::vector<std::string>& names, const std::string& data, const std::string& device,
         const std::string& out) {
  const Catalog catalog;
  if (fit_measurements(names, data, device, out, catalog)) return;
  const std::string folder = data_folder(data, catalog);
  for (const std::string& name : names) {
    const std::string file = spec_file(name, catalog);
    if (is_dense_spec(file)) {
      fit_dense(load_dense_spec(file), catalog, folder);
      continue;
    }
    if (is_expert_spec(file)) {
      fit_experts_of(file, catalog, folder);
      continue;
    }
    const CalibrationSpec spec = load_calibration_spec(file);
    std::vector<MeasuredRow> rows;
    for (const std::string& table : spec.tables) {
      const std::vector<MeasuredRow> more = read_measured(table, folder);
      rows.insert(rows.end(), more.begin(), more.end());
    }
    const Cluster cluster = choose_cluster(catalog, spec.cluster, {}, 2);
    const DeviceTypes types(cluster, catalog);
    MachineRates rates = rates_of(cluster);
    rates.device_sms = types.of_devices().front()->sms;
    std::cout << fmt::format("# {}: constants of {}; errors in %: mean, median, p90, p95, worst\n",
                             spec.name, spec.cluster);
    for (const CalibrationFit& each : spec.fits) {
      const FitResult result = run_fit(spec, each, rows, rates);
      std::cout << to_catalog_yaml(spec, result, 2);
      print_split(result.kept);
      for (const SplitErrors& split : result.splits) {
        std::cout << "#   split " << split.name << "\n";
        print_split(split);
      }
    }
  }
}

void show_cluster(const Catalog& catalog, const std::string& name) {
  const Cluster cluster = choose_cluster(catalog, name, {}, std::nullopt);
  std::cout << name << "\n";
  const auto line = [](const std::string& what, const std::string& label, const std::string& source,
                       const std::vector<std::string>& fitted_to) {
    std::cout << fmt::format("  {}\n    {}: {}\n", what, label, source);
    for (const std::string& rows : fitted_to) std::cout << "    fitted to " << rows << "\n";
  };
  for (const AlgorithmConstants& entry : cluster.communication) {
    const std::string what = fmt::format("{}, {}", entry.algorithm, to_text(entry.scope));
    line(what + ", dispatch", entry.dispatch.label, entry.dispatch.source,
         entry.dispatch.fitted_to);
    line(what + ", combine", entry.combine.label, entry.combine.source, entry.combine.fitted_to);
  }
  for (const CollectiveConstants& entry : cluster.collectives) {
    std::string what =
        fmt::format("{}, {}, {}", entry.operation, entry.algorithm, to_text(entry.scope));
    if (entry.from_bytes_per_rank.count() > 0) {
      what += fmt::format(", from {} a rank", format_bytes(entry.from_bytes_per_rank));
    }
    line(what, entry.label, entry.source, entry.fitted_to);
  }
}

void show_device(const Device& device) {
  std::cout << device.name << "\n";
  for (const KernelConstants& kernel : device.kernels) {
    std::cout << fmt::format("  {}, {}, {}", to_text(kernel.family), to_text(kernel.format),
                             kernel.source);
    if (!kernel.also.empty()) std::cout << fmt::format(" (also {})", fmt::join(kernel.also, ", "));
    if (!kernel.operators.empty()) {
      std::cout << fmt::format(" of {}", fmt::join(kernel.operators, ", "));
    }
    std::cout << fmt::format("\n    {}: {}\n    {}:", to_text(kernel.label), kernel.provenance,
                             kernel.form->name);
    for (std::size_t i = 0; i < kernel.values.size(); ++i) {
      std::cout << fmt::format(" {} {}", kernel.form->parameters[i].key,
                               quantity_text(kernel.form->parameters[i], kernel.values[i]));
    }
    std::cout << "\n";
    for (std::size_t i = 0; i < kernel.range.size(); ++i) {
      std::cout << fmt::format("{} {} {:.6g} to {:.6g}", i == 0 ? "    range:" : ",",
                               kernel.form->extents[i], kernel.range[i].first,
                               kernel.range[i].second);
    }
    if (!kernel.range.empty()) std::cout << "\n";
    for (const std::string& rows : kernel.fitted_to) std::cout << "    fitted to " << rows << "\n";
  }
  if (device.kernels.empty()) std::cout << "  no constants: the roofline prices every kernel\n";
}

bool is_device(const Catalog& catalog, const std::string& name) {
  const std::vector<CatalogEntry> devices = catalog.devices();
  if (std::any_of(devices.begin(), devices.end(),
                  [&](const CatalogEntry& each) { return each.name == name; })) {
    return true;
  }
  std::error_code code;  // a device file of the user's: it has peaks
  return std::filesystem::is_regular_file(name, code) &&
         read_head(name, 1 << 16).find("\npeak:") != std::string::npos;
}

void show(const std::string& name) {
  const Catalog catalog;
  if (!name.empty()) {
    return is_device(catalog, name) ? show_device(load_device(catalog, name))
                                    : show_cluster(catalog, name);
  }
  for (const CatalogEntry& entry : catalog.clusters()) show_cluster(catalog, entry.name);
  for (const CatalogEntry& entry : catalog.devices()) {
    show_device(load_device(catalog, entry.name));
  }
}

bool is_page_of_kernels(const std::string& name) {
  return name == "experts" || name == "dense" || name == "kernels";
}

void print_kernels(const std::string& which, const Catalog& catalog, const std::string& folder) {
  if (which != "dense") {
    std::cout << expert_accuracy_markdown(measure_expert_accuracy(catalog, folder));
  }
  if (which == "kernels") std::cout << "\n";
  if (which != "experts") std::cout << dense_accuracy_markdown(catalog.root(), folder);
}

}  // namespace

void attach_calibrate(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "calibrate", "constants of communication and kernels: fit, show, accuracy");
  command->require_subcommand(1);

  auto data = std::make_shared<std::string>();
  auto specs = std::make_shared<std::vector<std::string>>();
  CLI::App* fitted = command->add_subcommand(
      "fit", "fits constants to measured rows; prints them as the catalog holds them");
  fitted
      ->add_option(
          "spec", *specs,
          "a name in topologies/calibration/specs or models/calibration/specs, a YAML file "
          "of that form, or a file that `microbench` wrote")
      ->required();
  fitted->add_option("--data", *data, kDataHelp);
  auto device = std::make_shared<std::string>();
  auto out = std::make_shared<std::string>();
  fitted->add_option("--device", *device,
                     "microbenchmark: fit on this device's data sheet, not on the file's ceilings");
  fitted->add_option("--out", *out, "microbenchmark: the device file to write");
  fitted->callback([specs, data, device, out] { fit(*specs, *data, *device, *out); });

  auto cluster = std::make_shared<std::string>();
  CLI::App* shown =
      command->add_subcommand("show", "the constants in use, on whose word, and fitted to what");
  shown->add_option("name", *cluster,
                    "a cluster, or a device of models/devices or a device file (default: all)");
  shown->callback([cluster] { show(*cluster); });

  auto tables = std::make_shared<std::vector<std::string>>();
  auto json = std::make_shared<bool>(false);
  CLI::App* accuracy = command->add_subcommand(
      "accuracy", "the simulator's prediction beside every measured row, fitted or not");
  accuracy->add_option("table", *tables,
                       "tables of measurements, or all of a kind: collectives, exchanges (default: "
                       "both); dense: GEMM, attention, MLA and streaming kernels; experts: grouped "
                       "GEMM kernels; kernels: both of these");
  accuracy->add_option("--data", *data, kDataHelp);
  accuracy->add_flag("--json", *json, "every row as JSON");
  accuracy->callback([tables, data, json] {
    const Catalog catalog;
    if (tables->size() == 1 && is_page_of_kernels(tables->front())) {
      if (*json) throw Error("pages of kernels are Markdown only", "leave out --json");
      print_kernels(tables->front(), catalog, data_folder(*data, catalog));
      return;
    }
    const std::vector<TableAccuracy> result =
        measure_accuracy(catalog, data_folder(*data, catalog), *tables);
    std::cout << (*json ? accuracy_json(result) : accuracy_markdown(result));
  });
}

}  // namespace sim
