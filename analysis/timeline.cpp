#include "analysis/timeline.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <ostream>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::int64_t kPsPerUs = 1'000'000;

// A well-formed UTF-8 character at `at`: its length, or 0.
std::size_t character_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned>(static_cast<unsigned char>(text[i])) : 0U;
  };
  const unsigned first = byte(at);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xC2 ? 0
                             : first < 0xE0 ? 2
                             : first < 0xF0 ? 3
                             : first < 0xF5 ? 4
                                            : 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) return 0;
  }
  // Too long a form, half of a surrogate pair, beyond the last character.
  if (first == 0xE0 && byte(at + 1) < 0xA0) return 0;
  if (first == 0xED && byte(at + 1) > 0x9F) return 0;
  if (first == 0xF0 && byte(at + 1) < 0x90) return 0;
  if (first == 0xF4 && byte(at + 1) > 0x8F) return 0;
  return length;
}

}  // namespace

TimelineWriter::TimelineWriter(std::ostream& out, std::int64_t limit) : out_(out), limit_(limit) {
  SIM_CHECK(limit >= 0, "a limit is a count");
  out_ << "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
}

// What belongs together is written together or not at all.
bool TimelineWriter::has_room(std::int64_t events) {
  if (events_ + events > limit_) {
    left_out_ += events;
    return false;
  }
  events_ += events;
  return true;
}

void TimelineWriter::begin(char phase, int process) {
  line_ = any_ ? ",\n" : "\n";
  any_ = true;
  fmt::format_to(std::back_inserter(line_), "{{\"ph\":\"{}\",\"pid\":{}", phase, process);
}

void TimelineWriter::put_track(int track) {
  fmt::format_to(std::back_inserter(line_), ",\"tid\":{}", track);
}

void TimelineWriter::put_time(std::string_view key, std::int64_t ps) {
  fmt::format_to(std::back_inserter(line_), ",\"{}\":{}", key, ps / kPsPerUs);
  if (ps % kPsPerUs == 0) return;
  fmt::format_to(std::back_inserter(line_), ".{:06}", ps % kPsPerUs);
  line_.erase(line_.find_last_not_of('0') + 1);
}

// Quoted; what is not UTF-8 becomes U+FFFD.
void TimelineWriter::put_text(std::string_view text) {
  line_ += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = character_length(text, at);
    const char c = text[at];
    if (length == 0) {
      line_ += "\\ufffd";
      ++at;
      continue;
    }
    if (c == '"' || c == '\\') {
      line_ += '\\';
      line_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20U) {
      fmt::format_to(std::back_inserter(line_), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      line_ += text.substr(at, length);
    }
    at += length;
  }
  line_ += '"';
}

void TimelineWriter::put_arguments(std::span<const TimelineArgument> arguments) {
  if (arguments.empty()) return;
  line_ += ",\"args\":{";
  bool first = true;
  for (const TimelineArgument& argument : arguments) {
    if (!first) line_ += ',';
    first = false;
    put_text(argument.name);
    line_ += ':';
    if (const auto* whole = std::get_if<std::int64_t>(&argument.value)) {
      line_ += std::to_string(*whole);
    } else if (const auto* number = std::get_if<double>(&argument.value)) {
      SIM_CHECK(std::isfinite(*number), "JSON has no infinity");
      fmt::format_to(std::back_inserter(line_), "{:.6g}", *number);
    } else {
      put_text(std::get<std::string_view>(argument.value));
    }
  }
  line_ += '}';
}

void TimelineWriter::end() {
  line_ += '}';
  out_ << line_;
}

void TimelineWriter::name_process(int process, std::string_view name) {
  begin('M', process);
  line_ += ",\"name\":\"process_name\"";
  const TimelineArgument named[] = {{"name", name}};
  put_arguments(named);
  end();
  begin('M', process);
  line_ += ",\"name\":\"process_sort_index\"";
  const TimelineArgument sorted[] = {{"sort_index", std::int64_t{process}}};
  put_arguments(sorted);
  end();
}

void TimelineWriter::name_track(int process, int track, std::string_view name) {
  begin('M', process);
  put_track(track);
  line_ += ",\"name\":\"thread_name\"";
  const TimelineArgument named[] = {{"name", name}};
  put_arguments(named);
  end();
}

bool TimelineWriter::slice(int process, int track, std::string_view name, std::string_view category,
                           Time start, Duration duration,
                           std::span<const TimelineArgument> arguments) {
  if (!has_room(1)) return false;
  begin('X', process);
  put_track(track);
  put_time("ts", to_ps(start));
  put_time("dur", duration.count());
  line_ += ",\"name\":";
  put_text(name);
  line_ += ",\"cat\":";
  put_text(category);
  put_arguments(arguments);
  end();
  return true;
}

void TimelineWriter::arrow(const TimelinePoint& from, const TimelinePoint& to,
                           std::string_view name) {
  if (!has_room(2)) return;
  const std::int64_t id = ++arrows_;
  for (const bool first : {true, false}) {
    const TimelinePoint& point = first ? from : to;
    begin(first ? 's' : 'f', point.process);
    put_track(point.track);
    put_time("ts", to_ps(point.time));
    fmt::format_to(std::back_inserter(line_), ",\"id\":{},\"name\":", id);
    put_text(name);
    line_ += ",\"cat\":\"transfer\"";
    if (!first) line_ += ",\"bp\":\"e\"";  // binds to the slice around it
    end();
  }
}

void TimelineWriter::counter(int process, std::string_view name, std::string_view unit, Time time,
                             double value) {
  if (!has_room(1)) return;
  begin('C', process);
  put_time("ts", to_ps(time));
  line_ += ",\"name\":";
  put_text(name);
  const TimelineArgument values[] = {{unit, value}};
  put_arguments(values);
  end();
}

void TimelineWriter::finish(std::span<const TimelineArgument> notes) {
  line_ = "\n],\"otherData\":{\"events\":" + std::to_string(events_);
  if (left_out_ > 0) line_ += ",\"left out by the limit\":" + std::to_string(left_out_);
  for (const TimelineArgument& note : notes) {
    line_ += ',';
    put_text(note.name);
    line_ += ':';
    if (const auto* whole = std::get_if<std::int64_t>(&note.value)) {
      line_ += std::to_string(*whole);
    } else if (const auto* text = std::get_if<std::string_view>(&note.value)) {
      put_text(*text);
    }
  }
  line_ += "}}\n";
  out_ << line_;
}

}  // namespace sim
