#include "models/roofline.h"

#include <algorithm>

#include "models/expert_work.h"
#include "sim/core/error.h"

namespace sim {

namespace {

constexpr std::string_view kSource = "roofline of the device's data sheet";

double flops_per_second(const Device& device, DType dtype, int sms) {
  SIM_CHECK(sms > 0 && sms <= device.sms, "a kernel gets some of the device's SMs");
  return peak_rate(device, dtype).count() * compute_efficiency(device, dtype) * sms / device.sms;
}

double bytes_per_second(const Device& device) {
  return device.memory_bandwidth.count() * device.memory_efficiency;
}

struct Seconds {
  double time = 0;
  double compute = 0;
  double memory = 0;
  void run(double compute_s, double memory_s) {
    time += std::max(compute_s, memory_s);
    compute += compute_s;
    memory += memory_s;
  }
};

KernelCost priced(const Seconds& seconds) {
  KernelCost cost;
  cost.time = duration_from_seconds(seconds.time);
  cost.compute = duration_from_seconds(seconds.compute);
  cost.memory = duration_from_seconds(seconds.memory);
  cost.label = CostLabel::kRoofline;
  cost.source = kSource;
  return cost;
}

}  // namespace

KernelCost Roofline::cost(const Operator& op, const Device& device, int sms) const {
  Seconds seconds;
  seconds.run(op.flops.count() / flops_per_second(device, op.compute, sms),
              static_cast<double>((op.weight_bytes + op.activation_bytes).count()) /
                  bytes_per_second(device));
  return priced(seconds);
}

KernelCost Roofline::cost(const ExpertFfn& ffn, const Device& device, int sms) const {
  const ExpertWork work = expert_work(ffn);
  const double flops = flops_per_second(device, ffn.compute, sms);
  const double bytes = bytes_per_second(device);
  Seconds seconds;
  seconds.run(work.first.flops / flops,
              (work.first.weight_bytes + work.first.activation_bytes) / bytes);
  seconds.run(0, work.between_bytes / bytes);
  seconds.run(work.second.flops / flops,
              (work.second.weight_bytes + work.second.activation_bytes) / bytes);
  return priced(seconds);
}

}  // namespace sim
