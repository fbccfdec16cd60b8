// Bytes on their way: a range of slices that is sent (the answer to a peer's read, or a write of ours) or
// filled (our read, or a peer's write). Holds the memory, and knows whether it may still be touched. Knows
// neither sockets nor records.
#pragma once

#include <cstdint>
#include <vector>

#include "native/base/status.h"
#include "native/memory/region.h"
#include "native/memory/tag_table.h"

namespace splitplane::tcp {

// A position in a list of slices. None of them is empty.
class SliceCursor {
 public:
  struct Piece {
    const Slice* slice = nullptr;
    uint64_t offset = 0;  // in the slice
    uint64_t length = 0;

    bool is_file() const { return slice->buffer->data() == nullptr; }
    uint8_t* data() const { return slice->data() + offset; }
  };

  // The longest piece of at most `length_max` bytes (1 or more) that lies in one slice. There is one.
  Piece Next(const std::vector<Slice>& slices, uint64_t length_max) const;
  // By at most what Next gave.
  void Advance(const std::vector<Slice>& slices, uint64_t length);

 private:
  size_t index_ = 0;
  uint64_t offset_ = 0;
};

struct Transfer {
  uint64_t operation = 0;
  uint64_t total = 0;
  uint64_t done = 0;     // bytes placed, or put into parts
  bool serving = false;  // the peer began it: `use` holds the memory; else `own` does
  bool checksum = false;
  std::vector<Slice> own;
  TagTable::Use use;
  SliceCursor cursor;

  const std::vector<Slice>& slices() const { return serving ? use.slices() : own; }
  uint64_t left() const { return total - done; }
  // Whether the next `length` bytes may be touched now: the tag still stands and the memory is there.
  Status Usable(MonotonicNs now, uint64_t length) const;
  void Advance(uint64_t length);
};

// What is sent.
struct Outbound : Transfer {
  bool announced = true;  // of a write: the kWrite record went out
  bool notify = false;    // of a write, as is `tag` and `tag_offset`
  Tag tag;
  uint64_t tag_offset = 0;
  bool stopped = false;  // no further part
};

// What is filled.
struct Inbound : Transfer {
  bool notify = false;      // of a peer's write
  bool discarding = false;  // bytes still come, and go nowhere
  bool answered = false;    // its end was told already, to the peer or to the user
  Status failure;           // of our read: how it ends once the peer stopped sending
};

// The sentence for a status that came over the wire, or that ends an operation for all to see.
Status EndedWith(Code code);

}  // namespace splitplane::tcp
