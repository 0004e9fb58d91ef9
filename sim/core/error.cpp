#include "sim/core/error.h"

#include <utility>

namespace sim {
namespace {

std::string join(const std::vector<Mistake>& mistakes) {
  std::string text;
  for (const Mistake& m : mistakes) {
    if (!text.empty()) text += '\n';
    text += to_text(m);
  }
  return text;
}

}  // namespace

std::string to_text(const Mistake& mistake) {
  std::string text;
  if (!mistake.place.file.empty()) {
    text += mistake.place.file;
    if (mistake.place.line > 0) {
      text += ":" + std::to_string(mistake.place.line);
      if (mistake.place.column > 0) text += ":" + std::to_string(mistake.place.column);
    }
    text += ": ";
  }
  text += mistake.message;
  if (!mistake.hint.empty()) text += "; " + mistake.hint;
  return text;
}

Error::Error(std::string message, std::string hint)
    : Error(Place{}, std::move(message), std::move(hint)) {}

Error::Error(Place place, std::string message, std::string hint)
    : Error(std::vector<Mistake>{{std::move(place), std::move(message), std::move(hint)}}) {}

Error::Error(std::vector<Mistake> mistakes)
    : std::runtime_error(join(mistakes)), mistakes_(std::move(mistakes)) {}

void fail_check(const char* file, int line, const char* condition, const std::string& why) {
  std::string name = file;
  const std::size_t slash = name.rfind('/');
  if (slash != std::string::npos) name = name.substr(slash + 1);
  throw InternalError(name + ":" + std::to_string(line) + ": check failed: " + condition + " (" +
                      why + ")");
}

}  // namespace sim
