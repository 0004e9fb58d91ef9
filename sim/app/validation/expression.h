// The little language in which a reproduction says how its number comes out of its runs:
//
//   runs.pp8.tokens_per_s / runs.pp2.tokens_per_s
//   1 - (run.step_time_s + 2) * 1e-3
//
// Numbers, dotted names, + - * / and parentheses; * and / bind tighter, equals from left to right.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/core/error.h"

namespace sim {

class Expression {
 public:
  // Throws Error at `place`, naming the character, when the text is none.
  static Expression parse(const std::string& text, const Place& place);

  // The distinct names, in the order of their first use.
  const std::vector<std::string>& names() const { return names_; }
  // `value_of` answers each name; it may throw. The result may be infinite or not a number.
  double value(const std::function<double(const std::string&)>& value_of) const;

 private:
  friend class ExpressionParser;
  struct Step {          // of a stack machine
    char operation = 0;  // '#' push number, 'n' push name, '~' negate, or one of + - * /
    double number = 0;
    std::size_t name = 0;
  };
  std::vector<Step> steps_;
  std::vector<std::string> names_;
};

}  // namespace sim
