// What two processes say to each other through shared memory: the greeting over the socket, and the records
// of a ring. Both are of one host and one layout, so records are plain structures, copied out before anybody
// looks at them. Constants and layouts only; docs/WIRE_PROTOCOL.md describes them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "native/memory/tag_table.h"

namespace splitplane::shm {

inline constexpr uint32_t kMagic = 0x6d687373;  // "sshm"
inline constexpr uint16_t kVersion = 2;

// Of the data of one direction. It fits in a second-level cache together with what is copied through it.
inline constexpr uint32_t kRingBytes = 512 * 1024;
// The longest record's body. A frame is one record, so this is the longest frame.
inline constexpr uint32_t kBodyBytesMax = 64 * 1024;
// Bytes of a transfer in one record: small enough that frames find room between them.
inline constexpr uint32_t kDataBytesMax = 32 * 1024;
// Pieces of memory that are lent to one peer at a time. Each has a word in either segment: in the owner's it
// says whether the loan stands, in the other one whether somebody looks.
inline constexpr uint32_t kLoansMax = 8192;
// Reads, writes and atomics under way, each way.
inline constexpr uint32_t kOperationsMax = 1024;
// Looks of one peer at a time, that is, views that somebody holds.
inline constexpr uint32_t kTakesMax = 65'536;
// Slabs of a peer that are mapped here.
inline constexpr uint32_t kSlabsMax = 8192;

// The first packet from either side, with the descriptor of the segment that its sender writes.
struct Greeting {
  uint32_t magic = kMagic;
  uint16_t version = kVersion;
  uint16_t status = 0;  // a Code: why the other side is refused; of a dialer 0
  uint32_t ring_bytes = kRingBytes;
  uint32_t reserved = 0;
};
static_assert(sizeof(Greeting) == 16);

// A later packet: with a descriptor, the slab of this number; empty of all but `kind`, a bell.
enum class PacketKind : uint32_t { kBell = 1, kSlab = 2 };
struct Packet {
  PacketKind kind = PacketKind::kBell;
  uint32_t slab = 0;
  uint64_t bytes = 0;
};
static_assert(sizeof(Packet) == 16);

enum class RecordKind : uint32_t {
  kPad = 1,  // nothing, up to the end of the ring
  kFrame,    // the bytes of a frame
  // The owner lends memory that the peer has mapped, or can map.
  kLoan,      // Loan
  kTook,      // Take: the peer looks at a lent piece, or has looked
  kGaveBack,  // Take, the same again: it looks no more
  kSlabGone,  // Number, of a slab: nothing in it is lent any more, and nothing will be
  // Operations that the owner carries out.
  kRead,        // Request
  kReadData,    // Number, bytes
  kReadDone,    // Outcome
  kWrite,       // Request
  kWriteData,   // Number, bytes
  kWriteDone,   // Outcome
  kAtomic,      // AtomicAsked
  kAtomicDone,  // Outcome
  kCancel,      // Number
  kGoodbye,     // Outcome: the last frame has come; loans live on until they are given back
  kWriteLent,   // WriteLent: as kWrite, but the owner fetches the bytes
};

// Before every body. A body begins and ends at a multiple of 8, and never goes around the end of the ring.
struct RecordHead {
  uint32_t body_bytes = 0;
  RecordKind kind = RecordKind::kPad;
};
static_assert(sizeof(RecordHead) == 8);

struct Number {
  uint64_t number = 0;
};

// Memory behind a tag that the peer may look at without asking: `length` bytes from `offset` of a slab.
struct Loan {
  std::array<uint8_t, Tag::kSize> tag{};
  uint32_t place = 0;     // of its two words, 0..kLoansMax - 1
  uint32_t standing = 0;  // what is in the owner's word as long as the loan stands
  uint32_t slab = 0;
  uint32_t uses = 0;  // kUnlimitedUses: as often as wanted
  uint64_t offset = 0;
  uint64_t length = 0;
  MonotonicNs expires_at = kNever;  // by the clock that all processes of a host share
};
static_assert(sizeof(Loan) == 72);

struct Take {
  // Of the read that this is, which is one use of the tag however often it is driven again; of any other look
  // 1 << 63 and a number that none before has in the session.
  uint64_t number = 0;
  uint64_t offset = 0;  // within the tag
  uint64_t length = 0;
  uint32_t place = 0;     // of the loan
  uint32_t standing = 0;  // and which of those that had this place
  uint32_t over = 0;      // 1: it has looked already, and holds nothing
  uint32_t reserved = 0;
};
static_assert(sizeof(Take) == 40);

struct Request {
  uint64_t number = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::array<uint8_t, Tag::kSize> tag{};
  uint32_t notify = 0;  // of a write
  uint32_t reserved = 0;
};
static_assert(sizeof(Request) == 64);

struct AtomicAsked {
  Request request;
  uint64_t operand = 0;
  uint64_t compare = 0;
  uint32_t operation = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(AtomicAsked) == 88);

// A write out of memory that is lent for it, without a tag: `request.length` bytes from `offset` of a slab.
// The loan stands until the write has ended. Who has no room to map the slab answers with kCannotLook before
// anything else of the write is judged, and is asked again with a kWrite.
inline constexpr Code kCannotLook = Code::kOutOfMemory;
struct WriteLent {
  Request request;
  uint64_t offset = 0;
  uint32_t place = 0;
  uint32_t standing = 0;
  uint32_t slab = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(WriteLent) == 88);

struct Outcome {
  uint64_t number = 0;
  uint64_t value = 0;   // of an atomic: the word before
  uint32_t status = 0;  // a Code
  uint32_t reserved = 0;
};
static_assert(sizeof(Outcome) == 24);

static_assert(std::is_trivially_copyable_v<Loan> && std::is_trivially_copyable_v<WriteLent>);

}  // namespace splitplane::shm
