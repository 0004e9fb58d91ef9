// How unevenly hashing loads the uplinks of a leaf.
//
// A cut takes parallel links as one, as if every flow were spread over all of them. Static ECMP
// puts a pair of ranks on one; the links are done when the fullest is. So a cut's bytes count as if
// every link carried as much as the fullest one of this exchange does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "topologies/cluster.h"
#include "topologies/routes.h"

namespace sim {

class UplinkHash {
 public:
  // Most paths that are looked up and kept (64 MiB): 4096 GPUs with one path per flow. Above, links
  // are taken as evenly loaded; with that many flows the hash nearly does so.
  static constexpr std::int64_t kMostPaths = std::int64_t{1} << 24;

  explicit UplinkHash(const Cluster& cluster);  // keeps a reference

  // False where no hash decides: ideal spraying, one uplink, too many paths.
  bool decides() const { return decides_; }
  // Counts bytes of a path that crosses the spines. REQUIRES: decides().
  void add(DeviceId from, DeviceId to, double bytes);
  // The fullest of these links over their mean, 1 when they carry nothing; forgets their bytes.
  double take_crowding(std::span<const LinkId> links);

 private:
  struct SpineLinks {
    LinkId up;
    LinkId down;
  };
  const SpineLinks& links_of(DeviceId from, DeviceId to, int path);

  const Cluster& cluster_;
  Routes routes_;
  Route route_;
  bool decides_ = false;
  std::vector<SpineLinks> known_;  // by (from, to, path)
  std::vector<double> load_;       // bytes per link of the cluster
};

}  // namespace sim
