#include "sim/app/validation/validation.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "sim/app/operations/operations_run.h"
#include "sim/app/run_setup.h"
#include "sim/app/simulation.h"
#include "sim/app/validation/provenance.h"
#include "sim/input/suggestion.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

// What a row may ask of a run, by name: "step_time_s", "causes.network", "memory.weights".
struct Answer {
  std::map<std::string, double> values;
  Provenance provenance;
  std::optional<Mistake> refused;
};

// "weights: experts" -> "weights_experts"
std::string as_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  while (!name.empty() && name.back() == '_') name.pop_back();
  return name;
}

// Items of the device that holds the most; what stands before a colon is the sum of what follows
// it, "memory.total" of all.
void add_memory(const std::vector<std::vector<MemoryItem>>& memory, Answer& answer) {
  const auto most =
      std::max_element(memory.begin(), memory.end(),
                       [](const auto& a, const auto& b) { return total(a) < total(b); });
  if (most == memory.end()) return;
  for (const MemoryItem& item : *most) {
    const double bytes = static_cast<double>(item.bytes.count());
    answer.values["memory." + as_name(item.name)] += bytes;
    const std::size_t colon = item.name.find(':');
    if (colon != std::string::npos)
      answer.values["memory." + as_name(item.name.substr(0, colon))] += bytes;
  }
  answer.values["memory.total"] = static_cast<double>(total(*most).count());
}

Answer run_answer(const Scenario& scenario) {
  Answer answer;
  try {
    const RunOutcome outcome = run_scenario(scenario, {});
    for (const MetricRecord& metric : outcome.metrics) answer.values[metric.name] = metric.value;
    double all = 0;
    for (const std::int64_t each : outcome.totals.causes) all += static_cast<double>(each);
    for (std::size_t i = 0; i < kCauseNames.size(); ++i) {
      answer.values["causes." + std::string(kCauseNames[i])] =
          all > 0 ? static_cast<double>(outcome.totals.causes[i]) / all : 0;
    }
    add_memory(outcome.memory, answer);
    add_provenance(answer.provenance, scenario, outcome.costs);
  } catch (const Error& error) {
    answer.refused = error.mistakes().front();
  }
  return answer;
}

Answer check_answer(const Scenario& scenario) {
  Answer answer;
  try {
    add_memory(check_memory(scenario), answer);
  } catch (const Error& error) {
    answer.refused = error.mistakes().front();
  }
  return answer;
}

Answer run_answer(const OperationsScenario& scenario) {
  Answer answer;
  const OperationsOutcome outcome = run_operations(scenario, {});
  for (const MetricRecord& metric : outcome.metrics) answer.values[metric.name] = metric.value;
  double all = 0;
  for (const CauseRecord& cause : outcome.causes) all += to_seconds(cause.duration);
  for (const CauseRecord& cause : outcome.causes)
    answer.values["causes." + cause.cause] = to_seconds(cause.duration) / all;
  for (const CostRecord& cost : outcome.costs) answer.provenance.sources.insert(cost.source);
  return answer;
}

Answer check_answer(const OperationsScenario&) {
  Answer answer;
  answer.refused = Mistake{{}, "layers of given operations have no memory", ""};
  return answer;
}

// A name of an expression, taken apart.
struct Quantity {
  const ReproductionRun* run = nullptr;
  bool only_check = false;
  std::string label;  // of the run, for people
  std::string what;   // "step_time_s"
};

Quantity quantity_of(const Reproduction& system, const ReproductionRow& row,
                     const std::string& name) {
  Quantity result;
  const std::size_t dot = name.find('.');
  if (name.substr(0, dot) == "run") {
    result.run = &*row.own;
    result.label = row.id;
    result.what = dot == std::string::npos ? "" : name.substr(dot + 1);
    return result;
  }
  const std::size_t end = name.find('.', dot + 1);
  const std::string run = name.substr(dot + 1, end - dot - 1);
  result.only_check = name.substr(0, dot) == "check";
  const bool own = result.only_check && run == "run" && row.own.has_value();
  result.run = own ? &*row.own : &system.runs.at(run);
  result.label = own ? row.id : run;
  result.what = name.substr(end + 1);
  return result;
}

class Validator {
 public:
  Validator(const ValidationOptions& options, const Catalog& catalog)
      : options_(options), catalog_(catalog) {}

  ValidatedRow row(const Reproduction& system, const ReproductionRow& row,
                   const Tolerances& tolerances,
                   const std::map<std::string, EarlierResult>& earlier) {
    ValidatedRow result;
    result.system = &system;
    result.row = &row;
    result.tolerance = tolerances.share.at(row.kind);
    result.reason = row.reason;
    if (!row.value) return result;
    std::vector<std::pair<std::string, Quantity>> quantities;
    for (const std::string& name : row.value->names())
      quantities.emplace_back(name, quantity_of(system, row, name));
    const bool slow = std::any_of(quantities.begin(), quantities.end(), [](const auto& each) {
      return each.second.run->slow && !each.second.only_check;
    });
    if (slow && !options_.all) {
      result.state = RowState::kSlow;
      if (const auto found = earlier.find(row.id); found != earlier.end()) {
        result.state = RowState::kEarlier;
        result.fitted = found->second.fitted;
        judge(result, found->second.simulated);
      }
      return result;
    }
    std::map<std::string, const Answer*> answers;
    Provenance provenance;
    for (const auto& [name, quantity] : quantities) {
      const Answer& answer = ask(quantity);
      if (answer.refused) {
        result.state = RowState::kRefused;
        result.reason = "refused: " + answer.refused->message +
                        (row.reason.empty() ? "" : " (" + row.reason + ")");
        return result;
      }
      answers[name] = &answer;
      provenance.fitted_to.insert(answer.provenance.fitted_to.begin(),
                                  answer.provenance.fitted_to.end());
      provenance.sources.insert(answer.provenance.sources.begin(), answer.provenance.sources.end());
    }
    result.state = RowState::kDone;
    const double simulated = row.value->value([&](const std::string& name) {
      return value_of(*answers.at(name), quantity_of(system, row, name).what, name, row);
    });
    if (!std::isfinite(simulated))
      throw Error(row.place, "the value of row '" + row.id + "' is not a finite number");
    judge(result, simulated);
    result.fitted = is_fitted(provenance, row.id, row.tables);
    return result;
  }

  int runs() const { return runs_; }

 private:
  static void judge(ValidatedRow& result, double simulated) {
    result.simulated = simulated;
    result.error = simulated / result.row->published - 1;
    result.pass = std::abs(*result.error) <= result.tolerance;
  }

  const Answer& ask(const Quantity& quantity) {
    // Two rows often name one run, and two names one scenario.
    const ReproductionRun& run = *quantity.run;
    std::string key = quantity.only_check ? "check\n" : "run\n";
    key += run.file + "\n" + run.path;
    for (const std::string& each : run.set) key += "\n" + each;
    const auto known = by_run_.find(key);
    if (known != by_run_.end()) return *known->second;
    const RunScenario read = read_run(run, catalog_);
    const auto answer = [&](const auto& scenario) {
      return quantity.only_check ? check_answer(scenario) : run_answer(scenario);
    };
    const std::string text = (quantity.only_check ? "check\n" : "run\n") +
                             std::filesystem::path(run.file).parent_path().string() + "\n" +
                             std::visit([](const auto& each) { return each.text; }, read);
    auto [found, added] = by_scenario_.try_emplace(text);
    if (added) {
      if (options_.progress) options_.progress(quantity.label);
      if (!quantity.only_check) ++runs_;
      found->second = std::visit(answer, read);
    }
    by_run_[key] = &found->second;
    return found->second;
  }

  static double value_of(const Answer& answer, const std::string& what, const std::string& name,
                         const ReproductionRow& row) {
    const auto found = answer.values.find(what);
    if (found != answer.values.end()) return found->second;
    std::vector<std::string> names;
    for (const auto& [each, value] : answer.values) names.push_back(each);
    throw Error(row.place, "the run has no '" + what + "', asked for as '" + name + "'",
                suggest(what, names));
  }

  const ValidationOptions& options_;
  const Catalog& catalog_;
  std::map<std::string, const Answer*> by_run_;
  std::map<std::string, Answer> by_scenario_;  // its nodes stay where they are
  int runs_ = 0;
};

void check_only(const Reproductions& reproductions, const std::string& only) {
  std::vector<std::string> names;
  for (const Reproduction& system : reproductions.systems) {
    names.push_back(system.system);
    for (const ReproductionRow& row : system.rows) names.push_back(row.id);
  }
  if (std::find(names.begin(), names.end(), only) == names.end()) {
    throw Error("no system and no row is called '" + only + "'", suggest(only, names));
  }
}

}  // namespace

Validation validate(const Reproductions& reproductions, const ValidationOptions& options,
                    const Catalog& catalog) {
  if (!options.only.empty()) check_only(reproductions, options.only);
  Validation result;
  Validator validator(options, catalog);
  for (const Reproduction& system : reproductions.systems) {
    for (const ReproductionRow& row : system.rows) {
      if (!options.only.empty() && options.only != system.system && options.only != row.id)
        continue;
      result.rows.push_back(
          validator.row(system, row, reproductions.tolerances, reproductions.earlier));
      const ValidatedRow& done = result.rows.back();
      if (!done.pass || done.reason.empty()) continue;
      result.mistakes.push_back({row.place,
                                 "row '" + row.id + "' has a reason for its miss, and passes",
                                 "remove 'reason'"});
    }
  }
  result.runs = validator.runs();
  return result;
}

}  // namespace sim
