// The other side of loans: the peer's slabs that are mapped here, the tags whose memory can be looked at
// without asking, and the views that somebody holds. Every word of the peer is judged against what is mapped.
// Knows nothing of operations that the peer carries out.
#pragma once

#include <cstring>
#include <functional>
#include <unordered_map>

#include "native/memory/pool.h"
#include "native/shm/outgoing.h"
#include "native/transport/transport.h"

namespace splitplane::shm {

class Borrower final : public ViewOwner {
 public:
  // `touched` runs when there is something to write that nobody asked for just now.
  Borrower(MemoryPool& pool, Outgoing& out, Segment peer, std::function<void()> touched)
      : pool_(pool), out_(out), peer_(std::move(peer)), touched_(std::move(touched)) {}
  // Views that are left live on; nobody hears of their end.
  ~Borrower();

  // What the peer says. What cannot be is a kProtocolViolation.
  Status OnSlab(const Packet& packet, const Fd& descriptor);
  bool HasSlab(uint32_t slab) const { return slabs_.contains(slab); }
  Status OnLoan(const Loan& loan);
  Status OnRevoked(uint32_t loan);
  Status OnSlabGone(uint32_t slab);

  // As Endpoint has them.
  Result<BufferRef> View(const Tag& tag, uint64_t offset, uint64_t length);
  bool ReadNow(const Tag& tag, uint64_t offset, std::span<const Slice> local, uint64_t length);
  void Forget(const Tag& tag);

  void OnViewEnded(uint64_t number) override;

  // Nothing is looked at any more but what views show already.
  void ReturnAll();
  bool has_views() const { return views_ > 0; }

 private:
  struct TagHash {
    size_t operator()(const Tag& tag) const {
      size_t hash;
      std::memcpy(&hash, tag.bytes.data() + Tag::kSecretAt, sizeof(hash));
      return hash;
    }
  };
  struct TagEqual {
    bool operator()(const Tag& a, const Tag& b) const { return a.bytes == b.bytes; }
  };
  struct Borrowed {
    Loan loan;
    Region* slab = nullptr;
    uint32_t uses_left = 0;
  };

  // What may be looked at now, or null.
  Borrowed* Usable(const Tag& tag, uint64_t offset, uint64_t length);
  bool Stands(const Borrowed& borrowed) const;
  void NoteTaken(Borrowed& borrowed, uint64_t offset, uint64_t length, bool over);

  MemoryPool& pool_;
  Outgoing& out_;
  Segment peer_;
  std::function<void()> touched_;
  std::unordered_map<uint32_t, Region*> slabs_;
  std::unordered_map<Tag, Borrowed, TagHash, TagEqual> loans_;
  std::unordered_map<uint32_t, Tag> by_number_;
  uint64_t last_take_ = 0;
  uint64_t views_ = 0;
};

}  // namespace splitplane::shm
