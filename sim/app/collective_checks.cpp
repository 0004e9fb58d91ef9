#include "sim/app/collective_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/app/collective_sizes.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

constexpr std::int64_t kMostRanks = 16384;  // of one operation, and nodes
// Of a collective: a ring or tree is one transfer over all its links, and its set-up grows faster
// than the ranks (16,000 take a minute).
constexpr int kMostRanksOfCollective = 4096;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Checks everything that can be said before the cluster is read.
class ArgumentChecker {
 public:
  explicit ArgumentChecker(const CollectiveArguments& arguments) : arguments_(arguments) {}

  CheckedSweep check() {
    count("--nodes", arguments_.nodes, kMostRanks);
    count("--ranks", arguments_.ranks, kMostRanks);
    count("--sms", arguments_.sms, 1024);
    count("--tp", arguments_.tensor_parallel, 1024);
    check_operation();
    const DType dtype = read_dtype();
    check_fidelity();
    if (is_exchange(arguments_.operation)) {
      check_exchange();
    } else {
      check_bytes();
    }
    mistakes_.throw_if_any();
    return {dtype, std::move(sizes_)};
  }

 private:
  DType read_dtype() {
    static const std::vector<std::string> kWire = {"bf16", "fp16", "fp8", "nvfp4", "fp32"};
    if (contains(kWire, arguments_.dtype)) return *parse_dtype(arguments_.dtype);
    mistakes_.add({"--dtype"}, fmt::format("'{}' does not travel", arguments_.dtype),
                  suggest(arguments_.dtype, kWire));
    return DType::kBf16;
  }
  void count(const char* option, std::optional<std::int64_t> value, std::int64_t most) {
    if (!value || (*value >= 1 && *value <= most)) return;
    mistakes_.add({option}, fmt::format("{} is not between 1 and {}", *value, most));
  }
  void check_fidelity() {
    static const std::vector<std::string> kFidelities = {"flows", "ports"};
    if (!contains(kFidelities, arguments_.fidelity)) {
      mistakes_.add({"--fidelity"}, fmt::format("there is no fidelity '{}'", arguments_.fidelity),
                    suggest(arguments_.fidelity, kFidelities));
    } else if (arguments_.fidelity == "ports" && !is_exchange(arguments_.operation)) {
      mistakes_.add({"--fidelity"}, "'ports' is for dispatch and combine");
    }
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

// Null: a collective that is no exchange.
const ExchangeAlgorithm* exchange_of(const CollectiveArguments& arguments) {
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    if (algorithm.name == arguments.algorithm) return &algorithm;
  }
  return nullptr;
}

int own_sms(const CollectiveArguments& arguments) {
  return is_exchange(arguments.operation) ? exchange_of(arguments)->communication_sms : 0;
}

// Groups of tensor parallelism: for algorithms that travel by them, and whole on every node.
void check_groups_of_tensors(const CollectiveArguments& arguments, int ranks, int nodes) {
  if (!arguments.tensor_parallel) return;
  const ExchangeAlgorithm* algorithm = exchange_of(arguments);
  if (algorithm == nullptr || !algorithm->tensor_groups) {
    throw Error(Place{"--tp"},
                fmt::format("'{}' does not look at tensor-parallel groups", arguments.algorithm));
  }
  if (ranks / nodes % *arguments.tensor_parallel == 0) return;
  throw Error(Place{"--tp"}, fmt::format("groups of {} do not divide the {} ranks of a node",
                                         *arguments.tensor_parallel, ranks / nodes));
}

// Only a switch that is known to sum does: the cluster has constants of it.
void check_in_switch(const CollectiveArguments& arguments, const Cluster& cluster) {
  if (arguments.algorithm != "nccl-nvls") return;
  for (const CollectiveConstants& entry : cluster.collectives) {
    if (entry.algorithm == arguments.algorithm && entry.operation == arguments.operation) return;
  }
  throw Error(Place{"--algorithm"},
              fmt::format("'{}' has no constants of {} in the switch (nccl-nvls), so its switches "
                          "are not known to do that",
                          cluster.name, arguments.operation),
              "take nccl-ring");
}

// The library must be one whose constants of this algorithm the cluster has.
void check_library(const CollectiveArguments& arguments, const Cluster& cluster) {
  if (arguments.library.empty()) return;
  const ExchangeAlgorithm* algorithm = exchange_of(arguments);
  std::vector<std::string> names;
  for (const AlgorithmConstants& entry : cluster.communication) {
    const bool own = entry.algorithm == arguments.algorithm;
    const bool base = algorithm != nullptr && entry.algorithm == algorithm->built_of;
    if (entry.library.empty() || !(own || base) || contains(names, entry.library)) continue;
    names.push_back(entry.library);
  }
  if (contains(names, arguments.library)) return;
  throw Error(Place{"--library"},
              fmt::format("'{}' has no constants of '{}' by '{}'", cluster.name,
                          arguments.algorithm, arguments.library),
              names.empty() ? "they name no library" : suggest(arguments.library, names));
}

}  // namespace

bool is_exchange(const std::string& operation) {
  return operation == "dispatch" || operation == "combine";
}

CheckedSweep check_arguments(const CollectiveArguments& arguments) {
  return ArgumentChecker(arguments).check();
}

void check_on_cluster(const CollectiveArguments& arguments, const Cluster& cluster,
                      const std::vector<const Device*>& types, int ranks, int nodes) {
  const std::int64_t most = is_exchange(arguments.operation) ? kMostRanks : kMostRanksOfCollective;
  if (ranks > most) {
    throw Error(Place{"--ranks"}, fmt::format("{} ranks: at most {} take part in {}", ranks, most,
                                              arguments.operation));
  }
  check_sms(arguments, own_sms(arguments), types);
  check_groups_of_tensors(arguments, ranks, nodes);
  check_library(arguments, cluster);
  check_in_switch(arguments, cluster);
}

void check_expert_groups(const CollectiveArguments& arguments, const GroupLimit& limit) {
  const std::int64_t experts = *arguments.experts;
  if (experts % limit.groups != 0) {
    throw Error(Place{arguments.groups ? "--groups" : "--group-limit"},
                fmt::format("{} groups{} do not divide {} experts", limit.groups,
                            arguments.groups ? "" : ", one per node,", experts),
                arguments.groups ? "" : "--groups says how many there are");
  }
  if (limit.limit * (experts / limit.groups) >= *arguments.top_k) return;
  throw Error(Place{"--group-limit"},
              fmt::format("{} of {} groups hold {} experts, top-{} needs more", limit.limit,
                          limit.groups, limit.limit * (experts / limit.groups), *arguments.top_k));
}

}  // namespace sim
