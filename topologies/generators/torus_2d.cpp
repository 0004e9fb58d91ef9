// Chips on a two-dimensional torus (TPU pods), x fastest, rings of links both ways along X and Y.
//
// Routes are dimension-ordered without a rule of their own: every chip has an X router and a Y
// router, what leaves a chip enters the X ring, may change to the Y ring only at its X router, and
// reaches a chip from its Y router. So a shortest path goes along X first, then along Y, the
// shorter way round (half way round an even ring, either way by the hash of the pair). Inside a
// chip nothing is narrower than its links together. A ring of two chips has one cable, of one chip
// none.
#include <string>

#include "topologies/generators.h"

namespace sim {
namespace {

// Cables of one ring of routers, member i called by `name(i)`.
template <class Router, class Name>
void add_ring(ClusterBuilder& builder, int size, const PortFigure& link, Router router, Name name) {
  if (size < 2) return;
  for (int i = 0; i < (size == 2 ? 1 : size); ++i) {
    builder.add_cable(name(i), router(i), router((i + 1) % size), link, LinkKind::kFabric);
  }
}

// Given, or what so many nodes fill.
int read_rows(ClusterParameters& parameters, int columns, int per_node) {
  if (!parameters.has("nodes")) return static_cast<int>(parameters.count("rows", {1, 4096}));
  if (parameters.has("rows")) {
    parameters.mistake("nodes", "'nodes' and 'rows' both say how large the torus is",
                       "leave out one of them");
  }
  const std::int64_t nodes = parameters.count("nodes", {1, kMostDevices});
  if (nodes * per_node % columns != 0) {
    parameters.mistake("nodes", std::to_string(nodes * per_node) + " chips do not fill rows of " +
                                    std::to_string(columns));
  }
  return static_cast<int>(nodes * per_node / columns);
}

}  // namespace

Cluster build_torus_2d(ClusterParameters& parameters) {
  const auto columns = static_cast<int>(parameters.count("columns", {1, 4096}));
  const auto per_node = static_cast<int>(parameters.count_or("chips_per_node", 1, {1, 4096}));
  const int rows = read_rows(parameters, columns, per_node);
  const std::string device = parameters.text("device");
  const PortFigure link = parameters.port("link");
  const std::int64_t paths = parameters.count_or("paths_per_flow", 1, {1, 64});
  const std::int64_t chips = std::int64_t{columns} * rows;
  if (columns % per_node != 0) {
    parameters.mistake("chips_per_node", std::to_string(per_node) +
                                             " chips of a node do not fill a row of " +
                                             std::to_string(columns));
  }
  if (parameters.clean() && chips < 2)
    parameters.mistake("columns", "a torus has at least two chips");
  if (chips > kMostDevices / 4) {
    parameters.mistake("columns", "this torus has " + std::to_string(chips) +
                                      " chips, more than the " + std::to_string(kMostDevices / 4) +
                                      " that fit");
  }
  if (!parameters.clean()) return {};

  ClusterBuilder builder(parameters.name());
  builder.cluster().paths_per_flow = static_cast<int>(paths);
  builder.add_figure("link", link);
  for (std::int64_t node = 0; node < chips / per_node; ++node)
    builder.add_node("node" + std::to_string(node), device, per_node);
  PortFigure inside = link;
  inside.bandwidth = Bandwidth(4 * link.bandwidth.count());
  inside.latency = Duration(0);
  std::vector<VertexId> along_x;
  std::vector<VertexId> along_y;
  const auto place = [&](std::int64_t chip) {
    return "x" + std::to_string(chip % columns) + "y" + std::to_string(chip / columns);
  };
  for (std::int64_t chip = 0; chip < chips; ++chip) {
    along_x.push_back(builder.add_switch(place(chip) + "/x"));
    along_y.push_back(builder.add_switch(place(chip) + "/y"));
  }
  for (std::int64_t chip = 0; chip < chips; ++chip) {
    const VertexId x = along_x[static_cast<std::size_t>(chip)];
    const VertexId y = along_y[static_cast<std::size_t>(chip)];
    builder.add_link(place(chip) + "/out", VertexId(chip), x, inside, LinkKind::kFabric);
    builder.add_link(place(chip) + "/turn", x, y, inside, LinkKind::kFabric);
    builder.add_link(place(chip) + "/in", y, VertexId(chip), inside, LinkKind::kFabric);
  }
  const auto chip_at = [&](int x, int y) {
    return static_cast<std::size_t>(std::int64_t{y} * columns + x);
  };
  for (int y = 0; y < rows; ++y) {
    add_ring(
        builder, columns, link, [&](int x) { return along_x[chip_at(x, y)]; },
        [&](int x) { return place(std::int64_t{y} * columns + x) + "/x-link"; });
  }
  for (int x = 0; x < columns; ++x) {
    add_ring(
        builder, rows, link, [&](int y) { return along_y[chip_at(x, y)]; },
        [&](int y) { return place(std::int64_t{y} * columns + x) + "/y-link"; });
  }
  return builder.finish();
}

}  // namespace sim
