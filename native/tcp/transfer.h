// Bytes on their way: a range of slices that is sent (the answer to a peer's read, or a write of ours) or
// filled (our read, or a peer's write). Holds the memory, and knows whether it may still be touched. Knows
// neither sockets nor records.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "native/base/status.h"
#include "native/memory/slice_cursor.h"
#include "native/memory/tag_table.h"
#include "native/transport/operation.h"

namespace splitplane::tcp {

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
  std::unique_ptr<Outbound> next;
};

// First in, first out, without memory of its own.
class OutboundQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  void Append(std::unique_ptr<Outbound> transfer);
  std::unique_ptr<Outbound> Take();  // the first; not of an empty queue
  // Null: there is no such transfer.
  std::unique_ptr<Outbound> Remove(uint64_t operation, bool serving);
  void Clear();

 private:
  std::unique_ptr<Outbound> first_;
  Outbound* last_ = nullptr;
};

// What is filled.
struct Inbound : Transfer {
  bool notify = false;      // of a peer's write
  bool discarding = false;  // bytes still come, and go nowhere
  bool answered = false;    // its end was told already, to the peer or to the user
  Status failure;           // of our read: how it ends once the peer stopped sending
};

}  // namespace splitplane::tcp
