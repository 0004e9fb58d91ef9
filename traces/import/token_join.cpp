#include "traces/import/token_join.h"

#include <fmt/format.h>

#include <algorithm>

namespace sim {
namespace {
constexpr std::size_t kMostBytes = std::size_t{1} << 30;
// Beside ids and weights, about: the part with its three vectors, an entry of the map.
constexpr std::size_t kPartBytes = 176;
constexpr std::size_t kTokenBytes = 200;
}  // namespace

std::size_t TokenKeyHash::operator()(const TokenKey& key) const {
  std::uint64_t hash = 0;
  for (const std::int64_t value : {key.step, key.source_rank, key.request, key.position}) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 32U;
  }
  return hash;
}

bool TokenJoin::add(const JsonRecord& line, const TokenKey& key, int layer,
                    const TokenChoices& choices, const Said& said, TokenChoices& complete) {
  if (layers_ == 1) {
    complete = choices;
    return true;
  }
  Token& token = open_[key];
  if (token.parts.empty()) {
    token.said = said;
    token.bytes = kTokenBytes + said.tag.size();
    bytes_ += token.bytes;
  } else if (!(token.said == said)) {
    line.fail("this token has another token_id, tag or round than in the layers before");
  }
  const auto at = std::lower_bound(token.parts.begin(), token.parts.end(), layer,
                                   [](const Part& p, int l) { return p.layer < l; });
  if (at != token.parts.end() && at->layer == layer) {
    line.fail("this layer of the token is there twice",
              "a token is known by its request and position, and by step and source_rank where "
              "they are given");
  }
  token.parts.insert(at, {layer, choices});
  const std::size_t bytes = kPartBytes + 2 * choices.ids.size() + 4 * choices.weights.size();
  token.bytes += bytes;
  bytes_ += bytes;
  if (token.parts.size() < static_cast<std::size_t>(layers_)) {
    if (bytes_ > kMostBytes) {
      line.fail(
          fmt::format("{} tokens miss a layer, and wait for it in more than 1 GiB", open_.size()),
          "the layers of a token must not stand too far apart: sort the lines by token");
    }
    return false;
  }
  complete.clear();
  for (const Part& part : token.parts) {
    complete.ids.insert(complete.ids.end(), part.choices.ids.begin(), part.choices.ids.end());
    complete.weights.insert(complete.weights.end(), part.choices.weights.begin(),
                            part.choices.weights.end());
    complete.counts.push_back(part.choices.counts[0]);
  }
  bytes_ -= token.bytes;
  open_.erase(key);
  return true;
}

}  // namespace sim
