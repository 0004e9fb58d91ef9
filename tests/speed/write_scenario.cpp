// write_scenario PATTERN GPUS OUT.txt [ideal] [OVERSUBSCRIPTION]: one of the speed scenarios in the
// text format of `simulate flows`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "sim/workloads/flows/text_writer.h"
#include "tests/speed/scenarios.h"

namespace sim::speed {
namespace {

// Endpoints of the routes, which are those of all pairs in order.
std::pair<std::uint64_t, std::uint64_t> ends(std::uint64_t route, std::uint64_t gpus) {
  const std::uint64_t from = route / (gpus - 1), to = route % (gpus - 1);
  return {from, to + (to >= from ? 1 : 0)};
}

void write(const FlowSet& set, std::uint64_t gpus, const std::string& file) {
  TextWriter out(file);
  const auto number = [&](std::size_t n) -> TextWriter& {
    return out.add(static_cast<std::uint64_t>(n));
  };
  out.add("flowscenario 1\nhosts ").add(gpus).add("\nlinks ");
  number(set.capacities.size());
  for (std::size_t l = 0; l < set.capacities.size(); ++l) {
    out.add("\nlink ");
    number(l).add(' ').add(set.capacities[l]).add(" 0");
  }
  out.add("\nroutes ");
  number(set.route_count());
  for (std::uint32_t r = 0; r < set.route_count(); ++r) {
    const auto [from, to] = ends(r, gpus);
    out.add("\nroute ").add(from).add(' ').add(to).add(' ');
    number(set.links(r).size());
    for (const std::int32_t link : set.links(r)) {
      out.add(' ');
      number(static_cast<std::size_t>(link));
    }
  }
  out.add("\nflows ");
  number(set.flows.size());
  for (const Flow& flow : set.flows) {
    const auto [from, to] = ends(flow.route, gpus);
    out.add("\nflow ").add(from).add(' ').add(to).add(' ');
    out.add(static_cast<std::uint64_t>(flow.bytes)).add(' ').add(flow.start_s);
  }
  out.add("\n");
  out.close();
}

}  // namespace
}  // namespace sim::speed

int main(int count, char** words) {
  const auto& names = sim::speed::patterns();
  const int gpus = count > 2 ? std::atoi(words[2]) : 0;
  if (count < 4 || gpus < 8 || gpus % 8 != 0 ||
      std::find(names.begin(), names.end(), words[1]) == names.end()) {
    std::fputs("write_scenario PATTERN GPUS OUT.txt [ideal] [OVERSUBSCRIPTION]; PATTERN is one of",
               stderr);
    for (const std::string& name : names) std::fprintf(stderr, " %s", name.c_str());
    std::fputs("\n", stderr);
    return 1;
  }
  sim::speed::Scenario scenario{gpus, words[1]};
  for (int i = 4; i < count; ++i) {
    if (std::string(words[i]) == "ideal") {
      scenario.ideal_spraying = true;
    } else {
      scenario.oversubscription = std::max(1.0, std::atof(words[i]));
    }
  }
  try {
    sim::speed::write(sim::speed::make(scenario), static_cast<std::uint64_t>(gpus), words[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
