#include "sim/app/kernel_question.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "models/calibration/table_names.h"
#include "sim/app/device_choice.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

std::string plain(std::string_view text) {
  std::string result;
  for (const char c : text) {
    result += c == '_' || c == ' ' ? '-' : static_cast<char>(std::tolower(c));
  }
  return result;
}

std::string without_dashes(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '-'), text.end());
  return text;
}

// One spelling for the frameworks that have several.
std::string plain_source(std::string_view text) {
  std::string name = plain(text);
  for (const char* spelling : {"tensorrt-llm", "tensorrtllm", "trt-llm"}) {
    const std::size_t at = name.find(spelling);
    if (at != std::string::npos) name.replace(at, std::string(spelling).size(), "trtllm");
  }
  return name;
}

// The name of the entry that the typed one means; null: none of its names.
const std::string* meant(const KernelConstants& entry, const std::string& plain_name, bool whole) {
  const auto same = [&](const std::string& name) {
    const std::string other = plain_source(name);
    // Whole words: "vllm" and "triton" of "vllm-triton".
    return whole ? other == plain_name
                 : ("-" + other + "-").find("-" + plain_name + "-") != std::string::npos;
  };
  if (same(entry.source)) return &entry.source;
  const auto at = std::find_if(entry.also.begin(), entry.also.end(), same);
  return at == entry.also.end() ? nullptr : &*at;
}

std::string sources_text(const Device& device, const KernelKind& kind) {
  std::vector<std::pair<std::string, std::string>> formats_of;  // source, its formats
  for (const KernelConstants& entry : device.kernels) {
    if (entry.family != kind.family) continue;
    auto at = std::find_if(formats_of.begin(), formats_of.end(),
                           [&](const auto& each) { return each.first == entry.source; });
    if (at == formats_of.end()) at = formats_of.insert(at, {entry.source, ""});
    const std::string format(to_text(entry.format));
    if (at->second.find(format) == std::string::npos) {
      at->second += (at->second.empty() ? "" : " ") + format;
    }
  }
  std::string text;
  for (const auto& [source, formats] : formats_of) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", source, formats);
  }
  return text;
}

bool same_matrices(const Device& device, const KernelFormat& a, const KernelFormat& b) {
  return a.stored == b.stored &&
         multiplied_on(device, a.multiplied) == multiplied_on(device, b.multiplied);
}

}  // namespace

Device find_device(const Catalog& catalog, const std::string& typed) {
  std::error_code code;
  if (std::filesystem::is_regular_file(typed, code)) return load_device(catalog, typed);
  const std::string name = plain(typed);
  const std::string bare = without_dashes(name);
  std::vector<std::string> begins;
  for (const CatalogEntry& entry : catalog.devices()) {
    if (entry.name == name || without_dashes(entry.name) == bare) {
      return load_device(catalog, entry.name);
    }
    // "h100" of "h100-sxm": whole words of the name.
    if (!name.empty() && entry.name.rfind(name + "-", 0) == 0) begins.push_back(entry.name);
  }
  if (begins.size() == 1) return load_device(catalog, begins.front());
  if (begins.size() > 1) {
    throw Error(fmt::format("'{}' is the beginning of several devices", typed),
                fmt::format("which one: {}", fmt::join(begins, ", ")));
  }
  return load_device(catalog, typed);  // says what is wrong
}

KernelFormat find_format(const std::string& typed) {
  std::string name = typed;
  for (const bool lower : {false, true}) {
    if (lower) {
      for (char& c : name) c = static_cast<char>(std::tolower(c));
    }
    if (const auto format = parse_kernel_format(name)) return *format;
    std::replace(name.begin(), name.end(), '-', '_');
    if (const auto format = parse_kernel_format(name)) return *format;
  }
  throw Error(fmt::format("there is no dtype '{}'", typed), suggest(name, kernel_format_names()));
}

std::optional<std::string> find_source(const Device& device, const KernelKind& kind,
                                       const KernelFormat& format, const std::string& typed) {
  if (typed.empty() || typed == "default") return std::nullopt;
  const std::string_view of_table = kernel_of_table_name(typed);
  const std::string name = plain_source(of_table.empty() ? std::string_view(typed) : of_table);
  bool any = false;
  for (const bool whole : {true, false}) {
    const KernelConstants* found = nullptr;
    const std::string* found_name = nullptr;
    for (const KernelConstants& entry : device.kernels) {
      if (entry.family != kind.family) continue;
      any = true;
      const std::string* entry_name = meant(entry, name, whole);
      if (entry_name == nullptr) continue;
      if (entry.format == format) return *entry_name;
      const bool better = found == nullptr || (!same_matrices(device, found->format, format) &&
                                               same_matrices(device, entry.format, format));
      if (!better) continue;
      found = &entry;
      found_name = entry_name;
    }
    if (found != nullptr) return *found_name;
  }
  if (!any) {
    throw Error(
        fmt::format("{} has no source '{}' of {}, and no other", device.name, typed, kind.name),
        "without a source the roofline answers");
  }
  throw Error(fmt::format("{} has no source '{}' of {}", device.name, typed, kind.name),
              fmt::format("there are: {}", sources_text(device, kind)));
}

KernelAnswerer choose_answerer(const Device& device, const KernelKind& kind,
                               const KernelSubject& subject,
                               const std::optional<std::string>& source) {
  const KernelCall call = call_of(kind, subject);
  const std::string op(kind.op);
  KernelWish wish{kind.family, subject.format, true, op.empty() ? nullptr : &op,
                  source ? &*source : nullptr};
  KernelAnswerer by;
  by.constants = choose_constants(device, wish, call);
  if (by.constants != nullptr) return by;
  wish.exact_scales = false;
  by.constants = choose_constants(device, wish, call);
  if (by.constants == nullptr && source) {
    wish.source = nullptr;
    for (const bool exact : {true, false}) {
      wish.exact_scales = exact;
      by.constants = choose_constants(device, wish, call);
      if (by.constants != nullptr) break;
    }
  }
  if (by.constants != nullptr) {
    by.substitute = fmt::format("no constants of {} in {}: those of {} in {} are used",
                                source ? *source : "any source", to_text(subject.format),
                                by.constants->source, to_text(by.constants->format));
  }
  return by;
}

KernelCost price(const Device& device, const KernelKind& kind, const KernelSubject& subject,
                 const KernelAnswerer& by, int sms) {
  KernelCost cost;
  const bool nothing = kind.is_experts() && std::all_of(subject.rows.begin(), subject.rows.end(),
                                                        [](std::int64_t r) { return r == 0; });
  if (nothing) {
    cost.label = by.constants != nullptr ? by.constants->label : CostLabel::kRoofline;
    return cost;  // nothing is launched
  }
  if (by.constants != nullptr) {
    cost = calibrated_cost(*by.constants, call_of(kind, subject), device, sms);
    cost.in_range = cost.in_range && sms == device.sms;  // nothing was measured on fewer SMs
    if (!by.substitute.empty()) cost.label = CostLabel::kAssumed;
    return cost;
  }
  if (kind.family == KernelFamily::kCopy) {
    throw Error(fmt::format("{} has no constants of copies between host and device", device.name),
                "microbench measures them; `simulate calibrate fit` makes a device file of it");
  }
  cost = kind.is_experts() ? Roofline().cost(subject.experts, device, sms)
                           : Roofline().cost(subject.op, device, sms);
  cost.in_range = false;
  return cost;
}

KernelAnswer answer(const Device& device, const KernelKind& kind, const KernelSubject& subject,
                    const std::optional<std::string>& source, int sms) {
  KernelAnswer result;
  result.by = choose_answerer(device, kind, subject, source);
  result.cost = price(device, kind, subject, result.by, sms);
  if (kind.family != KernelFamily::kCopy) {
    result.roofline = price(device, kind, subject, {}, sms);
  }
  if (sms != device.sms) {
    result.outside.push_back({"sms", static_cast<double>(sms), static_cast<double>(device.sms),
                              static_cast<double>(device.sms)});
  }
  result.flops = flops_of(kind, subject);
  result.bytes = bytes_of(kind, subject);
  if (result.by.constants != nullptr && !result.by.constants->range.empty()) {
    const KernelConstants& constants = *result.by.constants;
    std::vector<double> extents(constants.form->extents.size());
    constants.form->extents_of(call_of(kind, subject), extents);
    for (std::size_t i = 0; i < extents.size(); ++i) {
      const auto [least, most] = constants.range[i];
      if (extents[i] >= least * (1 - 1e-9) && extents[i] <= most * (1 + 1e-9)) continue;
      result.outside.push_back({std::string(constants.form->extents[i]), extents[i], least, most});
    }
  }
  return result;
}

}  // namespace sim
