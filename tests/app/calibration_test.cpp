// The committed constants and the committed page of errors are what the public tables give today.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "sim/app/cluster_choice.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_data.h"
#include "topologies/calibration/fit.h"

namespace sim {
namespace {

namespace fs = std::filesystem;
using testing::shared_dir;

const fs::path kSource = MOE_SOURCE_DIR;

std::vector<fs::path> spec_files() {
  std::vector<fs::path> files;
  for (const auto& entry :
       fs::directory_iterator(kSource / "topologies" / "calibration" / "specs")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Within the rounding to three digits, and a little for another compiler's last digit.
void expect_same(const std::string& what, double fitted, double committed) {
  EXPECT_NEAR(committed, fitted, 0.01 * std::abs(fitted) + 1e-15) << what;
}

TEST(Calibration, RefittingGivesTheConstantsOfTheCatalog) {
  MOE_NEEDS_SHARED_DATA();
  const Catalog catalog;
  int compared = 0;
  for (const fs::path& file : spec_files()) {
    const CalibrationSpec spec = load_calibration_spec(file.string());
    if (spec.form->name != "collective") continue;
    std::vector<MeasuredRow> rows;
    for (const std::string& table : spec.tables) {
      const std::vector<MeasuredRow> more = read_measured(table, shared_dir());
      rows.insert(rows.end(), more.begin(), more.end());
    }
    const Cluster cluster = choose_cluster(catalog, spec.cluster, {}, 2);
    for (CalibrationFit fit : spec.fits) {
      fit.splits.clear();
      const FitResult result = run_fit(spec, fit, rows, rates_of(cluster));
      const int nodes = fit.value_of("scope") == "several-nodes" ? 2 : 1;
      for (const FittedSet& set : result.sets) {
        const Bytes bytes(static_cast<std::int64_t>(set.from_bytes_per_rank) * 8);
        const CollectiveConstants* committed = find_collective(
            cluster, fit.value_of("algorithm"), fit.value_of("operation"), nodes, 8, bytes);
        const std::string what = spec.name + " " + fit.value_of("operation") + " ";
        ASSERT_NE(committed, nullptr) << what;
        EXPECT_EQ(committed->label, "fitted") << what;
        EXPECT_EQ(committed->fitted_to, result.fitted_to) << what;
        const double values[] = {to_seconds(committed->base),
                                 to_seconds(committed->per_step),
                                 committed->nvlink_efficiency,
                                 committed->pcie_efficiency,
                                 committed->nic_efficiency,
                                 committed->local_copy ? committed->local_copy->count() : 1e18,
                                 to_seconds(committed->ramp),
                                 static_cast<double>(committed->ramp_bytes.count())};
        for (std::size_t p = 0; p < set.values.size(); ++p) {
          const std::string key(spec.form->parameters[p].key);
          if (std::find(fit.free.begin(), fit.free.end(), key) == fit.free.end()) continue;
          expect_same(what + key, set.values[p], values[p]);
          ++compared;
        }
      }
    }
  }
  EXPECT_GT(compared, 100);
}

// From its first table on: above it stand words and a date.
std::string tables_of(const std::string& page) { return page.substr(page.find("| table |")); }

// One page per kind of table.
class PageOfErrors : public ::testing::TestWithParam<const char*> {};

TEST_P(PageOfErrors, IsWhatTheCommandPrints) {
  MOE_NEEDS_SHARED_DATA();
  const testing::TempFolder folder;
  const testing::CommandResult run =
      testing::simulate(folder, {"calibrate", "accuracy", GetParam(), "--data", shared_dir()});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string name =
      std::string("accuracy") + (GetParam() == std::string("exchanges") ? "_exchanges" : "");
  const fs::path file = kSource / "topologies" / (name + ".md");
  std::ifstream in(file, std::ios::binary);
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  if (std::getenv("MOE_ACCEPT_GOLDEN") != nullptr) {
    const std::string head = page.substr(0, page.find("| table |"));
    std::ofstream(file, std::ios::binary) << head << run.out;
    return;
  }
  EXPECT_EQ(tables_of(page), run.out)
      << "MOE_ACCEPT_GOLDEN=1 writes it anew; say why it moved, and change its date";
}

INSTANTIATE_TEST_SUITE_P(Calibration, PageOfErrors, ::testing::Values("collectives", "exchanges"));

TEST(Calibration, MistakesAreSaidInOneLine) {
  const testing::TempFolder folder;
  const auto said = [&](std::vector<std::string> arguments) {
    const testing::CommandResult run = testing::simulate(folder, arguments);
    EXPECT_EQ(run.exit_code, 1);
    return run.err;
  };
  EXPECT_EQ(said({"calibrate", "accuracy", "--data", folder.path()}),
            "the folder '" + folder.path() +
                "' holds no public reference data; name it with --data, or set MOE_SHARED_DIR\n");
  EXPECT_NE(said({"calibrate", "show", "hgx-h1000"}).find("did you mean 'hgx-h100'?"),
            std::string::npos);
}

}  // namespace
}  // namespace sim
