#include "sim/policies/disturbances/speed_profile.h"

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim {

SpeedProfile::SpeedProfile(const std::vector<Piece>& pieces) {
  SIM_CHECK(pieces.size() <= 2 * kMostPieces, "few pieces make up a device's speed");
  // Between two neighbouring cuts one piece is the lowest throughout.
  std::vector<double> cuts = {0};
  for (const Piece& piece : pieces) {
    cuts.push_back(piece.begin);
    if (std::isfinite(piece.end)) cuts.push_back(piece.end);
  }
  for (std::size_t a = 0; a < pieces.size(); ++a) {
    for (std::size_t b = a + 1; b < pieces.size(); ++b) {
      const Piece& p = pieces[a];
      const Piece& q = pieces[b];
      if (p.slope == q.slope) continue;
      const double meet = (q.at(0) - p.at(0)) / (p.slope - q.slope);
      if (meet > std::max(p.begin, q.begin) && meet < std::min(p.end, q.end)) cuts.push_back(meet);
    }
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    Piece lowest;
    lowest.begin = cuts[i];
    if (i + 1 < cuts.size()) lowest.end = cuts[i + 1];
    const double inside =
        std::isfinite(lowest.end) ? (lowest.begin + lowest.end) / 2 : lowest.begin + 1;
    double slowest = 1;
    for (const Piece& piece : pieces) {
      if (piece.begin > inside || piece.end <= inside || piece.at(inside) >= slowest) continue;
      slowest = piece.at(inside);
      lowest.speed = piece.at(lowest.begin);
      lowest.slope = piece.slope;
    }
    pieces_.push_back(lowest);
  }
}

Duration SpeedProfile::time_of(Time start, Duration undisturbed) const {
  double at = static_cast<double>(to_ps(start));
  double left = static_cast<double>(undisturbed.count());
  auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), at,
                                [](double time, const Piece& p) { return time < p.begin; });
  --piece;  // the first one begins at 0
  double taken = 0;
  for (;; ++piece) {
    const double speed = piece->at(at);
    const double length = piece->end - at;
    const double done = std::isfinite(length) ? length * (speed + piece->slope * length / 2) : left;
    if (std::isfinite(length) && done < left) {
      left -= done;
      taken += length;
      at = piece->end;
      continue;
    }
    // speed * t + slope * t^2 / 2 = left, the first t
    taken += 2 * left / (speed + std::sqrt(std::max(0.0, speed * speed + 2 * piece->slope * left)));
    return Duration(std::llround(taken));
  }
}

}  // namespace sim
