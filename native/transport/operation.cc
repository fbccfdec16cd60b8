// The checks, in the order in which a caller can do something about them, and the sentences.
#include "native/transport/operation.h"

#include <atomic>
#include <bit>

#include "native/memory/tag_table.h"

namespace splitplane {
namespace {

Status Invalid(const char* sentence) { return Status::Error(Code::kInvalidArgument, "post", sentence); }

const char* Sentence(Code code) {
  switch (code) {
    case Code::kTagUnknown:
      return "the owner knows no such tag for this peer: it was released, used up or never meant for us";
    case Code::kTagExpired:
      return "the tag has expired: ask its owner for another";
    case Code::kTagExhausted:
      return "the tag's uses are spent: ask its owner for another";
    case Code::kTagDirection:
      return "the tag allows another direction of transfer than this one";
    case Code::kTagBounds:
      return "the range lies outside of what the tag stands for";
    case Code::kTagRevoked:
      return "the tag was revoked while the transfer ran";
    case Code::kRegionDetached:
      return "the memory was detached while the transfer ran";
    case Code::kFileChanged:
      return "the file became shorter while the transfer ran";
    case Code::kChecksumMismatch:
      return "the bytes that arrived are not the bytes that were sent: transfer them again";
    case Code::kAborted:
      return "the operation was canceled";
    case Code::kOutOfMemory:
      return "the peer has no memory for this: its pool is full, or its limit of locked memory "
             "(RLIMIT_MEMLOCK, ulimit -l) is too low for what is in flight";
    default:
      return "the operation failed at the peer";
  }
}

}  // namespace

Status ValidateRemote(const RemoteSlice& remote) {
  if (remote.grant.size() != Tag::kSize) return Invalid("the grant is the tag itself: 32 bytes");
  if (remote.offset > UINT64_MAX - remote.length) return Invalid("the remote range ends beyond 2^64");
  return {};
}

Status ValidateLocal(std::span<const Slice> local, uint64_t length, bool filled) {
  if (local.empty() || local.size() > kSlicesPerOperationMax)
    return Invalid("an operation has 1 to 1024 slices");
  uint64_t total = 0;
  for (const Slice& slice : local) {
    if (!slice.buffer || slice.length == 0 || slice.offset > slice.buffer->length() ||
        slice.length > slice.buffer->length() - slice.offset) {
      return Invalid("a slice is empty or not within its buffer");
    }
    if (filled && !slice.data())
      return Invalid("a file cannot be read into: read into memory and write the file");
    if (filled && !slice.buffer->region().writable())
      return Invalid("this buffer shows a peer's memory, which can only be read; copy into one of your own");
    Status there = slice.buffer->region().Check();
    if (!there.ok()) return there;
    total += slice.length;
  }
  return total == length ? Status() : Invalid("the local slices are not as long as the remote one");
}

uint64_t ApplyAtomic(uint64_t& word, const AtomicRequest& request) {
  static_assert(std::endian::native == std::endian::little,
                "atomics on a big-endian host would swap around the word");
  std::atomic_ref<uint64_t> atomic(word);
  if (request.operation == AtomicOperation::kFetchAndAdd) return atomic.fetch_add(request.operand);
  uint64_t before = request.compare;
  atomic.compare_exchange_strong(before, request.operand);
  return before;
}

Status EndedWith(Code code) {
  return code == Code::kOk ? Status() : Status::Error(code, "transfer", Sentence(code));
}

}  // namespace splitplane
