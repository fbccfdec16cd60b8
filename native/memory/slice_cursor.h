// Walking a list of slices as the one range of bytes that it stands for. Knows nothing of what is done with
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/memory/region.h"

namespace splitplane {

// A position in a list of slices. None of them is empty.
class SliceCursor {
 public:
  struct Piece {
    const Slice* slice = nullptr;
    uint64_t offset = 0;  // in the slice
    uint64_t length = 0;

    bool is_file() const { return slice->buffer->data() == nullptr; }
    // No device can read these bytes where they are: a file's, or those of another process.
    bool out_of_reach() const { return is_file() || !slice->buffer->region().writable(); }
    uint8_t* data() const { return slice->data() + offset; }
  };

  // The longest piece of at most `length_max` bytes (1 or more) that lies in one slice. There is one.
  Piece Next(const std::vector<Slice>& slices, uint64_t length_max) const;
  // By at most what Next gave.
  void Advance(const std::vector<Slice>& slices, uint64_t length);
  // By any length that is there.
  void Skip(const std::vector<Slice>& slices, uint64_t length);

 private:
  size_t index_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace splitplane
