// What is trained: the shape of the model, its optimizer's schedule and its balance term.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sim {

// What keeps the load even while the router is trained.
//   none    nothing
//   switch  coefficient * experts * sum_e f_e P_e is added to the loss (arXiv 2101.03961, equation
//           4; f the shares of choices, held constant; P the mean router probabilities)
//   bias    selection by probability + bias; after each step a bias rises by the coefficient where
//           the load is below the mean and falls where it is above (arXiv 2408.15664)
enum class DynamicsTerm { kNone, kSwitch, kBias };

std::string_view to_text(DynamicsTerm term);

struct TrainingRun {
  int experts = 16;
  int top_k = 2;
  int layers = 4;
  int hidden = 96;  // length of a token's vector in the model
  std::int64_t tokens_per_step = 1536;
  int steps = 400;
  int warmup_steps = 20;        // the learning rate rises linearly over them
  double learning_rate = 2e-3;  // its peak, of AdamW
  double last_share = 0.1;      // of the peak after the last step; the fall is half a cosine
  DynamicsTerm term = DynamicsTerm::kNone;
  double coefficient = 0;  // of the term: alpha of switch, gamma per step of bias
  std::uint64_t seed = 1;
};

// Throws Error, every mistake at once: sizes out of range, a coefficient without a term, ...
void check_training_run(const TrainingRun& run);

// The factor of the peak learning rate in a step, counted from 0: (step + 1) / warm-up, then half a
// cosine down to last_share.
double learning_rate_share(const TrainingRun& run, int step);

// Adds "term=switch,coefficient=0.01,hidden=96,warmup=20,learning_rate=2e-3" to a run; what is
// left out is as in the trainings that the constants are fitted to. Throws Error, every mistake at
// once.
void read_dynamics_option(const std::string& text, TrainingRun& run);

// "term switch, coefficient 0.01, 16 experts, top-2, ...": for provenance.
std::string describe(const TrainingRun& run);

}  // namespace sim
