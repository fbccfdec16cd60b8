// Explicit little-endian loads and stores at any alignment, and the span of bytes that everything passes
// around. The wire's byte order is little-endian (docs/WIRE_PROTOCOL.md); hosts that are not are served by
// these functions alone.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace splitplane {

using Bytes = std::span<uint8_t>;
using ConstBytes = std::span<const uint8_t>;

template <typename T>
inline T LoadLittle(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  if constexpr (std::endian::native == std::endian::big) {
    T swapped = 0;
    for (size_t i = 0; i < sizeof(T); i++)
      swapped |= T((value >> (8 * i)) & 0xff) << (8 * (sizeof(T) - 1 - i));
    return swapped;
  }
  return value;
}

template <typename T>
inline void StoreLittle(uint8_t* to, T value) {
  if constexpr (std::endian::native == std::endian::big) {
    T swapped = 0;
    for (size_t i = 0; i < sizeof(T); i++)
      swapped |= T((value >> (8 * i)) & 0xff) << (8 * (sizeof(T) - 1 - i));
    value = swapped;
  }
  std::memcpy(to, &value, sizeof(T));
}

}  // namespace splitplane
