// One-sided operations from the call until they ended: found by id for completions and cancellation, and in
// order for their session. Operations are reused, so that in steady state only their slices are allocated.
// Posts nothing.
#pragma once

#include <memory>
#include <vector>

#include "native/protocol/engine.h"

namespace splitplane {

class Session;

struct Operation {
  enum class Kind : uint8_t { kRead, kWrite, kAtomic };

  OperationId id = 0;
  Session* session = nullptr;
  Kind kind = Kind::kRead;
  bool posted = false;    // else it waits
  bool canceled = false;  // while posted
  uint64_t offset = 0;
  uint64_t length = 0;
  Tag tag;
  std::vector<uint8_t> grant;  // what came beside the tag, while the link lives that it came over; else empty
  std::vector<Slice> slices;
  TransferOptions options;
  AtomicRequest request;
  Operation* previous = nullptr;
  Operation* next = nullptr;
};

class OperationList {
 public:
  bool empty() const { return first_ == nullptr; }
  uint32_t size() const { return size_; }
  Operation* first() const { return first_; }
  void Append(Operation* operation);
  void Remove(Operation* operation);
  // All of `front`, which is left empty, before what is here.
  void Prepend(OperationList& front);

 private:
  Operation* first_ = nullptr;
  Operation* last_ = nullptr;
  uint32_t size_ = 0;
};

class OperationTable {
 public:
  OperationTable() : slots_(kFirstCapacity) {}
  ~OperationTable();
  OperationTable(const OperationTable&) = delete;
  OperationTable& operator=(const OperationTable&) = delete;

  Operation* Add();  // with a new id
  Operation* Find(OperationId id) const;
  // Ends it. It is in no list.
  void Remove(Operation* operation);

 private:
  static constexpr size_t kFirstCapacity = 64;
  static constexpr size_t kSpareMax = 1024;

  // Ids are consecutive, so that their low bits spread them evenly; what collides goes to the next place.
  size_t HomeOf(OperationId id) const { return id & (slots_.size() - 1); }
  size_t After(size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
  void Insert(Operation* operation);

  std::vector<Operation*> slots_;  // a power of two, at most half full
  std::vector<std::unique_ptr<Operation>> spare_;
  size_t count_ = 0;
  OperationId last_id_ = 0;
};

}  // namespace splitplane
