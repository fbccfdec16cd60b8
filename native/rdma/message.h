// What the two ends of an RDMA connection say to each other (docs/WIRE_PROTOCOL.md, "RDMA"): the greeting in
// the connection manager's private data, and packets, each one SEND: a head with returned credits, then
// records back to back. This file owns every offset, the encoding, and the judgement of a record by itself.
// What a good record means at this moment is for the connection to say. Pure functions, no state, no verbs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "native/base/bytes.h"
#include "native/base/status.h"
#include "native/memory/tag_table.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

inline constexpr uint16_t kWireVersion = 1;

// The greeting. Magic and version keep their places in every version to come.
inline constexpr std::array<uint8_t, 4> kMagic = {'S', 'P', 'L', 'T'};
inline constexpr size_t kGreetingMagicAt = 0;
inline constexpr size_t kGreetingVersionAt = 4;
inline constexpr size_t kGreetingStatusAt = 6;    // u16: why a request is refused, else zero
inline constexpr size_t kGreetingReservedAt = 8;  // 8 bytes
inline constexpr size_t kGreetingBytes = 16;

// One packet fills one receive buffer, and travels in one piece where the path's MTU is 4096.
inline constexpr size_t kPacketBytes = 4096;
inline constexpr size_t kPacketCrcAt = 0;
inline constexpr size_t kPacketCreditsAt = 4;   // u16
inline constexpr size_t kPacketReservedAt = 6;  // u16
inline constexpr size_t kPacketHeadBytes = 8;
// Packets with records that may be on the way, each way. Packets that only return credits come on top.
inline constexpr uint16_t kCreditsMax = 16;

enum class Kind : uint8_t {
  kFrame = 1,      // a frame of the protocol, or a piece of one
  kLane = 2,       // the queue pair for bulk data: this side's, or that this side is ready to use it
  kRead = 3,       // asks to read `length` bytes from `offset` of what a tag stands for
  kWrite = 4,      // the same, to write
  kAtomic = 5,     // asks for an atomic step on the 8 bytes at `offset` of what a tag stands for
  kGrant = 6,      // the next span of an operation may be moved: where it is
  kChecksum = 7,   // the checksum of a span that is read
  kDone = 8,       // a span was moved
  kEnded = 9,      // the owner ends an operation: all is in place, or why not
  kValue = 10,     // the word before an atomic step, or why there was none
  kCancel = 11,    // who asked gives an operation up; nothing of it is on the way
  kKeep = 12,      // where all of what a tag stands for is, to be used without asking until withdrawn
  kWithdraw = 13,  // the owner took back what was kept
  kDrop = 14,      // who kept it does not want it any more
  kGoodbye = 15,   // nothing follows, all is well
};
inline constexpr uint8_t kKindLast = 15;

// A record begins with a head. `number` is what the operation is called on this connection, chosen by who
// asks; of a frame the length of its piece, of a lane its epoch, of what is kept its number.
inline constexpr size_t kKindAt = 0;
inline constexpr size_t kFlagsAt = 1;
inline constexpr size_t kStatusAt = 2;
inline constexpr size_t kNumberAt = 4;
inline constexpr size_t kRecordHeadBytes = 8;

inline constexpr uint8_t kFlagMore = 1 << 0;   // of a frame: another piece follows
inline constexpr uint8_t kFlagReady = 1 << 0;  // of a lane: this side can receive
inline constexpr uint8_t kFlagChecksum =
    1 << 0;  // of kRead, kWrite: spans have checksums; of kGrant: this one's
inline constexpr uint8_t kFlagNotify = 1 << 1;  // of kWrite: tell the owner when it is done
inline constexpr uint8_t kFlagKeep = 1 << 2;    // of kRead, kWrite: a kKeep is welcome

// Bodies. kLane:
inline constexpr size_t kLaneQueuePairAt = 8;  // u32
inline constexpr size_t kLanePacketAt = 12;    // u32: number of the first packet
inline constexpr size_t kLaneBytes = 16;
// kRead, kWrite, kAtomic:
inline constexpr size_t kAskOperationAt = 8;  // u64: what the session calls it
inline constexpr size_t kAskOffsetAt = 16;
inline constexpr size_t kAskLengthAt = 24;
inline constexpr size_t kAskTagAt = 32;
inline constexpr size_t kAskBytes = kAskTagAt + Tag::kSize;
inline constexpr size_t kAtomicOperandAt = 64;
inline constexpr size_t kAtomicCompareAt = 72;
inline constexpr size_t kAtomicKindAt = 80;  // u8, then 7 reserved bytes
inline constexpr size_t kAtomicBytes = 88;
static_assert(kAskBytes == kAtomicOperandAt);
// kGrant and kKeep, followed by the pieces:
inline constexpr size_t kGrantWordAt = 8;     // u32: checksum of a grant, number of what is kept
inline constexpr size_t kGrantPiecesAt = 12;  // u32: how many, 1 to kPiecesMax
inline constexpr size_t kGrantBytes = 16;
inline constexpr size_t kPieceAddressAt = 0;
inline constexpr size_t kPieceLengthAt = 8;  // u32
inline constexpr size_t kPieceKeyAt = 12;    // u32
inline constexpr size_t kPieceBytes = 16;
inline constexpr uint32_t kPiecesMax = 64;
static_assert(kGrantBytes + kPiecesMax * kPieceBytes <= kPacketBytes - kPacketHeadBytes);
// kChecksum and kDone:
inline constexpr size_t kSpanIndexAt = 8;  // u32: spans of an operation are numbered from 0
inline constexpr size_t kSpanCrcAt = 12;   // u32
inline constexpr size_t kSpanRecordBytes = 16;
// kValue:
inline constexpr size_t kValueAt = 8;
inline constexpr size_t kValueBytes = 16;

inline constexpr uint32_t kFrameBytesMax = 256 * 1024;
// The owner exposes an operation span by span, two at a time: this bounds what a peer can reach at any
// moment, and what is registered, checked and taken back in one step.
inline constexpr uint32_t kSpanBytesMax = 1024 * 1024;
inline constexpr uint32_t kSpansMax = 2;
// Reads, writes and atomics outstanding, each way.
inline constexpr uint32_t kOperationsMax = 256;

struct Record {
  Kind kind = Kind::kFrame;
  uint8_t flags = 0;
  Code status = Code::kOk;
  uint32_t number = 0;
  ConstBytes bytes{};  // all of it, head included; points into what was decoded
};

struct Ask {
  uint64_t operation = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  Tag tag;
};

// A piece of memory as verbs reach it. `key` is the rkey.
struct Piece {
  uint64_t address = 0;
  uint32_t length = 0;
  uint32_t key = 0;
};

// Length of a record whose head and, for kGrant and kKeep, fixed part is at `bytes`; 0: no such record.
size_t RecordBytes(ConstBytes bytes);

// Encoders. `out` has room for what they write, whose length they return.
void EncodeGreeting(Code status, uint8_t* out);
size_t EncodeHead(Kind kind, uint8_t flags, Code status, uint32_t number, uint8_t* out);
size_t EncodeLane(uint32_t epoch, uint32_t queue_pair, uint32_t packet, uint8_t* out);
size_t EncodeAsk(Kind kind, uint8_t flags, uint32_t number, const Ask& ask, uint8_t* out);
size_t EncodeAtomic(uint32_t number, const Ask& ask, const AtomicRequest& request, uint8_t* out);
size_t EncodeGrant(Kind kind, uint8_t flags, uint32_t number, uint32_t word, uint32_t pieces, uint8_t* out);
void EncodePiece(const Piece& piece, uint8_t* out);
size_t EncodeSpan(Kind kind, uint32_t number, uint32_t span, uint32_t crc, uint8_t* out);
size_t EncodeValue(Code status, uint32_t number, uint64_t value, uint8_t* out);
// Fills the head of a packet whose records are in place.
void SealPacket(Bytes packet, uint16_t credits);

// kProtocolViolation for a stranger, kVersionUnsupported for another version, else the status it carries.
Status DecodeGreeting(ConstBytes bytes);
// Judges the head and the checksum of a packet; `records` is the rest.
Status OpenPacket(ConstBytes packet, uint16_t& credits, ConstBytes& records);
// Takes the first record off `rest` (not empty). Anything but a well-formed one is kProtocolViolation.
Status TakeRecord(ConstBytes& rest, Record& out);

// Of records that TakeRecord found good.
Ask AskOf(const Record& record);
AtomicRequest AtomicOf(const Record& record);
uint32_t PieceCount(const Record& record);
Piece PieceOf(const Record& record, uint32_t index);
inline uint32_t WordAt(const Record& record, size_t at) {
  return LoadLittle<uint32_t>(record.bytes.data() + at);
}

}  // namespace splitplane::rdma
