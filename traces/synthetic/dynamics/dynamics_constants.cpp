#include "traces/synthetic/dynamics/dynamics_constants.h"

#include <fmt/format.h>

#include <array>

#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

using C = DynamicsConstants;
constexpr std::array kConstants = {
    DynamicsConstant{"cluster_skew", &C::cluster_skew, 0.2, 2,
                     "Zipf exponent of the popularity of 32 clusters"},
    DynamicsConstant{"burst", &C::burst, 1, 400,
                     "tokens of a cluster that come together in a batch"},
    DynamicsConstant{"common_first", &C::common_first, 0.05, 0.999,
                     "share of a token's squared features common to all tokens, before training"},
    DynamicsConstant{"rise_steps", &C::rise_steps, 0.5, 100,
                     "steps at the peak learning rate in which it rises towards common_start"},
    DynamicsConstant{"common_start", &C::common_start, 0.3, 0.999,
                     "what it rises to, but for the fall that begins at the same time"},
    DynamicsConstant{"common_end", &C::common_end, 0.01, 0.9, "the same after long training"},
    DynamicsConstant{"common_steps", &C::common_steps, 2, 400,
                     "steps at the peak learning rate in which it falls by a factor e"},
    DynamicsConstant{"turn_steps", &C::turn_steps, 5, 10000,
                     "steps at the peak learning rate in which the common direction turns away"},
    DynamicsConstant{"token_share", &C::token_share, 0.01, 0.95,
                     "of what is not common: the token's own, not its cluster's"},
    DynamicsConstant{"rate", &C::rate, 0.05, 20, "router's step over the optimizer's"},
    DynamicsConstant{"gradient_noise", &C::gradient_noise, 1e-3, 100,
                     "of one token's gradient, in units of the task's at first"},
    DynamicsConstant{"general_steps", &C::general_steps, 2, 1000,
                     "steps in which what is good for every token is learnt, by a factor e"},
    DynamicsConstant{"cluster_skill", &C::cluster_skill, 1e-3, 100,
                     "advantage of an expert trained on a cluster, in units of that at first"},
    DynamicsConstant{"skill_rate", &C::skill_rate, 1e-4, 1, "share of that skill gained per step"},
    DynamicsConstant{"switch_ratio", &C::switch_ratio, 1e-2, 1e5,
                     "auxiliary gradient at coefficient 1, in units of the task's at first"},
};

}  // namespace

std::span<const DynamicsConstant> dynamics_constants() { return kConstants; }

DynamicsConstants read_dynamics_constants(const std::string& file) {
  const auto document = YamlDocument::load(file);
  Mistakes mistakes;
  YamlMap map(document->root(), "router dynamics", mistakes);
  DynamicsConstants constants;
  YamlMap values = map.map("constants");
  for (const DynamicsConstant& c : kConstants) {
    constants.*c.value = values.number(c.key, {.least = 1e-9, .most = 1e9});
  }
  values.finish();
  for (const char* share : {"common_first", "common_start", "common_end", "token_share"}) {
    if (values.number_or(share, 0) > 1) values.mistake(share, "a share is at most 1");
  }
  constants.label = map.text("label");
  constants.provenance = map.text("provenance");
  constants.fitted_to = map.texts_or_empty("fitted_to");
  map.finish();
  mistakes.throw_if_any();
  return constants;
}

std::string dynamics_constants_yaml(const DynamicsConstants& constants) {
  std::string text = "constants:\n";
  for (const DynamicsConstant& c : kConstants) {
    const std::string pair = fmt::format("{}: {:.3g}", c.key, constants.*c.value);
    text += fmt::format("  {:<24} # {}\n", pair, c.help);
  }
  text += fmt::format("label: {}\nprovenance: \"{}\"\nfitted_to: [", constants.label,
                      constants.provenance);
  for (std::size_t i = 0; i < constants.fitted_to.size(); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", constants.fitted_to[i]);
  }
  return text + "]\n";
}

}  // namespace sim
