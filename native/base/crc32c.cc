// CRC32C: the choice of an implementation by what the processor has, and the one that every processor has,
// tables of eight bytes at a time.
#include "native/base/crc32c.h"

#include <array>

#include "native/base/bytes.h"
#include "native/base/crc32c_internal.h"

namespace splitplane {
namespace crc32c {
namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][b]: what byte b contributes to the state when k more bytes follow it.
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ ((value & 1) ? kPolynomial : 0);
    tables[0][byte] = value;
  }
  for (size_t k = 1; k < tables.size(); k++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

uint32_t RunTable(uint32_t state, const uint8_t* data, size_t length) {
  for (; length >= 8; data += 8, length -= 8) {
    const uint64_t word = LoadLittle<uint64_t>(data) ^ state;
    state = 0;
    for (size_t i = 0; i < 8; i++) state ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; length > 0; data++, length--) state = (state >> 8) ^ kTables[0][(state ^ *data) & 0xff];
  return state;
}

std::span<const Implementation> Available() {
  static constexpr Implementation kAll[] = {
#if defined(__x86_64__)
    {"avx512-vpclmulqdq", RunAvx512},
    {"sse4.2", RunSse42},
#elif defined(__aarch64__)
    {"armv8", RunArmv8},
#endif
    {"table", RunTable},
  };
  // Each needs what the ones after it need and more, so what is available is always a tail of the list.
  size_t skipped = 0;
#if defined(__x86_64__)
  if (!HasAvx512()) skipped++;
  if (!HasSse42()) skipped++;
#elif defined(__aarch64__)
  if (!HasArmv8()) skipped++;
#endif
  return std::span<const Implementation>(kAll).subspan(skipped);
}

}  // namespace crc32c

namespace {

const crc32c::Implementation& Chosen() {
  static const crc32c::Implementation chosen = crc32c::Available().front();
  return chosen;
}

}  // namespace

uint32_t Crc32c(uint32_t crc, const void* data, size_t length) {
  return ~Chosen().run(~crc, static_cast<const uint8_t*>(data), length);
}

const char* Crc32cImplementation() { return Chosen().name; }

}  // namespace splitplane
