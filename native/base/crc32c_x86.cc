// CRC32C on x86-64: three interleaved streams of the crc32 instruction (SSE4.2), and folding of 512-bit
// vectors by carry-less multiplication (AVX-512, VPCLMULQDQ). Compiled for the baseline processor: only these
// functions carry the attributes of newer ones, and only crc32c.cc calls them, after asking.
#include "native/base/crc32c_internal.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#define SPLITPLANE_SSE42 __attribute__((target("sse4.2,pclmul")))
#define SPLITPLANE_AVX512 __attribute__((target("sse4.2,pclmul,avx512f,vpclmulqdq")))

namespace splitplane::crc32c {
namespace {

inline uint64_t Load64(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// One stream: eight bytes per three cycles, which is the latency of the instruction.
SPLITPLANE_SSE42 inline uint32_t RunSerial(uint32_t state, const uint8_t* data, size_t length) {
  uint64_t wide = state;
  for (; length >= 8; data += 8, length -= 8) wide = _mm_crc32_u64(wide, Load64(data));
  state = uint32_t(wide);
  if (length & 4) {
    uint32_t word;
    std::memcpy(&word, data, sizeof(word));
    state = _mm_crc32_u32(state, word);
    data += 4;
  }
  if (length & 2) {
    uint16_t half;
    std::memcpy(&half, data, sizeof(half));
    state = _mm_crc32_u16(state, half);
    data += 2;
  }
  if (length & 1) state = _mm_crc32_u8(state, *data);
  return state;
}

// The state after `kBytes` zero bytes: state * x^(8 kBytes). The product below is state * k * x (fact 1) and
// the crc32 instruction multiplies by x^32 (fact 2), so k is 33 powers short.
template <size_t kBytes>
SPLITPLANE_SSE42 inline uint32_t Advance(uint32_t state) {
  constexpr uint32_t kFactor = PowerOfX(8 * kBytes - 33);
  const __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi32_si128(int(state)), _mm_cvtsi32_si128(int(kFactor)), 0);
  return uint32_t(_mm_crc32_u64(0, uint64_t(_mm_cvtsi128_si64(product))));
}

// As many groups of three blocks as there are. Three streams hide the latency of the instruction; a long
// block makes joining them cheap, a short one serves what is left.
template <size_t kBlock>
SPLITPLANE_SSE42 inline uint32_t RunThreeWay(uint32_t state, const uint8_t*& data, size_t& length) {
  for (; length >= 3 * kBlock; data += 3 * kBlock, length -= 3 * kBlock) {
    uint64_t first = state, second = 0, third = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      first = _mm_crc32_u64(first, Load64(data + i));
      second = _mm_crc32_u64(second, Load64(data + kBlock + i));
      third = _mm_crc32_u64(third, Load64(data + 2 * kBlock + i));
    }
    state = Advance<2 * kBlock>(uint32_t(first)) ^ Advance<kBlock>(uint32_t(second)) ^ uint32_t(third);
  }
  return state;
}

// The pair of factors that moves a 128-bit lane `kBits` onward: a lane is high * x^64 + low, where the high
// half comes first in memory and therefore lies in the low quadword. By fact 1 each factor is one power
// short. Factors are 64-bit registers, of which a remainder modulo P fills the upper 32 bits.
template <uint32_t kBits>
constexpr uint64_t kFoldHigh = uint64_t{PowerOfX(kBits + 64 - 1)} << 32;
template <uint32_t kBits>
constexpr uint64_t kFoldLow = uint64_t{PowerOfX(kBits - 1)} << 32;

template <uint32_t kBits>
SPLITPLANE_AVX512 inline __m512i FoldFactors() {
  return _mm512_set_epi64(kFoldLow<kBits>, kFoldHigh<kBits>, kFoldLow<kBits>, kFoldHigh<kBits>,  //
                          kFoldLow<kBits>, kFoldHigh<kBits>, kFoldLow<kBits>, kFoldHigh<kBits>);
}

// lanes * x^bits + next, lane by lane.
SPLITPLANE_AVX512 inline __m512i Fold(__m512i lanes, __m512i factors, __m512i next) {
  const __m512i high = _mm512_clmulepi64_epi128(lanes, factors, 0x00);
  const __m512i low = _mm512_clmulepi64_epi128(lanes, factors, 0x11);
  return _mm512_ternarylogic_epi64(high, low, next, 0x96);  // exclusive or of three
}

// The state after the 64 bytes in `lanes`: the first three lanes move onto the last, and two crc32
// instructions reduce the 128 bits that are left.
SPLITPLANE_AVX512 inline uint32_t Reduce(__m512i lanes) {
  const __m512i factors = _mm512_set_epi64(0, 0, kFoldLow<128>, kFoldHigh<128>, kFoldLow<256>, kFoldHigh<256>,
                                           kFoldLow<384>, kFoldHigh<384>);
  const __m512i last = _mm512_maskz_mov_epi64(0xc0, lanes);
  const __m512i moved = Fold(lanes, factors, last);
  alignas(64) uint64_t words[8];
  _mm512_store_si512(words, moved);
  const uint64_t head = words[0] ^ words[2] ^ words[4] ^ words[6];
  const uint64_t tail = words[1] ^ words[3] ^ words[5] ^ words[7];
  return uint32_t(_mm_crc32_u64(_mm_crc32_u64(0, head), tail));
}

SPLITPLANE_AVX512 inline __m512i Load512(const uint8_t* from) { return _mm512_loadu_si512(from); }

}  // namespace

bool HasSse42() { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"); }

bool HasAvx512() {
  return HasSse42() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
}

SPLITPLANE_SSE42 uint32_t RunSse42(uint32_t state, const uint8_t* data, size_t length) {
  state = RunThreeWay<4096>(state, data, length);
  state = RunThreeWay<256>(state, data, length);
  return RunSerial(state, data, length);
}

SPLITPLANE_AVX512 uint32_t RunAvx512(uint32_t state, const uint8_t* data, size_t length) {
  // Below this the set-up costs more than it saves.
  constexpr size_t kFoldFrom = 256;
  if (length < kFoldFrom) return RunSerial(state, data, length);

  // Four accumulators, because the multiplication takes about eight cycles and one can begin in each.
  __m512i a = _mm512_xor_si512(Load512(data), _mm512_castsi128_si512(_mm_cvtsi32_si128(int(state))));
  __m512i b = Load512(data + 64);
  __m512i c = Load512(data + 128);
  __m512i d = Load512(data + 192);
  data += 256;
  length -= 256;
  const __m512i by_four = FoldFactors<4 * 512>();
  for (; length >= 256; data += 256, length -= 256) {
    a = Fold(a, by_four, Load512(data));
    b = Fold(b, by_four, Load512(data + 64));
    c = Fold(c, by_four, Load512(data + 128));
    d = Fold(d, by_four, Load512(data + 192));
  }
  const __m512i by_one = FoldFactors<512>();
  __m512i sum = Fold(Fold(Fold(a, by_one, b), by_one, c), by_one, d);
  for (; length >= 64; data += 64, length -= 64) sum = Fold(sum, by_one, Load512(data));
  return RunSerial(Reduce(sum), data, length);
}

}  // namespace splitplane::crc32c

#endif  // __x86_64__
