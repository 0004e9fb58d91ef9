#include "sim/app/validation/expression.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace sim {
namespace {

constexpr std::size_t kLongest = 2000;  // characters; bounds the depth of parentheses too
constexpr int kDeepest = 100;

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

}  // namespace

// Recursive descent over: sum = product {(+|-) product}; product = unary {(*|/) unary};
// unary = [-] (number | name | ( sum )).
class ExpressionParser {
 public:
  ExpressionParser(const std::string& text, const Place& place) : text_(text), place_(place) {}

  Expression parse() {
    if (text_.size() > kLongest)
      throw Error(place_,
                  "this expression is longer than " + std::to_string(kLongest) + " characters");
    sum();
    if (next() != '\0') fail("an operator is missing here");
    return std::move(result_);
  }

 private:
  // The next character that is not a blank, not taken; 0 at the end.
  char next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(place_, "'" + text_ + "', character " + std::to_string(at_ + 1) + ": " + what,
                "numbers, names like runs.NAME.METRIC, + - * / and parentheses");
  }
  void add(char operation) { result_.steps_.push_back({operation, 0, 0}); }

  void sum() {
    if (++depth_ > kDeepest) fail("parentheses are nested too deep");
    product();
    for (char c = next(); c == '+' || c == '-'; c = next()) {
      ++at_;
      product();
      add(c);
    }
    --depth_;
  }
  void product() {
    unary();
    for (char c = next(); c == '*' || c == '/'; c = next()) {
      ++at_;
      unary();
      add(c);
    }
  }
  void unary() {
    const char c = next();
    if (c == '-') {
      ++at_;
      if (++depth_ > kDeepest) fail("too many signs");
      unary();
      --depth_;
      add('~');
    } else if (c == '(') {
      ++at_;
      sum();
      if (next() != ')') fail("a ')' is missing");
      ++at_;
    } else if (is_digit(c) || c == '.') {
      number();
    } else if (is_letter(c)) {
      name();
    } else {
      fail(c == '\0' ? "it ends where a number or a name should follow"
                     : "a number, a name or '(' should stand here");
    }
  }
  void number() {
    double value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, code] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (code != std::errc{}) fail("this is not a number");
    at_ += static_cast<std::size_t>(end - begin);
    if (at_ < text_.size() && is_letter(text_[at_])) fail("an operator is missing here");
    result_.steps_.push_back({'#', value, 0});
  }
  void name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() &&
           (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '.'))
      ++at_;
    const std::string name = text_.substr(begin, at_ - begin);
    if (name.back() == '.' || name.find("..") != std::string::npos)
      fail("a part of the name '" + name + "' is empty");
    std::vector<std::string>& names = result_.names_;
    const auto found = std::find(names.begin(), names.end(), name);
    result_.steps_.push_back({'n', 0, static_cast<std::size_t>(found - names.begin())});
    if (found == names.end()) names.push_back(name);
  }

  const std::string& text_;
  const Place& place_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Expression result_;
};

Expression Expression::parse(const std::string& text, const Place& place) {
  return ExpressionParser(text, place).parse();
}

double Expression::value(const std::function<double(const std::string&)>& value_of) const {
  std::vector<double> stack;
  for (const Step& step : steps_) {
    if (step.operation == '#') {
      stack.push_back(step.number);
    } else if (step.operation == 'n') {
      stack.push_back(value_of(names_[step.name]));
    } else if (step.operation == '~') {
      stack.back() = -stack.back();
    } else {
      const double right = stack.back();
      stack.pop_back();
      double& left = stack.back();
      switch (step.operation) {
        case '+':
          left += right;
          break;
        case '-':
          left -= right;
          break;
        case '*':
          left *= right;
          break;
        default:
          left /= right;
      }
    }
  }
  SIM_CHECK(stack.size() == 1, "a parsed expression leaves one value");
  return stack.back();
}

}  // namespace sim
