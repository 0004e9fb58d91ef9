#include "sim/app/collective_sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "sim/app/cluster_choice.h"
#include "sim/app/collective_sizes.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

constexpr std::int64_t kMostRanks = std::int64_t{1} << 20;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_exchange(const std::string& operation) {
  return operation == "dispatch" || operation == "combine";
}

// Checks everything that can be said before the cluster is read.
class ArgumentChecker {
 public:
  explicit ArgumentChecker(const CollectiveArguments& arguments) : arguments_(arguments) {}

  void check() {
    count("--nodes", arguments_.nodes, kMostRanks);
    count("--ranks", arguments_.ranks, kMostRanks);
    count("--sms", arguments_.sms, 1024);
    check_operation();
    dtype();
    if (is_exchange(arguments_.operation)) {
      check_exchange();
    } else {
      check_bytes();
    }
    mistakes_.throw_if_any();
  }
  DType dtype() {
    static const std::vector<std::string> kWire = {"bf16", "fp16", "fp8", "nvfp4", "fp32"};
    if (contains(kWire, arguments_.dtype)) return *parse_dtype(arguments_.dtype);
    mistakes_.add({"--dtype"}, fmt::format("'{}' does not travel", arguments_.dtype),
                  suggest(arguments_.dtype, kWire));
    return DType::kBf16;
  }
  std::vector<std::int64_t> sizes() { return sizes_; }

 private:
  void count(const char* option, std::optional<std::int64_t> value, std::int64_t most) {
    if (!value || (*value >= 1 && *value <= most)) return;
    mistakes_.add({option}, fmt::format("{} is not between 1 and {}", *value, most));
  }
  void check_operation() {
    const std::vector<std::string> operations = sweep_operations();
    const std::string& operation = arguments_.operation;
    if (!contains(operations, operation)) {
      mistakes_.add({"--op"}, fmt::format("there is no operation '{}'", operation),
                    suggest(operation, operations));
      mistakes_.throw_if_any();  // what else is asked depends on it
    }
    const std::vector<std::string> algorithms = sweep_algorithms(operation);
    if (!contains(algorithms, arguments_.algorithm)) {
      mistakes_.add({"--algorithm"},
                    fmt::format("'{}' is no algorithm of {}", arguments_.algorithm, operation),
                    suggest(arguments_.algorithm, algorithms));
    }
  }
  void check_bytes() {
    if (!arguments_.tokens.empty()) {
      mistakes_.add({"--tokens"}, fmt::format("{} moves bytes", arguments_.operation),
                    "give --bytes, or --op dispatch or combine");
    }
    const auto only_tokens = [&](const char* option, bool given) {
      if (given) mistakes_.add({option}, "goes with --tokens only");
    };
    only_tokens("--hidden", arguments_.hidden.has_value());
    only_tokens("--topk", arguments_.top_k.has_value());
    only_tokens("--experts", arguments_.experts.has_value());
    only_tokens("--group-limit", arguments_.group_limit.has_value());
    only_tokens("--groups", arguments_.groups.has_value());
    only_tokens("--zipf", arguments_.zipf.has_value());
    only_tokens("--seed", arguments_.seed.has_value());
    if (!arguments_.bytes.empty()) {
      sizes_ = read_byte_sizes(arguments_.bytes, "--bytes", mistakes_);
    } else if (arguments_.tokens.empty()) {
      mistakes_.add({"--bytes"}, "missing", "give sizes, like --bytes 8M or --bytes 8:128M:2");
    }
  }
  void check_exchange() {
    if (!arguments_.bytes.empty()) {
      mistakes_.add({"--bytes"}, fmt::format("{} moves tokens", arguments_.operation),
                    "give --tokens, --hidden, --topk and --experts");
    }
    if (!arguments_.tokens.empty()) {
      sizes_ = read_token_counts(arguments_.tokens, "--tokens", mistakes_);
    } else if (arguments_.bytes.empty()) {
      mistakes_.add({"--tokens"}, "missing", "tokens of a rank, like --tokens 128");
    }
    const auto required = [&](const char* option, std::optional<std::int64_t> value,
                              std::int64_t most, const char* example) {
      if (!value) {
        mistakes_.add({option}, "missing", fmt::format("like {} {}", option, example));
      } else {
        count(option, value, most);
      }
    };
    required("--hidden", arguments_.hidden, std::int64_t{1} << 20, "7168");
    required("--topk", arguments_.top_k, 255, "8");
    required("--experts", arguments_.experts, 65536, "256");
    if (arguments_.top_k && arguments_.experts && *arguments_.top_k > *arguments_.experts) {
      mistakes_.add({"--topk"}, fmt::format("a token cannot go to {} of {} experts",
                                            *arguments_.top_k, *arguments_.experts));
    }
    count("--group-limit", arguments_.group_limit, 65536);
    count("--groups", arguments_.groups, 65536);
    if (arguments_.groups && !arguments_.group_limit) {
      mistakes_.add({"--groups"}, "no effect without --group-limit",
                    "--group-limit says how many of them a token may use");
    }
    if (arguments_.zipf && !(*arguments_.zipf >= 0 && *arguments_.zipf <= 20)) {
      mistakes_.add({"--zipf"}, fmt::format("{} is not between 0 and 20", *arguments_.zipf));
    }
  }

  const CollectiveArguments& arguments_;
  Mistakes mistakes_;
  std::vector<std::int64_t> sizes_;
};

// Throws when the groups of experts do not work out.
void check_groups(const CollectiveArguments& arguments, const std::optional<GroupLimit>& limit) {
  if (!limit) return;
  const std::int64_t experts = *arguments.experts;
  if (experts % limit->groups != 0) {
    throw Error(Place{arguments.groups ? "--groups" : "--group-limit"},
                fmt::format("{} groups{} do not divide {} experts", limit->groups,
                            arguments.groups ? "" : ", one per node,", experts),
                arguments.groups ? "" : "--groups says how many there are");
  }
  if (limit->limit * (experts / limit->groups) >= *arguments.top_k) return;
  throw Error(
      Place{"--group-limit"},
      fmt::format("{} of {} groups hold {} experts, top-{} needs more", limit->limit, limit->groups,
                  limit->limit * (experts / limit->groups), *arguments.top_k));
}

// Group-limited gating as DeepEP's tests draw it: a group per node unless --groups says otherwise.
// A limit that leaves every group is none.
std::optional<GroupLimit> group_limit(const CollectiveArguments& arguments, int nodes) {
  if (!arguments.group_limit) return std::nullopt;
  const int groups = static_cast<int>(arguments.groups.value_or(nodes));
  if (*arguments.group_limit >= groups) return std::nullopt;
  return GroupLimit{groups, static_cast<int>(*arguments.group_limit)};
}

std::string describe_routing(const CollectiveArguments& arguments,
                             const ExchangeQuestion& question) {
  std::string text = fmt::format("top-{} of {} experts", question.top_k, question.experts);
  if (const auto& groups = question.routing.groups) {
    text += fmt::format(" in the best {} of {} groups", groups->limit, groups->groups);
  } else if (arguments.group_limit) {
    text += fmt::format(" (a limit of {} groups leaves all)", *arguments.group_limit);
  }
  return text + fmt::format(", {}, seed {}",
                            question.routing.exponent > 0
                                ? fmt::format("Zipf {} popularity", question.routing.exponent)
                                : "uniform popularity",
                            question.seed);
}

// `own`: the SMs that the algorithm holds unless told otherwise.
void check_sms(const CollectiveArguments& arguments, int own,
               const std::vector<const Device*>& types) {
  if (arguments.sms && own == 0) {
    throw Error(Place{"--sms"}, fmt::format("'{}' holds no SMs", arguments.algorithm),
                "its time does not depend on them");
  }
  const std::int64_t sms = arguments.sms.value_or(own);
  for (const Device* type : types) {
    if (sms <= type->sms) continue;
    throw Error(Place{"--sms"}, fmt::format("'{}' would hold {} of the {} SMs of {}",
                                            arguments.algorithm, sms, type->sms, type->name));
  }
}

int own_sms(const CollectiveArguments& arguments) {
  return is_exchange(arguments.operation)
             ? find_exchange_algorithm(arguments.algorithm).communication_sms
             : 0;
}

int scale_up_domains(const Cluster& cluster, const std::vector<DeviceId>& devices) {
  std::set<int> domains;
  for (const DeviceId device : devices)
    domains.insert(cluster.devices[device.index()].scale_up_domain);
  return static_cast<int>(domains.size());
}

// Says at which option an Error without a place arose.
template <class Work>
auto at_option(const char* option, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    std::vector<Mistake> mistakes = error.mistakes();
    for (Mistake& mistake : mistakes) {
      if (mistake.place.file.empty()) mistake.place.file = option;
    }
    throw Error(std::move(mistakes));
  }
}

void run_exchanges(const CollectiveArguments& arguments, const std::vector<std::int64_t>& sizes,
                   LonePredictor& predictor, const std::vector<DeviceId>& devices,
                   CollectiveSweep& sweep) {
  ExchangeQuestion question;
  question.algorithm = &find_exchange_algorithm(arguments.algorithm);
  question.direction =
      arguments.operation == "dispatch" ? Direction::kDispatch : Direction::kCombine;
  question.devices = devices;
  question.hidden = *arguments.hidden;
  question.experts = static_cast<int>(*arguments.experts);
  question.top_k = static_cast<int>(*arguments.top_k);
  question.dtype = sweep.dtype;
  question.seed = arguments.seed.value_or(1);
  if (arguments.zipf.value_or(0) > 0) {
    question.routing.kind = SyntheticKind::kZipf;
    question.routing.exponent = *arguments.zipf;
  }
  question.routing.groups = group_limit(arguments, sweep.nodes);
  check_groups(arguments, question.routing.groups);
  if (arguments.sms) question.communication_sms = static_cast<int>(*arguments.sms);
  sweep.distinct_copies = question.algorithm->distinct_copies;
  sweep.hidden = question.hidden;
  sweep.routing = describe_routing(arguments, question);
  for (const std::int64_t size : sizes) {
    question.tokens = size;
    ExchangeAnswer answer = predictor.predict(question);
    sweep.label = answer.label;
    sweep.source = answer.source;
    sweep.estimated = sweep.estimated || answer.estimated;
    sweep.rows.push_back({size, std::move(answer.run), answer.bytes_per_copy, answer.selections,
                          answer.rank_copies, answer.node_copies});
  }
}

void run_collectives(const CollectiveArguments& arguments, const std::vector<std::int64_t>& sizes,
                     LonePredictor& predictor, const std::vector<DeviceId>& devices,
                     CollectiveSweep& sweep) {
  CollectiveQuestion question;
  question.operation = arguments.operation;
  question.algorithm = arguments.algorithm;
  question.devices = devices;
  for (const std::int64_t size : sizes) {
    question.bytes = Bytes(size);
    CollectiveAnswer answer = predictor.predict(question);
    sweep.label = answer.label;
    sweep.source = answer.source;
    sweep.rows.push_back({size, std::move(answer.run), Bytes(1), 0, 0, 0});
  }
}

}  // namespace

std::vector<std::string> sweep_operations() {
  std::vector<std::string> names = collective_operations();
  names.emplace_back("dispatch");
  names.emplace_back("combine");
  return names;
}

std::vector<std::string> sweep_algorithms(const std::string& operation) {
  if (!is_exchange(operation)) return collective_algorithms(operation);
  std::vector<std::string> names;
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) names.emplace_back(algorithm.name);
  return names;
}

CollectiveSweep run_collective_sweep(const CollectiveArguments& arguments, const Catalog& catalog) {
  ArgumentChecker checker(arguments);
  checker.check();
  CollectiveSweep sweep;
  sweep.operation = arguments.operation;
  sweep.algorithm = arguments.algorithm;
  sweep.exchange = is_exchange(arguments.operation);
  sweep.dtype = checker.dtype();
  sweep.nodes = static_cast<int>(arguments.nodes);
  sweep.cluster = choose_cluster(catalog, arguments.cluster, arguments.set, sweep.nodes);
  const DeviceTypes types(sweep.cluster, catalog);
  std::int64_t ranks = 0;
  for (int n = 0; n < sweep.nodes && n < sweep.cluster.node_count(); ++n) {
    ranks +=
        static_cast<std::int64_t>(sweep.cluster.nodes[static_cast<std::size_t>(n)].devices.size());
  }
  ranks = arguments.ranks.value_or(ranks);
  if (ranks < 2) throw Error(Place{"--ranks"}, "a collective has at least 2 ranks");
  const std::vector<DeviceId> devices = at_option(
      "--ranks", [&] { return spread_ranks(sweep.cluster, sweep.nodes, static_cast<int>(ranks)); });
  sweep.domains = scale_up_domains(sweep.cluster, devices);
  check_sms(arguments, own_sms(arguments), types.of_devices());
  sweep.ranks = static_cast<int>(devices.size());
  const ClusterDevice& first = sweep.cluster.devices[devices.front().index()];
  sweep.where = fmt::format("{} x {} on {} {} of {}", sweep.ranks, first.device_type, sweep.nodes,
                            sweep.nodes == 1 ? "node" : "nodes", sweep.cluster.name);
  LonePredictor predictor(sweep.cluster, types.of_devices());
  if (sweep.exchange) {
    run_exchanges(arguments, checker.sizes(), predictor, devices, sweep);
  } else {
    run_collectives(arguments, checker.sizes(), predictor, devices, sweep);
  }
  return sweep;
}

}  // namespace sim
