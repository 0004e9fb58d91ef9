#include "traces/import/request_numbers.h"

#include <limits>

namespace sim {
namespace {
constexpr std::size_t kMostBytes = std::size_t{1} << 30;
constexpr std::size_t kEntryBytes = 96;  // of an entry beside its text, about
}  // namespace

void RequestNumbers::note(const JsonRecord& line) {
  const auto value = line.at(JsonField::kRequest).integer();
  if (!value || *value < 0) {
    line.text(JsonField::kRequest);  // complains about what is no name
    mapped_ = true;
  }
}

std::int64_t RequestNumbers::number(const JsonRecord& line) {
  if (!mapped_) return line.count(JsonField::kRequest, std::numeric_limits<std::int64_t>::max());
  const std::string name = line.text(JsonField::kRequest);
  const auto [found, added] =
      numbers_.try_emplace(name, static_cast<std::int64_t>(numbers_.size()));
  if (added && (bytes_ += name.size() + kEntryBytes) > kMostBytes) {
    line.fail("the names of the requests need more than 1 GiB", "give requests numbers");
  }
  return found->second;
}

}  // namespace sim
