// Output of all_reduce_perf of nccl-tests: size, count, type, redop, [root,] then time (us), algbw,
// busbw, wrong out of place and, when it was run, the same in place. Out of place is taken.
#include <fmt/format.h>

#include <sstream>

#include "sim/input/quantity.h"
#include "sim/input/text_file.h"
#include "topologies/calibration/sources/readers.h"

namespace sim {
namespace {

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream text{std::string(line)};
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

}  // namespace

void read_nccl_tests_log(const MeasuredSource& source, const std::string& path,
                         std::vector<MeasuredRow>& rows) {
  TextFile file(path);
  std::string_view line;
  std::vector<std::string> hosts;
  int ranks = 0;
  std::int64_t number = 0;
  while (file.next(line)) {
    std::vector<std::string> words = words_of(line);
    if (!words.empty() && words.front() == "#") words.erase(words.begin());
    // "Rank  0 [Group 0] Pid 519864 on oneflow-27 device  0 ...": the world; each run starts at 0.
    if (words.size() > 6 && words[0] == "Rank") {
      if (words[1] == "0") {
        hosts.clear();
        ranks = 0;
      }
      ++ranks;
      for (std::size_t i = 2; i + 1 < words.size(); ++i) {
        if (words[i] == "on" && (hosts.empty() || hosts.back() != words[i + 1])) {
          hosts.push_back(words[i + 1]);
        }
      }
      continue;
    }
    if (words.size() < 8 || words[2] != "float" || words[3] != "sum") continue;
    // Newer versions have a column `root`; then come four columns, once or twice.
    const std::size_t time_at = words.size() % 4 == 0 ? 4 : 5;
    const std::optional<std::int64_t> bytes = parse_count(words[0]);
    const std::optional<double> time = parse_number(words[time_at]);
    if (!bytes || !time || !(*time > 0)) {
      file.fail(line, "not a row of nccl-tests", "expected: size count type redop ... time ...");
    }
    if (ranks == 0) file.fail(line, "a result before the list of ranks");
    MeasuredRow row = row_of(source, ++number);
    row.operation = "all-reduce";
    row.algorithm = "nccl";
    row.dtype = "float";
    row.nodes = static_cast<int>(hosts.size());
    row.ranks = ranks;
    row.bytes = Bytes(*bytes);
    row.time_s = *time * 1e-6;
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
