// The speed of a device over time, as pieces in each of which it is constant or changes linearly.
#pragma once

#include <limits>
#include <vector>

#include "sim/core/units.h"

namespace sim {

class SpeedProfile {
 public:
  // Speed 1 is undisturbed. From `begin` to `end` (picoseconds) it is `speed` at first and grows by
  // `slope` per picosecond. REQUIRES: positive up to the end.
  struct Piece {
    double begin = 0;
    double end = std::numeric_limits<double>::infinity();
    double speed = 1;
    double slope = 0;
    double at(double time) const { return speed + slope * (time - begin); }
  };
  static constexpr std::size_t kMostPieces = 64;

  // Where pieces overlap the lowest speed holds; where none is it is 1. REQUIRES: at most
  // 2 * kMostPieces of them.
  explicit SpeedProfile(const std::vector<Piece>& pieces);

  // How long work of `undisturbed` takes that begins at `start`.
  Duration time_of(Time start, Duration undisturbed) const;

 private:
  std::vector<Piece> pieces_;  // ascending, without overlap or hole; the last one has no end
};

}  // namespace sim
