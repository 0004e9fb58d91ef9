#include "sim/app/explanation_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"

namespace sim {
namespace {

constexpr std::size_t kWidest = 100;

double share_of(Duration part, Duration whole) {
  return whole > Duration(0) ? to_seconds(part) / to_seconds(whole) : 0;
}

// Times of one table in one unit, with two decimals.
class TimeUnit {
 public:
  explicit TimeUnit(Duration longest) {
    if (longest >= Duration(1'000'000'000'000)) {
      ps_ = 1e12;
      name_ = "s";
    } else if (longest >= Duration(1'000'000'000)) {
      ps_ = 1e9;
      name_ = "ms";
    }
  }
  std::string text(Duration time) const {
    return fmt::format("{:.2f} {}", static_cast<double>(time.count()) / ps_, name_);
  }

 private:
  double ps_ = 1e6;
  const char* name_ = "us";
};

std::string places_text(const std::vector<CausePlace>& places, Duration whole, std::size_t shown) {
  std::string text;
  for (std::size_t i = 0; i < std::min(shown, places.size()); ++i)
    text += (i == 0 ? "" : ", ") + places[i].name + " " + percent(share_of(places[i].time, whole));
  return text;
}

std::string where_text(const ExplainedCause& cause) {
  std::string text = places_text(cause.devices, cause.time, 2);
  const std::vector<CausePlace>& finer = cause.links.empty() ? cause.layers : cause.links;
  const std::string more = places_text(finer, cause.time, 1);
  if (!more.empty()) text += "; " + more;
  return text;
}

void add_causes(std::string& text, const Explanation& e, const TimeUnit& unit, std::size_t top) {
  TextTable table;
  table.add_column("  cause");
  table.add_column("time", Align::kRight);
  table.add_column("share", Align::kRight);
  table.add_column("where most of it lies");
  Duration rest{0};
  for (std::size_t i = 0; i < e.causes.size(); ++i) {
    const ExplainedCause& cause = e.causes[i];
    if (i >= top) {
      rest += cause.time;
      continue;
    }
    table.add_row({"  " + std::string(kCauseNames[static_cast<std::size_t>(cause.cause)]),
                   unit.text(cause.time / e.steps), percent(share_of(cause.time, e.time)),
                   where_text(cause)});
  }
  if (e.causes.size() > top) {
    table.add_row({fmt::format("  {} others", e.causes.size() - top), unit.text(rest / e.steps),
                   percent(share_of(rest, e.time)), "--top shows more"});
  }
  table.add_row({"  all", unit.text(e.time / e.steps), percent(1), ""});
  text += table.text(kWidest);
}

void add_culprits(std::string& text, const Explanation& e, const TimeUnit& unit, std::size_t top) {
  if (!e.slow.empty()) text += "\nDevices that were slow on the path\n";
  for (std::size_t i = 0; i < std::min(top, e.slow.size()); ++i) {
    const SlowDevice& slow = e.slow[i];
    text +=
        fmt::format("  gpu {:<5} kernels take {:.2f}x their time, {}: {} of the path\n",
                    slow.device.value(), slow.factor,
                    slow.throughout ? "throughout"
                                    : "from " + format_duration(slow.from.time_since_epoch()) +
                                          " to " + format_duration(slow.until.time_since_epoch()),
                    unit.text(slow.cost / e.steps));
  }
  if (!e.experts.empty()) text += "\nThe busiest experts of ranks that others waited for\n";
  for (std::size_t i = 0; i < std::min(top, e.experts.size()); ++i) {
    const BusyExpert& busy = e.experts[i];
    text +=
        fmt::format("  gpu {:<5} layer {:<3} expert {:<4} {} rows, {:.2f}x the layer's mean{}\n",
                    busy.device.value(), busy.layer, busy.expert.value(), busy.rows,
                    busy.mean_rows > 0 ? static_cast<double>(busy.rows) / busy.mean_rows : 1,
                    busy.copies > 1 ? fmt::format(", in {} copies", busy.copies) : "");
  }
  if (!e.links.empty()) text += "\nWhat bounded the exchanges of the path\n";
  for (std::size_t i = 0; i < std::min(top, e.links.size()); ++i) {
    const BoundingLink& link = e.links[i];
    text += fmt::format("  {:<28} {}", link.name, unit.text(link.time / e.steps));
    if (link.known) {
      text += fmt::format(", busy {} of the time at {} of its capacity", percent(link.busy),
                          percent(link.used));
      if (link.capacity_share < 0.99)
        text += fmt::format(", which is {:.2f}x that of links like it", link.capacity_share);
    }
    text += "\n";
  }
  if (!e.stages.empty()) {
    text += "\nPipeline: the path lies on " +
            places_text(e.stages, e.time, std::max<std::size_t>(top, 4)) +
            fmt::format("; a rank waits {} of the step in bubbles\n",
                        percent(share_of(e.pipeline_bubble, e.time)));
  }
}

void add_savings(std::string& text, const Explanation& e, const TimeUnit& unit) {
  text +=
      "\nWith one cause removed, a simulation each (the causes above add up; savings need not)\n";
  TextTable table;
  for (const Align align :
       {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft})
    table.add_column("", align);
  const Duration step = e.time / e.steps;
  for (const Saving& each : e.savings) {
    if (!each.step) {
      table.add_row({"  " + each.name, "-", "", "", "not run: " + each.not_run});
      continue;
    }
    const Duration saved = step - *each.step;
    const double share = share_of(saved, step);
    table.add_row({"  " + each.name, unit.text(*each.step),
                   (saved < Duration(0) ? "adds " : "saves ") +
                       unit.text(saved < Duration(0) ? -saved : saved),
                   fmt::format("{:.1f} %", 100 * (share < 0 ? -share : share)), each.means});
  }
  text += table.text(kWidest);
}

}  // namespace

std::string explanation_text(const Scenario& scenario, const Explanation& e, std::size_t top) {
  const TimeUnit unit(e.time / e.steps);
  std::string text =
      fmt::format("{}: {} on {} GPUs ({}), {}\n", scenario.name, scenario.model.name,
                  scenario.layout.world, scenario.cluster.name,
                  e.step ? "step " + std::to_string(*e.step)
                         : fmt::format("mean of {} step{}", e.steps, e.steps == 1 ? "" : "s"));
  text += "step time  " + unit.text(e.time / e.steps) + "\n";
  text += e.verdict + "\n\nThe critical path by cause; it adds up to the step exactly\n";
  add_causes(text, e, unit, top);
  add_culprits(text, e, unit, std::min<std::size_t>(top, 3));
  if (!e.savings.empty()) add_savings(text, e, unit);
  return text;
}

std::string explanation_json(const Scenario& scenario, const Explanation& e) {
  nlohmann::ordered_json json;
  const auto places = [](const std::vector<CausePlace>& list) {
    nlohmann::ordered_json array = nlohmann::ordered_json::array();
    for (const CausePlace& each : list)
      array.push_back({{"name", each.name}, {"time_s", to_seconds(each.time)}});
    return array;
  };
  json["name"] = scenario.name;
  json["model"] = scenario.model.name;
  json["cluster"] = scenario.cluster.name;
  json["gpus"] = scenario.layout.world;
  json["seed"] = scenario.seed;
  if (e.step) json["step"] = *e.step;
  json["steps"] = e.steps;
  json["step_time_s"] = to_seconds(e.time / e.steps);
  json["time_ps"] = e.time.count();  // of all steps: the causes add up to it
  json["verdict"] = e.verdict;
  json["causes"] = nlohmann::ordered_json::array();
  for (const ExplainedCause& cause : e.causes) {
    json["causes"].push_back({{"cause", kCauseNames[static_cast<std::size_t>(cause.cause)]},
                              {"duration_ps", cause.time.count()},
                              {"share", share_of(cause.time, e.time)},
                              {"devices", places(cause.devices)},
                              {"layers", places(cause.layers)},
                              {"links", places(cause.links)}});
  }
  json["slow_devices"] = nlohmann::ordered_json::array();
  for (const SlowDevice& slow : e.slow) {
    json["slow_devices"].push_back({{"device", slow.device.value()},
                                    {"factor", slow.factor},
                                    {"from_s", to_seconds(slow.from)},
                                    {"until_s", to_seconds(slow.until)},
                                    {"throughout", slow.throughout},
                                    {"time_s", to_seconds(slow.cost)}});
  }
  json["busy_experts"] = nlohmann::ordered_json::array();
  for (const BusyExpert& busy : e.experts) {
    json["busy_experts"].push_back({{"device", busy.device.value()},
                                    {"layer", busy.layer},
                                    {"expert", busy.expert.value()},
                                    {"rows", busy.rows},
                                    {"mean_rows", busy.mean_rows},
                                    {"copies", busy.copies}});
  }
  json["bounding_links"] = nlohmann::ordered_json::array();
  for (const BoundingLink& link : e.links) {
    nlohmann::ordered_json each = {{"name", link.name}, {"time_s", to_seconds(link.time)}};
    if (link.known) {
      each["busy_share"] = link.busy;
      each["used_while_busy"] = link.used;
      each["capacity_over_links_like_it"] = link.capacity_share;
    }
    json["bounding_links"].push_back(std::move(each));
  }
  json["stages"] = places(e.stages);
  json["pipeline_bubble_share"] = share_of(e.pipeline_bubble, e.time);
  json["exposed_communication_share"] = share_of(e.exposed, e.time);
  json["counterfactuals"] = nlohmann::ordered_json::array();
  const double step_s = to_seconds(e.time / e.steps);
  for (const Saving& each : e.savings) {
    nlohmann::ordered_json row = {{"name", each.name}, {"means", each.means}};
    if (each.step) {
      row["step_time_s"] = to_seconds(*each.step);
      row["saves_s"] = step_s - to_seconds(*each.step);
      row["saves_share"] = step_s > 0 ? (step_s - to_seconds(*each.step)) / step_s : 0;
    } else {
      row["not_run"] = each.not_run;
    }
    json["counterfactuals"].push_back(std::move(row));
  }
  return json.dump(2) + "\n";
}

}  // namespace sim
