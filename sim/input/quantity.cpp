#include "sim/input/quantity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include "sim/core/error.h"

namespace sim {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kKi = 1024.0;
constexpr Unit kTimes[] = {{"ps", 1e-12}, {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3},
                           {"s", 1},      {"min", 60},  {"h", 3600}};
constexpr Unit kSizes[] = {{"B", 1},
                           {"KB", 1e3},
                           {"kB", 1e3},
                           {"MB", 1e6},
                           {"GB", 1e9},
                           {"TB", 1e12},
                           {"PB", 1e15},
                           {"KiB", kKi},
                           {"MiB", kKi* kKi},
                           {"GiB", kKi* kKi* kKi},
                           {"TiB", kKi* kKi* kKi* kKi}};
constexpr Unit kBandwidths[] = {{"B/s", 1},
                                {"KB/s", 1e3},
                                {"MB/s", 1e6},
                                {"GB/s", 1e9},
                                {"TB/s", 1e12},
                                {"MiB/s", kKi* kKi},
                                {"GiB/s", kKi* kKi* kKi},
                                {"Mb/s", 1e6 / 8},
                                {"Gb/s", 1e9 / 8},
                                {"Tb/s", 1e12 / 8}};
constexpr Unit kFlopRates[] = {{"GFLOP/s", 1e9}, {"TFLOP/s", 1e12}, {"PFLOP/s", 1e15},
                               {"GFLOPS", 1e9},  {"TFLOPS", 1e12},  {"PFLOPS", 1e15}};

constexpr Unit kFrequencies[] = {{"Hz", 1}, {"kHz", 1e3}, {"MHz", 1e6}, {"GHz", 1e9}};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The value in base units, or nullopt with `mistake` set.
std::optional<double> parse(std::string_view text, std::span<const Unit> units,
                            std::string_view what, std::string_view example, std::string& mistake) {
  text = trim(text);
  const std::size_t split = text.find_first_not_of("0123456789.+-_eE");
  // "2e3 B": the exponent belongs to the number, but a unit may itself begin with E; no unit here
  // does.
  const std::string_view number_text = trim(text.substr(0, std::min(split, text.size())));
  const std::string_view unit_text =
      split == std::string_view::npos ? "" : trim(text.substr(split));
  const std::optional<double> number = parse_number(number_text);
  if (!number) {
    mistake = "'" + std::string(text) + "' is not a " + std::string(what) + "; write it like " +
              std::string(example);
    return std::nullopt;
  }
  if (unit_text.empty()) {
    mistake = "'" + std::string(text) + "' has no unit; add a unit, like " + std::string(example);
    return std::nullopt;
  }
  for (const Unit& unit : units) {
    if (unit.name == unit_text) return *number * unit.factor;
  }
  mistake = "'" + std::string(unit_text) + "' is not a unit of a " + std::string(what) +
            "; the units are";
  for (std::size_t i = 0; i < units.size(); ++i) {
    mistake += (i == 0 ? " " : ", ") + std::string(units[i].name);
  }
  return std::nullopt;
}

bool check_finite_not_negative(double value, std::string_view text, std::string& mistake) {
  if (std::isfinite(value) && value >= 0) return true;
  mistake = "'" + std::string(text) + "' must be finite and not negative";
  return false;
}

}  // namespace

std::optional<double> parse_number(std::string_view text) {
  std::string digits(trim(text));
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  if (!digits.empty() && digits.front() == '+') digits.erase(0, 1);
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, code] = std::from_chars(digits.data(), end, value);
  if (code != std::errc{} || rest != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_count(std::string_view text) {
  const std::optional<double> value = parse_number(text);
  if (!value || *value != std::floor(*value) || std::fabs(*value) > 9e15) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::optional<Duration> parse_duration(std::string_view text, std::string& mistake) {
  const auto value = parse(text, kTimes, "duration", "'2 us' or '10 ms'", mistake);
  if (!value || !check_finite_not_negative(*value, text, mistake)) return std::nullopt;
  if (*value > 100.0 * 24 * 3600) {
    mistake = "'" + std::string(text) + "' is longer than 100 days, which the clock cannot hold";
    return std::nullopt;
  }
  return duration_from_seconds(std::round(*value * 1e12) * 1e-12);
}

std::optional<Bytes> parse_bytes(std::string_view text, std::string& mistake) {
  const auto value = parse(text, kSizes, "size in bytes", "'80 GiB' or '16 MB'", mistake);
  if (!value || !check_finite_not_negative(*value, text, mistake)) return std::nullopt;
  if (*value > 9e18) {
    mistake = "'" + std::string(text) + "' is more bytes than 64 bits hold";
    return std::nullopt;
  }
  return Bytes(static_cast<std::int64_t>(std::llround(*value)));
}

std::optional<Bandwidth> parse_bandwidth(std::string_view text, std::string& mistake) {
  const auto value = parse(text, kBandwidths, "bandwidth", "'400 Gb/s' or '50 GB/s'", mistake);
  if (!value || !check_finite_not_negative(*value, text, mistake)) return std::nullopt;
  return Bandwidth(*value);
}

std::optional<FlopRate> parse_flop_rate(std::string_view text, std::string& mistake) {
  const auto value = parse(text, kFlopRates, "compute rate", "'989 TFLOP/s'", mistake);
  if (!value || !check_finite_not_negative(*value, text, mistake)) return std::nullopt;
  return FlopRate(*value);
}

std::optional<double> parse_frequency(std::string_view text, std::string& mistake) {
  const auto value = parse(text, kFrequencies, "frequency", "'1.83 GHz' or '1410 MHz'", mistake);
  if (!value || !check_finite_not_negative(*value, text, mistake)) return std::nullopt;
  return value;
}

}  // namespace sim
