// CRC32C: every implementation that this processor can run gives what the definition gives.
#include "native/base/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "native/base/crc32c_internal.h"

namespace splitplane {
namespace {

std::vector<uint8_t> RandomBytes(size_t length) {
  std::mt19937_64 generator(4711);
  std::vector<uint8_t> bytes(length);
  for (uint8_t& byte : bytes) byte = uint8_t(generator());
  return bytes;
}

// Bit by bit, as the polynomial division is written down.
uint32_t Definition(uint32_t crc, const uint8_t* data, size_t length) {
  crc = ~crc;
  for (size_t i = 0; i < length; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? crc32c::kPolynomial : 0);
  }
  return ~crc;
}

// Goal: the table, which the other tests compare with, is right. Method: the definition, at lengths around
// its step.
TEST(Crc32cTest, TableFollowsTheDefinition) {
  const std::vector<uint8_t> bytes = RandomBytes(300);
  for (size_t length = 0; length <= bytes.size(); length++) {
    const uint32_t crc = uint32_t(length * 0x9e3779b9u);
    EXPECT_EQ(~crc32c::RunTable(~crc, bytes.data(), length), Definition(crc, bytes.data(), length)) << length;
  }
}

// Goal: powers of x that the folding rests on. Method: x^n mod P by hand where no reduction happens, and once
// where one does.
TEST(Crc32cTest, PowersOfX) {
  EXPECT_EQ(crc32c::PowerOfX(0), 0x80000000u);
  EXPECT_EQ(crc32c::PowerOfX(31), 1u);
  EXPECT_EQ(crc32c::PowerOfX(32), crc32c::kPolynomial);
}

class Crc32cImplementationTest : public testing::TestWithParam<crc32c::Implementation> {
 protected:
  static uint32_t Run(uint32_t crc, const uint8_t* data, size_t length) {
    return ~GetParam().run(~crc, data, length);
  }
  static uint32_t Expected(uint32_t crc, const uint8_t* data, size_t length) {
    return ~crc32c::RunTable(~crc, data, length);
  }
};

// Goal: the published vectors. Method: RFC 3720 appendix B.4, and the check value of the CRC catalogues.
TEST_P(Crc32cImplementationTest, PublishedVectors) {
  std::vector<uint8_t> bytes(32, 0);
  EXPECT_EQ(Run(0, bytes.data(), 32), 0x8a9136aau);
  std::fill(bytes.begin(), bytes.end(), 0xff);
  EXPECT_EQ(Run(0, bytes.data(), 32), 0x62a8ab43u);
  for (size_t i = 0; i < 32; i++) bytes[i] = uint8_t(i);
  EXPECT_EQ(Run(0, bytes.data(), 32), 0x46dd794eu);
  for (size_t i = 0; i < 32; i++) bytes[i] = uint8_t(31 - i);
  EXPECT_EQ(Run(0, bytes.data(), 32), 0x113fdb5cu);
  const uint8_t iscsi_read[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,  //
                                  0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                  0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
  EXPECT_EQ(Run(0, iscsi_read, sizeof(iscsi_read)), 0xd9963a56u);
  EXPECT_EQ(Run(0, reinterpret_cast<const uint8_t*>("123456789"), 9), 0xe3069283u);
}

// Goal: no length and no alignment is special. Method: all lengths to 2000 at all alignments of a vector of
// 64 bytes.
TEST_P(Crc32cImplementationTest, EveryLengthAtEveryAlignment) {
  alignas(64) static uint8_t bytes[2064];
  const std::vector<uint8_t> random = RandomBytes(sizeof(bytes));
  std::memcpy(bytes, random.data(), sizeof(bytes));
  for (size_t at = 0; at < 64; at++) {
    for (size_t length = 0; length <= 2000; length++) {
      const uint32_t crc = uint32_t(length * 0x9e3779b9u);
      ASSERT_EQ(Run(crc, bytes + at, length), Expected(crc, bytes + at, length)) << at << ", " << length;
    }
  }
}

// Goal: not one byte beyond the range is read or counted. Method: the range lies at the end of an exact
// allocation (AddressSanitizer sees a read past it), and what lies before it changes.
TEST_P(Crc32cImplementationTest, StaysWithinTheRange) {
  for (size_t length : {1u, 7u, 63u, 255u, 256u, 257u, 511u, 575u, 1024u, 20'000u}) {
    std::vector<uint8_t> bytes = RandomBytes(length + 1);
    const uint32_t before = Run(0, bytes.data() + 1, length);
    bytes[0] ^= 0xff;
    EXPECT_EQ(Run(0, bytes.data() + 1, length), before) << length;
  }
}

// Goal: a CRC continued over pieces is the CRC of the whole. Method: random splits of a megabyte, pieces of
// all sizes.
TEST_P(Crc32cImplementationTest, RandomSplits) {
  const std::vector<uint8_t> bytes = RandomBytes(1 << 20);
  const uint32_t whole = Expected(0, bytes.data(), bytes.size());
  std::mt19937 generator(42);
  for (int round = 0; round < 50; round++) {
    uint32_t crc = 0;
    for (size_t at = 0; at < bytes.size();) {
      const size_t length = std::min<size_t>(bytes.size() - at, generator() % (1u << (generator() % 18)));
      crc = Run(crc, bytes.data() + at, length);
      at += length;
    }
    ASSERT_EQ(crc, whole);
  }
}

INSTANTIATE_TEST_SUITE_P(Available, Crc32cImplementationTest, testing::ValuesIn(crc32c::Available()),
                         [](const auto& param) {
                           std::string name = param.param.name;
                           for (char& letter : name) letter = std::isalnum(uint8_t(letter)) ? letter : '_';
                           return name;
                         });

// Goal: the public function is the fastest implementation that is available, with the inversions around it.
TEST(Crc32cTest, PicksTheFastest) {
  EXPECT_STREQ(Crc32cImplementation(), crc32c::Available().front().name);
  EXPECT_STREQ(crc32c::Available().back().name, "table");
  EXPECT_EQ(Crc32c(0, "123456789", 9), 0xe3069283u);
  EXPECT_EQ(Crc32c(Crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
  EXPECT_EQ(Crc32c(7, nullptr, 0), 7u);
}

}  // namespace
}  // namespace splitplane
