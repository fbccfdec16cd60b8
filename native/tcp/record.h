// The records of the TCP wire (docs/WIRE_PROTOCOL.md, "TCP"): a head of 32 bytes, an extension that depends
// on the kind, and for some kinds a payload with a trailer. This file owns every offset, the encoding, and
// the judgement of a head by itself. What a good record means at this moment is for the connection to say.
// Pure functions, no state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "native/base/bytes.h"
#include "native/base/status.h"
#include "native/memory/tag_table.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

inline constexpr uint16_t kWireVersion = 1;
inline constexpr uint32_t kFrameBytesMax = 256 * 1024;
// Longest payload of one part of a transfer. Small transfers wait behind one part of a large one at most, per
// peer.
inline constexpr uint32_t kPartBytesMax = 1024 * 1024;
inline constexpr uint32_t kDataChannelsMax = 16;

enum class Kind : uint8_t {
  kJoin = 1,         // first on every socket, from who connected: which endpoint it belongs to
  kJoined = 2,       // first answer: every socket of the endpoint is there (or a status: go away)
  kFrame = 3,        // control socket: a frame of the protocol; payload
  kGoodbye = 4,      // control socket: nothing follows, all is well
  kRead = 5,         // asks for `length` bytes from `offset` of what a tag stands for
  kData = 6,         // a part of the answer; payload
  kReadFailed = 7,   // the answer ends here, why
  kWrite = 8,        // announces `length` bytes for `offset` of what a tag stands for
  kWriteData = 9,    // a part of them; payload
  kWriteDone = 10,   // all of them are in place, or why not
  kAtomic = 11,      // on the 8 bytes at `offset` of what a tag stands for
  kAtomicDone = 12,  // the word before it, or why not
  kCancel = 13,      // whoever began the operation gives it up; no part of it follows
};
inline constexpr uint8_t kKindLast = 13;

// The head. `status` is an index in the list of codes. The checksum is CRC32C over head and extension with
// its own field zero.
inline constexpr size_t kKindAt = 0;
inline constexpr size_t kFlagsAt = 1;
inline constexpr size_t kStatusAt = 2;
inline constexpr size_t kHeadCrcAt = 4;
inline constexpr size_t kOperationAt = 8;
inline constexpr size_t kOffsetAt = 16;
inline constexpr size_t kLengthAt = 24;
inline constexpr size_t kHeadBytes = 32;
static_assert(kLengthAt + sizeof(uint64_t) == kHeadBytes);

inline constexpr uint8_t kFlagChecksum = 1 << 0;  // the trailers of the transfer's parts carry a CRC32C
inline constexpr uint8_t kFlagNotify = 1 << 1;    // of a write: tell the owner when it is done

// Extension of kRead and kWrite: the tag. Of kAtomic: the tag and the request.
inline constexpr size_t kTagAt = 0;
inline constexpr size_t kTagExtensionBytes = Tag::kSize;
inline constexpr size_t kAtomicOperandAt = 32;
inline constexpr size_t kAtomicCompareAt = 40;
inline constexpr size_t kAtomicOperationAt = 48;  // u8, then 7 reserved bytes
inline constexpr size_t kAtomicExtensionBytes = 56;
static_assert(kTagAt + Tag::kSize == kAtomicOperandAt);
// Extension of kAtomicDone: the word before the operation.
inline constexpr size_t kValueExtensionBytes = 8;

// Extension of kJoin. Magic and version keep their places in every version to come.
inline constexpr std::array<uint8_t, 4> kMagic = {'S', 'P', 'L', 'T'};
inline constexpr size_t kJoinMagicAt = 0;
inline constexpr size_t kJoinVersionAt = 4;
inline constexpr size_t kJoinIndexAt = 6;     // u8: 0 the control socket, 1.. the data sockets
inline constexpr size_t kJoinChannelsAt = 7;  // u8: how many data sockets the endpoint has
inline constexpr size_t kJoinReservedAt = 8;  // 8 bytes
inline constexpr size_t kJoinIdAt = 16;
inline constexpr size_t kJoinSecretAt = 32;
inline constexpr size_t kJoinExtensionBytes = 48;
static_assert(kJoinSecretAt + 16 == kJoinExtensionBytes);

inline constexpr size_t kRecordBytesMax = kHeadBytes + kAtomicExtensionBytes;

// After every payload. With kFlagChecksum `crc` is CRC32C over the payload and the four bytes after the field
// itself, else zero. A status other than ok says that the sender's memory or file went away under the
// payload: it is void.
inline constexpr size_t kTrailerCrcAt = 0;
inline constexpr size_t kTrailerStatusAt = 4;    // u16
inline constexpr size_t kTrailerReservedAt = 6;  // u16
inline constexpr size_t kTrailerBytes = 8;

struct Record {
  Kind kind = Kind::kJoin;
  uint8_t flags = 0;
  Code status = Code::kOk;
  uint64_t operation = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  ConstBytes extension{};  // points into what was decoded

  bool has_payload() const { return kind == Kind::kFrame || kind == Kind::kData || kind == Kind::kWriteData; }
};

// Bytes of head and extension together; 0 for a kind that does not exist.
size_t RecordBytes(uint8_t kind);

// Writes head and extension (`record.extension` must have the kind's length) to `out`, which has room for
// RecordBytes(kind). Returns their number.
size_t EncodeRecord(const Record& record, uint8_t* out);

// `bytes` is exactly RecordBytes(bytes[0]) long. Anything but a well-formed record is kProtocolViolation with
// a sentence; a join of another version is kVersionUnsupported.
Status DecodeRecord(ConstBytes bytes, Record& out);

struct Join {
  std::array<uint8_t, 16> id{};
  std::array<uint8_t, 16> secret{};
  uint8_t index = 0;
  uint8_t channels = 1;
};

std::array<uint8_t, kJoinExtensionBytes> EncodeJoin(const Join& join);
Join DecodeJoin(ConstBytes extension);  // of a record that DecodeRecord found good

std::array<uint8_t, kAtomicExtensionBytes> EncodeAtomic(const Tag& tag, const AtomicRequest& request);
AtomicRequest DecodeAtomic(ConstBytes extension);

// `payload_crc` is CRC32C over the payload, ignored without `checksum`.
void EncodeTrailer(uint8_t* out, bool checksum, uint32_t payload_crc, Code status);

struct Trailer {
  Status damage;            // kProtocolViolation, or kChecksumMismatch
  Code status = Code::kOk;  // the sender's
};
Trailer DecodeTrailer(const uint8_t* bytes, bool checksum, uint32_t payload_crc);

}  // namespace splitplane::tcp
