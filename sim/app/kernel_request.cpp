#include "sim/app/kernel_request.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "models/device_reader.h"
#include "sim/app/device_choice.h"
#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

constexpr std::int64_t kMostRows = std::int64_t{1} << 32;
constexpr std::size_t kMostExperts = 65536;

class Reading {
 public:
  Reading(const KernelRequest& request, const KernelKind& kind, KernelReply& reply)
      : kind_(kind), reply_(reply) {
    for (const std::string& assignment : request.set) {
      const std::size_t equals = assignment.find('=');
      if (equals == std::string::npos) {
        mistakes_.add({"--set " + assignment}, "a value is missing", "--set key=value");
        continue;
      }
      given_[assignment.substr(0, equals)] = assignment.substr(equals + 1);
    }
  }

  void read() {
    read_sizes();
    read_format();
    const std::string source = take("source");
    const std::string sms = take("sms");
    const std::string clock = take("clock");
    for (const auto& [key, value] : given_) {
      std::vector<std::string> names = size_names(kind_);
      for (const char* other : {"dtype", "source", "sms", "clock"}) names.emplace_back(other);
      if (kind_.is_experts()) names.emplace_back("rows");
      mistakes_.add({"--set " + key}, fmt::format("{} has no '{}'", kind_.name, key),
                    suggest(key, names));
    }
    if (!clock.empty()) set_clock(clock);
    reply_.sms = reply_.device.sms;
    if (!sms.empty()) set_sms(sms);
    mistakes_.throw_if_any();
    try {
      kind_.fill(kind_, reply_.subject);
    } catch (const Error& error) {
      throw Error(Place{"--set"}, error.mistakes().front().message);
    }
    std::optional<std::string> found;
    try {
      found = find_source(reply_.device, kind_, reply_.subject.format, source);
    } catch (const Error& error) {
      throw Error(Place{"--set source"}, error.mistakes().front().message,
                  error.mistakes().front().hint);
    }
    reply_.answer = answer(reply_.device, kind_, reply_.subject, found, reply_.sms);
  }

 private:
  std::string take(const std::string& key) {
    const auto at = given_.find(key);
    if (at == given_.end()) return "";
    const std::string value = at->second;
    given_.erase(at);
    return value;
  }

  void read_sizes() {
    for (const KernelSize& size : kind_.sizes) {
      const std::string key(size.key);
      std::string text = take(key);
      if (text.empty() && !size.also.empty()) text = take(std::string(size.also));
      std::int64_t value = size.fallback;
      if (!text.empty()) {
        const std::optional<std::int64_t> count = parse_count(text);
        const std::int64_t least = size.fallback == 0 || key == "gated" ? 0 : 1;
        if (!count || *count < least || *count > largest_size(key)) {
          mistakes_.add({"--set " + key}, fmt::format("'{}' is not a whole number from {} to {}",
                                                      text, least, largest_size(key)));
          value = 1;
        } else {
          value = *count;
        }
      } else if (value == kNeeded) {
        mistakes_.add(
            {"--set"}, fmt::format("{} needs {}", kind_.name, key),
            fmt::format("--set {}=NUMBER{}{}", key, size.help.empty() ? "" : ": ", size.help));
        value = 1;
      }
      reply_.subject.sizes.push_back(value);
    }
    const std::string rows = kind_.is_experts() ? take("rows") : "";
    if (rows.empty()) return;
    try {
      parse_rows(rows, reply_.subject.rows);
    } catch (const Error& error) {
      mistakes_.add({"--set rows"}, error.mistakes().front().message);
    }
  }

  void read_format() {
    const std::string typed = take("dtype");
    if (typed.empty()) return;
    try {
      reply_.subject.format = find_format(typed);
    } catch (const Error& error) {
      mistakes_.add({"--set dtype"}, error.mistakes().front().message,
                    error.mistakes().front().hint);
    }
  }

  void set_clock(const std::string& text) {
    std::string mistake;
    const std::optional<double> hz = parse_frequency(text, mistake);
    if (!hz || *hz < 1e6 || *hz > 1e11) {
      mistakes_.add({"--set clock"}, hz ? "a clock lies between 1 MHz and 100 GHz" : mistake);
    } else if (reply_.device.clock_hz <= 0) {
      mistakes_.add(
          {"--set clock"},
          fmt::format("the clock that {}'s peaks hold at is not known", reply_.device.name),
          "give its device file a 'clock'");
    } else {
      reply_.device = at_clock(reply_.device, *hz);
    }
  }

  void set_sms(const std::string& text) {
    const std::optional<std::int64_t> sms = parse_count(text);
    if (!sms || *sms < 1 || *sms > reply_.device.sms) {
      mistakes_.add({"--set sms"},
                    fmt::format("'{}' is not a number of SMs from 1 to {}, which {} has", text,
                                reply_.device.sms, reply_.device.name));
    } else {
      reply_.sms = static_cast<int>(*sms);
    }
  }

  const KernelKind& kind_;
  KernelReply& reply_;
  std::map<std::string, std::string> given_;
  Mistakes mistakes_;
};

}  // namespace

std::int64_t largest_size(std::string_view key) {
  return key == "bytes" ? kMostBytes : kLargestSize;
}

void parse_rows(std::string_view text, std::vector<std::int64_t>& rows) {
  rows.clear();
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    if (*at == ' ' || *at == '"') {
      ++at;
      continue;
    }
    std::int64_t value = 0;
    const auto [stop, failed] = std::from_chars(at, end, value);
    if (failed != std::errc{} || value < 0 || value > kMostRows ||
        (stop != end && *stop != ' ' && *stop != '"')) {
      const std::string_view rest(at, static_cast<std::size_t>(end - at));
      throw Error(fmt::format("'{}' is not a number of rows; rows are counts with spaces between",
                              rest.substr(0, rest.find(' '))));
    }
    rows.push_back(value);
    if (rows.size() > kMostExperts) {
      throw Error(fmt::format("more than {} experts on one rank", kMostExperts));
    }
    at = stop;
  }
}

void answer_request(const KernelRequest& request, const Catalog& catalog, KernelReply& reply) {
  reply.kind = find_kernel_kind(request.kernel);
  if (reply.kind == nullptr) {
    throw Error(Place{"--kernel"}, fmt::format("there is no kernel '{}'", request.kernel),
                suggest(request.kernel, kernel_kind_names()));
  }
  reply.device = find_device(catalog, request.device);
  lend_from_nearest(catalog, reply.device);
  Reading(request, *reply.kind, reply).read();
}

}  // namespace sim
