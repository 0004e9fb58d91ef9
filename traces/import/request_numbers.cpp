#include "traces/import/request_numbers.h"

#include <limits>

namespace sim {
namespace {
constexpr std::size_t kMostBytes = std::size_t{1} << 30;
constexpr std::size_t kEntryBytes = 96;  // of an entry beside its text, about
}  // namespace

void RequestNumbers::note(const JsonRecord& line) {
  const nlohmann::json& value = line.at(JsonField::kRequest);
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kMost) {
    line.text(JsonField::kRequest);  // complains about what is no name
    mapped_ = true;
  }
}

std::int64_t RequestNumbers::number(const JsonRecord& line) {
  if (!mapped_) return line.at(JsonField::kRequest).get<std::int64_t>();
  const std::string name = line.text(JsonField::kRequest);
  const auto [found, added] =
      numbers_.try_emplace(name, static_cast<std::int64_t>(numbers_.size()));
  if (added && (bytes_ += name.size() + kEntryBytes) > kMostBytes) {
    line.fail("the names of the requests need more than 1 GiB", "give requests numbers");
  }
  return found->second;
}

}  // namespace sim
