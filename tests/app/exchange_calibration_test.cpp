// The committed constants of dispatch and combine are what the public tables give today, and the
// closed form that is fitted is what the engine does.
#include <gtest/gtest.h>

#include <filesystem>

#include "sim/app/accuracy_exchange.h"
#include "sim/app/cluster_choice.h"
#include "tests/support/shared_data.h"
#include "topologies/calibration/exchange_form.h"
#include "topologies/calibration/fit.h"

namespace sim {
namespace {

namespace fs = std::filesystem;
using testing::shared_dir;

// Shows what 2 nodes say about 4; its constants are in no catalog.
constexpr const char* kNotKept = "h100-deepep-normal-two-nodes";

struct Machine {
  explicit Machine(const Catalog& catalog, const std::string& name, int nodes)
      : cluster(choose_cluster(catalog, name, {}, nodes)), types(cluster, catalog) {
    rates = rates_of(cluster);
    rates.device_sms = types.of_devices().front()->sms;
  }
  Cluster cluster;
  DeviceTypes types;
  MachineRates rates;
};

const StartupCost* committed(const Cluster& cluster, const CalibrationFit& fit) {
  const std::string scope = fit.value_of("scope").empty() ? "any" : fit.value_of("scope");
  for (const AlgorithmConstants& entry : cluster.communication) {
    if (entry.algorithm == fit.value_of("algorithm") && entry.library == fit.value_of("library") &&
        to_text(entry.scope) == scope) {
      return fit.value_of("direction") == "dispatch" ? &entry.dispatch : &entry.combine;
    }
  }
  return nullptr;
}

// By the form itself: constants that differ in nothing give the same seconds for every row.
TEST(ExchangeCalibration, RefittingGivesTheConstantsOfTheCatalog) {
  MOE_NEEDS_SHARED_DATA();
  const Catalog catalog;
  int compared = 0;
  for (const auto& file :
       fs::directory_iterator(fs::path(MOE_SOURCE_DIR) / "topologies" / "calibration" / "specs")) {
    const CalibrationSpec spec = load_calibration_spec(file.path().string());
    if (spec.form->name != "exchange" || spec.name == kNotKept) continue;
    std::vector<MeasuredRow> rows;
    for (const std::string& table : spec.tables) {
      const std::vector<MeasuredRow> more = read_measured(table, shared_dir());
      rows.insert(rows.end(), more.begin(), more.end());
    }
    const Machine machine(catalog, spec.cluster, 2);
    for (CalibrationFit fit : spec.fits) {
      fit.splits.clear();
      const FitResult result = run_fit(spec, fit, rows, machine.rates);
      const std::string what = spec.name + " " + fit.value_of("direction") + " ";
      const StartupCost* cost = committed(machine.cluster, fit);
      ASSERT_NE(cost, nullptr) << what;
      EXPECT_EQ(cost->label, "fitted") << what;
      EXPECT_EQ(cost->fitted_to, result.fitted_to) << what;
      const std::vector<bool> about = fit.rows.select(rows);
      for (std::size_t i = 0; i < rows.size(); i += 7) {
        if (!about[i] || rows[i].implausible) continue;
        const double fitted =
            spec.form->seconds(rows[i], machine.rates, result.sets.front().values);
        const double kept =
            exchange_seconds(*cost, exchange_load(rows[i], machine.rates), machine.rates);
        EXPECT_NEAR(kept / fitted, 1, 0.01) << what << rows[i].id;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

// Rows of every algorithm, machine and size: what the fits minimise is what the engine will say.
TEST(ExchangeCalibration, TheEngineDoesWhatTheClosedFormSays) {
  MOE_NEEDS_SHARED_DATA();
  const Catalog catalog;
  struct Case {
    const char* table;
    std::size_t every;
    double tolerance;  // of one row: different draws of the same tokens, and coupled ports
  };
  const Case cases[] = {{"aic-deepep-ll-h100-nodes", 9, 0.08},
                        {"aic-deepep-normal-h100-nodes", 151, 0.05},
                        {"aic-deepep-ll-h100", 31, 0.07},
                        {"trtllm/trtllm_nvlink_onesided_gb200_bf16", 13, 0.02},
                        {"deepep/deepep_v1_low_latency_2025_02_24", 3, 0.08}};
  for (const Case& each : cases) {
    const std::vector<MeasuredRow> rows = read_measured(each.table, shared_dir());
    const Machine machine(catalog, rows.front().cluster, 16);
    LonePredictor predictor(machine.cluster, machine.types.of_devices());
    for (std::size_t i = 0; i < rows.size(); i += each.every) {
      const MeasuredRow& row = rows[i];
      if (row.tokens > 20000) continue;
      PredictedRow predicted{row};
      predict_exchange(predictor, predicted);
      ASSERT_EQ(predicted.unanswered, "") << row.id;
      const AlgorithmConstants* constants =
          find_constants(machine.cluster, row.algorithm, row.nodes, row.library);
      ASSERT_NE(constants, nullptr) << row.id;
      const double form =
          exchange_seconds(row.operation == "dispatch" ? constants->dispatch : constants->combine,
                           exchange_load(row, machine.rates), machine.rates);
      EXPECT_NEAR(predicted.predicted_s / form, 1, each.tolerance) << row.id;
    }
  }
}

}  // namespace
}  // namespace sim
