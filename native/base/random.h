// Random bytes from the kernel (getrandom), fetched in blocks so that a tag does not cost a system call. Not
// shared between threads: each engine owns one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace splitplane {

class RandomSource {
 public:
  // Fills `length` bytes at `out`, at most 256. Bytes are handed out once and wiped from the block.
  void Fill(uint8_t* out, size_t length);

 private:
  std::array<uint8_t, 4096> block_;
  size_t used_ = sizeof(block_);
};

}  // namespace splitplane
