#include "models/microbench/kernel_case.h"

#include <algorithm>
#include <numeric>

#include "models/dtype.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {

namespace {

// Above these a number is a slip of the writer's, and products of two still fit 64 bits.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;
constexpr std::int64_t kLargestBytes = std::int64_t{1} << 44;

using Words = std::vector<std::string>;

const Words kForward = {"forward"};
const Words kBoth = {"forward", "backward"};
const Words kMatrix = {"forward", "dgrad", "wgrad"};

std::vector<KernelForm> make_forms() {
  const RowsPerExpert none = RowsPerExpert::kNone;
  return {
      {"ceiling_memory",
       "moves `bytes` in all: read + written",
       {"bytes"},
       {},
       none,
       kForward,
       {{"what", {"copy", "read", "write", "triad"}}}},
      {"ceiling_matrix", "one large GEMM", {"m", "n", "k"}, {}, none, kForward, {}},
      {"gemm", "C[m][n] = A[m][k] B[n][k]^T", {"m", "n", "k"}, {}, none, kMatrix, {}},
      {"top_k",
       "router logits to choices and weights",
       {"tokens", "experts", "top_k"},
       {},
       none,
       kBoth,
       {{"gate", {"softmax", "sigmoid"}}}},
      {"permute",
       "tokens to rows in expert order, counting included",
       {"tokens", "hidden", "top_k", "experts"},
       {},
       RowsPerExpert::kOptional,
       kBoth,
       {{"quantise", {"none", "fp8"}}}},
      {"unpermute",
       "weighted sum of a token's rows",
       {"tokens", "hidden", "top_k", "experts"},
       {},
       RowsPerExpert::kOptional,
       kBoth,
       {}},
      {"grouped_gemm",
       "a GEMM per expert, its rows given",
       {"n", "k"},
       {"tile"},
       RowsPerExpert::kRequired,
       kMatrix,
       {{"layout", {"dropless", "padded"}}}},
      {"expert_ffn",
       "gate and up GEMM, SwiGLU, down GEMM of every expert",
       {"hidden", "inter", "top_k", "experts", "tokens"},
       {},
       RowsPerExpert::kRequired,
       kBoth,
       {}},
      {"activation", "SwiGLU", {"rows", "inter"}, {}, none, kBoth, {}},
      {"norm", "RMS norm", {"rows", "hidden"}, {}, none, kBoth, {}},
      {"quantise", "fp8 e4m3, a scale per 128 values", {"rows", "hidden"}, {}, none, kForward, {}},
      {"attention_prefill",
       "causal attention of whole sequences",
       {"sequences", "tokens", "heads", "kv_heads", "head_dim"},
       {},
       none,
       kBoth,
       {}},
      {"attention_decode",
       "one token per sequence against its cache",
       {"sequences", "context", "heads", "kv_heads", "head_dim"},
       {},
       none,
       kForward,
       {}},
      {"mla_prefill",
       "causal attention with keys longer than values",
       {"sequences", "tokens", "heads", "head_dim", "value_dim"},
       {},
       none,
       kBoth,
       {}},
      {"mla_decode",
       "one token per sequence against its latent cache, absorbed",
       {"sequences", "context", "heads", "kv_rank", "rope_dim"},
       {},
       none,
       kForward,
       {}},
      {"host_copy",
       "between host and device memory",
       {"bytes"},
       {},
       none,
       kForward,
       {{"direction", {"to_device", "to_host", "both"}}}},
      {"peer_copy", "between two devices", {"bytes"}, {}, none, kForward, {}},
      {"all_to_all", "`bytes` sent by each rank", {"bytes", "ranks"}, {}, none, kForward, {}},
      {"all_reduce", "`bytes` of each rank", {"bytes", "ranks"}, {}, none, kForward, {}},
      {"moe_layer",
       "norm, router, top_k, permute, expert_ffn, unpermute as one call",
       {"tokens", "hidden", "inter", "experts", "top_k"},
       {},
       RowsPerExpert::kRequired,
       kForward,
       {}},
  };
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

class CaseCheck {
 public:
  explicit CaseCheck(const KernelCase& kernel_case) : case_(kernel_case) {}

  std::vector<std::string> run() {
    const KernelForm* form = find_kernel_form(case_.kernel);
    if (form == nullptr) {
      Words names;
      for (const KernelForm& known : kernel_forms()) names.push_back(known.name);
      add("'" + case_.kernel + "' is not a kernel; " + suggest(case_.kernel, names));
      return mistakes_;
    }
    word("implementation", case_.implementation, {"own", "vendor"});
    if (!parse_dtype(case_.dtype)) add("'" + case_.dtype + "' is not a number format");
    word("pass", case_.pass, form->passes);
    word("launch", case_.launch, {"eager", "graph"});
    if (case_.sms < 0) add("'sms' is negative");
    sizes(*form);
    options(*form);
    if (mistakes_.empty()) rows(*form);
    return mistakes_;
  }

 private:
  void add(std::string text) { mistakes_.push_back(std::move(text)); }

  void word(const std::string& what, const std::string& given, const Words& words) {
    if (has(words, given)) return;
    add("'" + given + "' is not a possible '" + what + "' of " + case_.kernel + "; " +
        suggest(given, words));
  }

  void sizes(const KernelForm& form) {
    for (const std::string& name : form.sizes) {
      if (!case_.sizes.contains(name)) add(form.name + " needs the size '" + name + "'");
    }
    Words known = form.sizes;
    known.insert(known.end(), form.more_sizes.begin(), form.more_sizes.end());
    for (const auto& [name, value] : case_.sizes) {
      if (!has(known, name)) {
        add("'" + name + "' is not a size of " + form.name + "; " + suggest(name, known));
      } else if (value < 1) {
        add("size '" + name + "' is " + std::to_string(value) + ", but must be at least 1");
      } else if (const std::int64_t most = name == "bytes" ? kLargestBytes : kLargestSize;
                 value > most) {
        add("size '" + name + "' is " + std::to_string(value) + ", but must be at most " +
            std::to_string(most));
      }
    }
  }

  void options(const KernelForm& form) {
    for (const auto& [name, given] : case_.options) {
      Words names;
      const KernelOption* found = nullptr;
      for (const KernelOption& option : form.options) {
        names.push_back(option.name);
        if (option.name == name) found = &option;
      }
      if (found != nullptr) {
        word(name, given, found->words);
      } else {
        const std::string hint = suggest(name, names);
        add("'" + name + "' is not an option of " + form.name + (hint.empty() ? "" : "; " + hint));
      }
    }
  }

  void rows(const KernelForm& form) {
    if (case_.rows.empty()) {
      if (form.rows == RowsPerExpert::kRequired) {
        add(form.name + " needs 'rows', a number per expert");
      }
      return;
    }
    if (form.rows == RowsPerExpert::kNone) return add(form.name + " has no 'rows'");
    for (const std::int64_t count : case_.rows) {
      if (count < 0) return add("a number of 'rows' is negative");
      if (count > kLargestSize) {
        return add("a number of 'rows' is " + std::to_string(count) + ", but must be at most " +
                   std::to_string(kLargestSize));
      }
    }
    if (!has(form.sizes, "experts")) return;
    const auto experts = static_cast<std::int64_t>(case_.rows.size());
    // Experts' products may be those of one rank of a group: an equal share of all experts.
    const bool share = form.name == "expert_ffn" && case_.size("experts") % experts == 0;
    if (experts > case_.size("experts") || (experts < case_.size("experts") && !share)) {
      add("'rows' holds " + std::to_string(experts) + " experts, but there are " +
          std::to_string(case_.size("experts")) +
          (form.name == "expert_ffn" && experts < case_.size("experts")
               ? ", of which a rank holds an equal share"
               : ""));
    }
    if (case_.total_rows() > case_.size("tokens") * case_.size("top_k")) {
      add("'rows' adds up to " + std::to_string(case_.total_rows()) +
          ", which is more than tokens x top_k");
    }
  }

  const KernelCase& case_;
  std::vector<std::string> mistakes_;
};

}  // namespace

std::int64_t KernelCase::size(std::string_view name) const {
  const auto found = sizes.find(std::string(name));
  SIM_CHECK(found != sizes.end(), kernel + " was asked for a size that its case lacks");
  return found->second;
}

std::int64_t KernelCase::size_or(std::string_view name, std::int64_t fallback) const {
  const auto found = sizes.find(std::string(name));
  return found == sizes.end() ? fallback : found->second;
}

std::string KernelCase::option(std::string_view name) const {
  const auto found = options.find(std::string(name));
  if (found != options.end()) return found->second;
  const KernelForm* form = find_kernel_form(kernel);
  SIM_CHECK(form != nullptr, "a case is asked for options after its kernel was checked");
  for (const KernelOption& allowed : form->options) {
    if (allowed.name == name) return allowed.words.front();
  }
  SIM_CHECK(false, kernel + " was asked for an option that its form lacks");
}

std::int64_t KernelCase::total_rows() const {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

std::string id_text(const KernelCase& kernel_case) {
  std::string text = kernel_case.kernel + " " + kernel_case.implementation + " " +
                     kernel_case.dtype + " " + kernel_case.pass;
  for (const auto& [name, value] : kernel_case.sizes)
    text += " " + name + "=" + std::to_string(value);
  if (!kernel_case.rows.empty()) {
    const auto active = std::count_if(kernel_case.rows.begin(), kernel_case.rows.end(),
                                      [](std::int64_t count) { return count > 0; });
    text += " rows=" + std::to_string(kernel_case.total_rows()) + " over " +
            std::to_string(active) + "/" + std::to_string(kernel_case.rows.size());
  }
  for (const auto& [name, word] : kernel_case.options) text.append(" ").append(name + "=" + word);
  if (kernel_case.sms != 0) text += " sms=" + std::to_string(kernel_case.sms);
  if (kernel_case.launch != "eager") text += " launch=" + kernel_case.launch;
  return text;
}

std::span<const KernelForm> kernel_forms() {
  static const std::vector<KernelForm> kForms = make_forms();
  return kForms;
}

const KernelForm* find_kernel_form(std::string_view name) {
  for (const KernelForm& form : kernel_forms()) {
    if (form.name == name) return &form;
  }
  return nullptr;
}

std::vector<std::string> case_mistakes(const KernelCase& kernel_case) {
  return CaseCheck(kernel_case).run();
}

}  // namespace sim
