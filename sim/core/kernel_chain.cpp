#include "sim/core/kernel_chain.h"

#include <algorithm>
#include <utility>

#include "sim/core/error.h"

namespace sim {

KernelChain::Builder::Builder(Duration gap, CauseId launch) : launch_(launch) { chain_.gap_ = gap; }

void KernelChain::Builder::book(CauseId cause, Duration duration) {
  if (duration == Duration(0)) return;
  for (CauseShare& share : chain_.shares_) {
    if (share.cause != cause) continue;
    share.duration += duration;
    return;
  }
  chain_.shares_.push_back({cause, duration});
}

KernelChain::Builder& KernelChain::Builder::add(Kernel kernel, Duration gap_inside,
                                                std::span<const CauseShare> shares) {
  SIM_CHECK(kernel.duration >= Duration(0), "a kernel does not take negative time");
  SIM_CHECK(!shares.empty(), "a kernel's duration is booked under a cause");
  if (chain_.kernels_.empty()) {
    chain_.first_gap_inside_ = gap_inside;
    kernel.gap = Duration(0);
  } else {
    kernel.gap = std::max(Duration(0), chain_.gap_ - gap_inside);
  }
  book(launch_, kernel.gap);
  Duration booked{0};
  for (const CauseShare& share : shares) {
    book(share.cause, share.duration);
    booked += share.duration;
  }
  book(shares.front().cause, kernel.duration - booked);
  chain_.duration_ += kernel.gap + kernel.duration;
  chain_.kernels_.push_back(kernel);
  return *this;
}

KernelChain KernelChain::Builder::build() && {
  SIM_CHECK(!chain_.kernels_.empty(), "a chain has a kernel");
  return std::move(chain_);
}

}  // namespace sim
