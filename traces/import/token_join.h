// Joins the layers of a token that a file holds one by one.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "traces/import/json_choices.h"

namespace sim {

// Which token a line speaks of: what the file has of these, the rest 0.
struct TokenKey {
  std::int64_t step = 0;
  std::int64_t source_rank = 0;
  std::int64_t request = 0;
  std::int64_t position = 0;
  bool operator==(const TokenKey&) const = default;
};

struct TokenKeyHash {
  std::size_t operator()(const TokenKey& key) const;
};

class TokenJoin {
 public:
  explicit TokenJoin(int layers) : layers_(layers) {}

  // One layer of a token (TokenChoices of that layer alone), and what the line says of the token.
  // When it was the last layer that the token missed, its choices over all layers are in
  // `complete`. Throws Error: a layer twice, a token that says another thing than before, or more
  // than 1 GiB of tokens that miss layers.
  struct Said {
    std::int64_t token_id = 0;
    std::int64_t round = 0;
    std::string tag;
    bool operator==(const Said&) const = default;
  };
  bool add(const JsonRecord& line, const TokenKey& key, int layer, const TokenChoices& choices,
           const Said& said, TokenChoices& complete);

  std::size_t open() const { return open_.size(); }  // tokens that miss a layer

 private:
  struct Part {
    int layer = 0;
    TokenChoices choices;
  };
  struct Token {
    std::vector<Part> parts;
    Said said;
    std::size_t bytes = 0;
  };
  int layers_;
  std::size_t bytes_ = 0;
  std::unordered_map<TokenKey, Token, TokenKeyHash> open_;  // looked up only, never iterated
};

}  // namespace sim
