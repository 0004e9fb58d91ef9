#include "sim/input/fitting/least_squares.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <unsupported/Eigen/NonLinearOptimization>
#include <unsupported/Eigen/NumericalDiff>

namespace sim {
namespace {

constexpr double kSoft = 0.1;

// The square of the result is the soft loss of a relative error.
double soft_residual(double error) {
  const double z = error / kSoft;
  const double loss = 2 * kSoft * kSoft * (std::sqrt(1 + z * z) - 1);
  return std::copysign(std::sqrt(loss), error);
}

struct Problem {
  using Scalar = double;
  using InputType = Eigen::VectorXd;
  using ValueType = Eigen::VectorXd;
  using JacobianType = Eigen::MatrixXd;
  static constexpr int InputsAtCompileTime = Eigen::Dynamic;
  static constexpr int ValuesAtCompileTime = Eigen::Dynamic;

  std::span<const FittedValue> range;
  std::span<const double> measured;
  const std::function<void(std::span<const double>, std::span<double>)>* predict;
  // A pull back from beyond the bounds, one residual per value; more rows than values always.
  int inputs() const { return static_cast<int>(range.size()); }
  int values() const { return static_cast<int>(measured.size() + range.size()); }

  std::vector<double> values_at(const Eigen::VectorXd& logs) const {
    std::vector<double> result(range.size());
    for (std::size_t i = 0; i < range.size(); ++i) {
      result[i] =
          std::clamp(std::exp(logs[static_cast<Eigen::Index>(i)]), range[i].least, range[i].most);
    }
    return result;
  }

  int operator()(const Eigen::VectorXd& logs, Eigen::VectorXd& residuals) const {
    std::vector<double> predicted(measured.size());
    (*predict)(values_at(logs), predicted);
    for (std::size_t i = 0; i < measured.size(); ++i) {
      residuals[static_cast<Eigen::Index>(i)] = soft_residual(predicted[i] / measured[i] - 1);
    }
    for (std::size_t i = 0; i < range.size(); ++i) {
      const double at = logs[static_cast<Eigen::Index>(i)];
      const double beyond =
          std::max({0.0, at - std::log(range[i].most), std::log(range[i].least) - at});
      residuals[static_cast<Eigen::Index>(measured.size() + i)] = beyond;
    }
    return 0;
  }
};

}  // namespace

Minimum least_relative_squares(
    std::span<const FittedValue> values, std::span<const double> measured,
    const std::function<void(std::span<const double>, std::span<double>)>& predict, int starts) {
  Minimum best;
  best.loss = -1;
  for (int start = 0; start < starts; ++start) {
    Problem problem{values, measured, &predict};
    Eigen::VectorXd logs(static_cast<Eigen::Index>(values.size()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      // Fixed points around the start, a factor of up to e away, in another direction each time.
      const double away = start == 0 ? 0 : std::cos(1.7 * start * static_cast<double>(i + 1));
      logs[static_cast<Eigen::Index>(i)] = std::log(values[i].start) + away;
    }
    Eigen::NumericalDiff<Problem, Eigen::Central> numeric(problem, 1e-10);
    Eigen::LevenbergMarquardt<decltype(numeric)> minimiser(numeric);
    minimiser.parameters.maxfev = 400;
    minimiser.parameters.xtol = 1e-10;
    minimiser.parameters.ftol = 1e-12;
    minimiser.minimize(logs);
    Eigen::VectorXd residuals(problem.values());
    problem(logs, residuals);
    const double loss = residuals.squaredNorm() / static_cast<double>(measured.size());
    if (best.loss < 0 || loss < best.loss) best = {problem.values_at(logs), loss};
  }
  return best;
}

}  // namespace sim
