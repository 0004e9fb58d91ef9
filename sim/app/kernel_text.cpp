// The reply of `simulate cost` for people and as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/kernel_request.h"

namespace sim {
namespace {

std::string range_text(const KernelAnswer& answer) {
  if (answer.by.constants == nullptr) return "no calibrated constants: the roofline answers";
  if (answer.by.constants->range.empty()) return "not given";
  if (answer.outside.empty()) return "inside the calibrated range";
  std::string text = "outside the calibrated range:";
  for (const OutsideExtent& each : answer.outside) {
    text += fmt::format(" {} {:.6g} (fitted {:.6g} to {:.6g})", each.name, each.value, each.least,
                        each.most);
  }
  return text;
}

std::string rate_text(double flops, double bytes, double seconds) {
  if (seconds <= 0) return "nothing to do";
  return fmt::format("{:.4g} TFLOP/s, {:.4g} GB/s", flops / seconds * 1e-12,
                     bytes / seconds * 1e-9);
}

}  // namespace

std::string reply_text(const KernelReply& reply) {
  const KernelAnswer& answer = reply.answer;
  const KernelCost& cost = answer.cost;
  const KernelConstants* constants = answer.by.constants;
  std::string text = fmt::format("{} on {}", reply.kind->name, reply.device.name);
  if (reply.kind->has_format()) text += fmt::format(", {}", to_text(reply.subject.format));
  if (constants != nullptr) text += fmt::format(", {}", constants->source);
  if (reply.sms != reply.device.sms) text += fmt::format(", {} SMs", reply.sms);
  text += "\n";
  TextTable table;
  table.add_column("");
  table.add_column("");
  table.add_row({"  time", format_duration(cost.time)});
  table.add_row({"  fixed", format_duration(cost.fixed)});
  table.add_row({"  compute", format_duration(cost.compute)});
  table.add_row({"  memory", format_duration(cost.memory)});
  table.add_row({"  achieved", rate_text(answer.flops, answer.bytes, to_seconds(cost.time))});
  table.add_row({"  roofline", format_duration(answer.roofline.time)});
  table.add_row({"  label", std::string(to_text(cost.label))});
  table.add_row({"  range", range_text(answer)});
  if (!answer.by.substitute.empty()) table.add_row({"  instead", answer.by.substitute});
  table.add_row({"  from", std::string(cost.source)});
  return text + table.text(400);
}

std::string reply_json(const KernelReply& reply) {
  const KernelAnswer& answer = reply.answer;
  const KernelCost& cost = answer.cost;
  const KernelConstants* constants = answer.by.constants;
  nlohmann::ordered_json json;
  json["kernel"] = reply.kind->name;
  json["device"] = reply.device.name;
  json["dtype"] = to_text(reply.subject.format);
  json["source"] = constants != nullptr ? constants->source : "roofline";
  json["sms"] = reply.sms;
  for (std::size_t i = 0; i < reply.kind->sizes.size(); ++i) {
    json["sizes"][std::string(reply.kind->sizes[i].key)] = reply.subject.sizes[i];
  }
  if (!reply.subject.rows.empty()) json["rows"] = reply.subject.rows;
  json["time_s"] = to_seconds(cost.time);
  json["fixed_s"] = to_seconds(cost.fixed);
  json["compute_s"] = to_seconds(cost.compute);
  json["memory_s"] = to_seconds(cost.memory);
  json["flops"] = answer.flops;
  json["bytes"] = answer.bytes;
  const double seconds = to_seconds(cost.time);
  json["flops_per_s"] = seconds > 0 ? answer.flops / seconds : 0;
  json["bytes_per_s"] = seconds > 0 ? answer.bytes / seconds : 0;
  json["roofline_s"] = to_seconds(answer.roofline.time);
  json["label"] = to_text(cost.label);
  json["in_range"] = cost.in_range;
  json["outside"] = nlohmann::ordered_json::array();
  for (const OutsideExtent& each : answer.outside) {
    json["outside"].push_back(
        {{"extent", each.name}, {"value", each.value}, {"least", each.least}, {"most", each.most}});
  }
  if (!answer.by.substitute.empty()) json["instead"] = answer.by.substitute;
  json["from"] = cost.source;
  return json.dump(2) + "\n";
}

}  // namespace sim
