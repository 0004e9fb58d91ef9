#include "traces/import/known_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "sim/core/error.h"

namespace sim {
namespace {

// From each model's config.json on Hugging Face (num_experts, num_local_experts or n_routed_experts
// and num_experts_per_tok or experts_per_token); FLAME-MoE-290M: 64 routed experts, top-6
// (CMU-FLAME, FLAME-MoE-Traces).
constexpr std::array kKnownModels = {
    KnownModel{"gpt-oss-20b", 32, 4},       KnownModel{"gpt-oss-120b", 128, 4},
    KnownModel{"olmoe-1b-7b", 64, 8},       KnownModel{"mixtral-8x7b", 8, 2},
    KnownModel{"mixtral-8x22b", 8, 2},      KnownModel{"flame-moe-290m", 64, 6},
    KnownModel{"qwen1.5-moe-a2.7b", 60, 4}, KnownModel{"qwen3-30b-a3b", 128, 8},
    KnownModel{"qwen3-235b-a22b", 128, 8},  KnownModel{"deepseek-v2-lite", 64, 6},
    KnownModel{"deepseek-v3", 256, 8},      KnownModel{"kimi-k2", 384, 8},
};

std::string plain(std::string_view text) {
  std::string result;
  for (const char c : text) {
    result += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

[[noreturn]] void unknown(const ImportJob& job, const char* what, const char* option) {
  std::string names;
  for (const KnownModel& m : kKnownModels) {
    names += (names.empty() ? "" : ", ") + std::string(m.name);
  }
  throw Error(Place{job.path}, fmt::format("the file does not say {}", what),
              fmt::format("give {}, or --model with one of: {}", option, names));
}

}  // namespace

const KnownModel* known_model(const ImportJob& job) {
  const bool named = !job.options.model.empty();
  const std::string text = plain(named ? job.options.model : job.path);
  const KnownModel* best = nullptr;
  for (const KnownModel& m : kKnownModels) {
    if (text.find(m.name) == std::string::npos) continue;
    if (best == nullptr || m.name.size() > best->name.size()) best = &m;
  }
  return best;
}

std::string model_name(const ImportJob& job, std::string_view fallback) {
  if (!job.options.model.empty()) return job.options.model;
  const KnownModel* known = known_model(job);
  return std::string(known != nullptr ? known->name : fallback);
}

int expert_count(const ImportJob& job) {
  if (job.options.experts) return *job.options.experts;
  const KnownModel* known = known_model(job);
  if (known == nullptr) unknown(job, "how many experts a layer has", "--experts N");
  return known->experts;
}

int top_k(const ImportJob& job) {
  if (job.options.top_k) return *job.options.top_k;
  const KnownModel* known = known_model(job);
  if (known == nullptr) unknown(job, "how many experts a token chooses", "--top-k N");
  return known->top_k;
}

}  // namespace sim
