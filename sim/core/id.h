// A strong integer id: an index into one kind of vector, never mixed with another kind.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace sim {

template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::int64_t value) : value_(static_cast<std::int32_t>(value)) {}
  constexpr std::int32_t value() const { return value_; }
  constexpr std::size_t index() const { return static_cast<std::size_t>(value_); }
  constexpr bool valid() const { return value_ >= 0; }
  constexpr auto operator<=>(const Id&) const = default;

 private:
  std::int32_t value_ = -1;
};

using DeviceId = Id<struct DeviceTag>;      // a GPU of the cluster; rank i is device i
using NodeId = Id<struct NodeTag>;          // a host with its devices
using LinkId = Id<struct LinkTag>;          // one direction of one cable, port or bus
using ResourceId = Id<struct ResourceTag>;  // a fluid resource of the network
using ExpertId = Id<struct ExpertTag>;      // a logical expert of a layer

}  // namespace sim

template <class Tag>
struct std::hash<sim::Id<Tag>> {
  std::size_t operator()(sim::Id<Tag> id) const noexcept {
    return std::hash<std::int32_t>{}(id.value());
  }
};
