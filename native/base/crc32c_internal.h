// The implementations behind Crc32c and the arithmetic their constants come from; for crc32c*.cc and their
// tests only.
//
// A CRC is a remainder of polynomials over GF(2). CRC32C is reflected: in a register of n bits, bit i stands
// for x^(n-1-i), so the first bit of a message is the highest power. Three facts are all the folding below
// rests on:
//   1. A carry-less product of two reflected registers of n bits, read as one register of 2n bits, is a * b *
//   x.
//   2. The crc32 instruction on 64 bits m with state s gives ((s * x^32) + m) * x^32 mod P with s over the
//   high half.
//   3. Anything may be replaced by something congruent modulo P, so a * x^d may be written a * (x^d mod P).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace splitplane::crc32c {

inline constexpr uint32_t kPolynomial = 0x82f63b78;  // x^32 is implied

// x^exponent mod P as a reflected register of 32 bits.
constexpr uint32_t PowerOfX(uint32_t exponent) {
  uint32_t value = uint32_t{1} << 31;  // x^0
  for (uint32_t i = 0; i < exponent; i++) value = (value >> 1) ^ ((value & 1) ? kPolynomial : 0);
  return value;
}

// Works on the raw state: neither the initial nor the final inversion.
using Function = uint32_t (*)(uint32_t state, const uint8_t* data, size_t length);

struct Implementation {
  const char* name;
  Function run;
};

uint32_t RunTable(uint32_t state, const uint8_t* data, size_t length);

// What this processor can run, fastest first; the table is always the last.
std::span<const Implementation> Available();

#if defined(__x86_64__)
bool HasSse42();
bool HasAvx512();
uint32_t RunSse42(uint32_t state, const uint8_t* data, size_t length);
uint32_t RunAvx512(uint32_t state, const uint8_t* data, size_t length);
#elif defined(__aarch64__)
bool HasArmv8();
uint32_t RunArmv8(uint32_t state, const uint8_t* data, size_t length);
#endif

}  // namespace splitplane::crc32c
