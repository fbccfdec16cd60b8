// RandomSource: what tags rest on. Randomness itself is the kernel's; here it must arrive, once.
#include "native/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

namespace splitplane {
namespace {

// Goal: no byte is handed out twice, across many blocks and with requests that do not divide a block. Method:
// 100,000 values of 24 bytes, all different.
TEST(RandomSourceTest, NeverRepeats) {
  RandomSource random;
  std::set<std::array<uint8_t, 24>> seen;
  for (int i = 0; i < 100'000; i++) {
    std::array<uint8_t, 24> value{};
    random.Fill(value.data(), value.size());
    ASSERT_TRUE(seen.insert(value).second);
  }
}

// Goal: exactly the bytes that were asked for are written, all of them. Method: every length between two
// guards; over many rounds each byte differs from zero at least once.
TEST(RandomSourceTest, FillsExactlyWhatWasAskedFor) {
  RandomSource random;
  for (size_t length = 0; length <= 256; length++) {
    std::vector<uint8_t> touched(length);
    for (int round = 0; round < 16; round++) {
      std::vector<uint8_t> bytes(length + 2, 0);
      random.Fill(bytes.data() + 1, length);
      ASSERT_EQ(bytes.front(), 0);
      ASSERT_EQ(bytes.back(), 0);
      for (size_t i = 0; i < length; i++) touched[i] |= bytes[i + 1];
    }
    for (size_t i = 0; i < length; i++) ASSERT_NE(touched[i], 0) << i << " of " << length;
  }
}

// Goal: bytes that were handed out are no longer in the source, for whoever reads its memory later. Method:
// look for the value in the object.
TEST(RandomSourceTest, WipesWhatItHandedOut) {
  RandomSource random;
  std::array<uint8_t, 16> secret{};
  random.Fill(secret.data(), secret.size());
  const auto* memory = reinterpret_cast<const uint8_t*>(&random);
  EXPECT_EQ(std::search(memory, memory + sizeof(random), secret.begin(), secret.end()),
            memory + sizeof(random));
}

}  // namespace
}  // namespace splitplane
