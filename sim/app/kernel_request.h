// One kernel question as it is typed: `simulate cost --device NAME --kernel NAME --set key=value`.
#pragma once

#include <string>
#include <vector>

#include "sim/app/kernel_question.h"

namespace sim {

struct KernelRequest {
  std::string device;
  std::string kernel;
  std::vector<std::string> set;  // "hidden=7168", "rows=4 4 0 7", "dtype=fp8_block", "sms=100"
};

struct KernelReply {
  Device device;  // at the clock that was asked for
  const KernelKind* kind = nullptr;
  KernelSubject subject;
  int sms = 0;
  KernelAnswer answer;
};

// Throws Error with every mistake, each at what was typed. The reply holds pointers into itself:
// it lives where it is made.
void answer_request(const KernelRequest& request, const Catalog& catalog, KernelReply& reply);

// What both the command line and a batch say of a size: a whole number within bounds that keep
// every product of sizes below 2^62.
inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;
inline constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
std::int64_t largest_size(std::string_view key);

// "4 4 0 7". Throws Error (without a place): not whole numbers, or more than 65536 of them.
void parse_rows(std::string_view text, std::vector<std::int64_t>& rows);

std::string reply_text(const KernelReply& reply);
std::string reply_json(const KernelReply& reply);

}  // namespace sim
