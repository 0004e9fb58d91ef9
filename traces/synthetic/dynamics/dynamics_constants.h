// The few global constants of the router dynamics, with what they mean and where a fit may look.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

struct DynamicsConstants {
  double cluster_skew = 1;
  double burst = 20;
  double common_first = 0.6;
  double rise_steps = 5;
  double common_start = 0.9;
  double common_end = 0.3;
  double common_steps = 40;
  double turn_steps = 100;
  double token_share = 0.4;
  double rate = 1;
  double gradient_noise = 1;
  double general_steps = 40;
  double cluster_skill = 1;
  double skill_rate = 0.01;
  double switch_ratio = 10;

  // Where they are from: "fitted", the runs and the error; empty before they are read.
  std::string label;
  std::string provenance;
  std::vector<std::string> fitted_to;
};

struct DynamicsConstant {
  std::string_view key;
  double DynamicsConstants::*value;
  double least;  // where a fit may look; all are positive, the fit moves logarithms
  double most;
  std::string_view help;
};

// Every constant, in the order of the file.
std::span<const DynamicsConstant> dynamics_constants();

// Throws Error: every mistake of the file, with its place.
DynamicsConstants read_dynamics_constants(const std::string& file);
std::string dynamics_constants_yaml(const DynamicsConstants& constants);

}  // namespace sim
