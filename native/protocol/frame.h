// The frames of the protocol (docs/WIRE_PROTOCOL.md, "Frames"): a head of 16 bytes and a body that depends on
// the type, posted whole with Endpoint::PostSend. This file owns every offset, the encoding, and the
// judgement of a frame by itself; what a good frame means at this moment is for the session to say. Pure
// functions, no state.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/status.h"
#include "native/memory/tag_table.h"
#include "native/protocol/engine.h"

namespace splitplane {

enum class FrameType : uint8_t {
  kHello = 1,    // dialer, first: who we are, what we speak; hello.h
  kWelcome = 2,  // listener's answer
  kStart = 3,    // dialer: the welcome was good, the session begins
  kReject = 4,   // either, at any time: the session is over, why
  kMessage = 5,  // sequenced; an envelope with its attachments, or a part of one
  kAck = 6,      // credits
  kCancel = 7,   // sequenced; the sender of a message does not want it handled any more
  kRelease = 8,  // sequenced; tags that their holder gives back
  kPing = 9,     // asks for a kPong
  kPong = 10,
  kClose = 11,  // nothing follows from this side, everything it sent was acknowledged
  kBatch = 12,  // sequenced; small messages without envelopes, or a part of them
};
inline constexpr uint8_t kFrameTypeLast = 12;

// The head. The checksum is CRC32C over the whole frame with its own field zero. Sequenced frames are
// numbered 1, 2, … in a session; `acknowledged` is the last that the sender of this frame got.
inline constexpr size_t kFrameTypeAt = 0;
inline constexpr size_t kFrameFlagsAt = 1;     // none is defined: zero
inline constexpr size_t kFrameReservedAt = 2;  // 2 bytes
inline constexpr size_t kFrameCrcAt = 4;
inline constexpr size_t kFrameAcknowledgedAt = 8;
inline constexpr size_t kFrameHeadBytes = 16;
static_assert(kFrameAcknowledgedAt + sizeof(uint64_t) == kFrameHeadBytes);

// kHello and kWelcome: the fixed part is laid out in hello.h.
inline constexpr size_t kHelloBytesMin = 96;

// kStart: the dialer's secret.
inline constexpr size_t kSecretBytes = 16;
inline constexpr size_t kStartSecretAt = 16;
inline constexpr size_t kStartBytes = 32;
static_assert(kStartSecretAt + kSecretBytes == kStartBytes);

// kReject: an index in the list of codes and a sentence in UTF-8.
inline constexpr size_t kRejectCodeAt = 16;      // u16
inline constexpr size_t kRejectLengthAt = 18;    // u16
inline constexpr size_t kRejectReservedAt = 20;  // 4 bytes
inline constexpr size_t kRejectSentenceAt = 24;

// kMessage. The content is cut into as many frames as it needs; all of them repeat these fields but the
// offset.
inline constexpr size_t kSequenceAt = 16;  // of every sequenced frame
inline constexpr size_t kMessageIdAt = 24;
inline constexpr size_t kMessageTotalAt = 32;        // u32: bytes of content, all parts together
inline constexpr size_t kMessageOffsetAt = 36;       // u32: of this part in the content
inline constexpr size_t kMessageEnvelopeAt = 40;     // u32: bytes of envelope
inline constexpr size_t kMessageDeadlineAt = 44;     // u32: milliseconds, 0 for none
inline constexpr size_t kMessageAttachmentsAt = 48;  // u16: their number
inline constexpr size_t kMessageReservedAt = 50;     // 6 bytes
inline constexpr size_t kMessageHeadBytes = 56;
static_assert(kMessageReservedAt + 6 == kMessageHeadBytes);

// Content: a row per attachment; grants in order; the envelope; inline payloads in order.
inline constexpr size_t kRowKindAt = 0;      // u8: 0 by reference, 1 inline
inline constexpr size_t kRowReservedAt = 1;  // 3 bytes
inline constexpr size_t kRowLengthAt = 4;    // u32: of the grant, or of the payload
inline constexpr size_t kRowBytes = 8;
static_assert(kRowLengthAt + sizeof(uint32_t) == kRowBytes);
inline constexpr size_t kGrantBytesMax = 256;

// kBatch: in parts, numbered and named as a kMessage; the fields up to the offset are the same.
inline constexpr size_t kBatchCountAt = 40;     // u32: small messages in the whole content
inline constexpr size_t kBatchReservedAt = 44;  // 4 bytes
inline constexpr size_t kBatchHeadBytes = 48;
static_assert(kBatchReservedAt + 4 == kBatchHeadBytes);

// Content: the length of each small message, two bytes; then the messages back to back.
inline constexpr size_t kBatchedLengthBytes = 2;
static_assert(kBatchedBytesMax == UINT16_MAX);

// kAck: what the user of the sender of this frame has consumed since the session began.
inline constexpr size_t kAckMessagesAt = 16;
inline constexpr size_t kAckBytesAt = 24;
inline constexpr size_t kAckBytes = 32;

// kCancel
inline constexpr size_t kCancelMessageAt = 24;
inline constexpr size_t kCancelBytes = 32;

// kRelease
inline constexpr size_t kReleaseCountAt = 24;     // u32
inline constexpr size_t kReleaseReservedAt = 28;  // 4 bytes
inline constexpr size_t kReleaseTagsAt = 32;
inline constexpr size_t kTagsPerReleaseMax = 64;

struct Frame {
  FrameType type = FrameType::kPing;
  uint64_t acknowledged = 0;
  ConstBytes bytes;  // all of them
};

// kChecksumMismatch for damage, kProtocolViolation for anything else that is no frame, each with a sentence.
// A good frame has at least the fixed part of its type.
Status DecodeFrame(ConstBytes bytes, Frame& out);

// Completes a frame whose fixed part is `head` and which ends with `rest`: type, acknowledgement, checksum.
// The rest of the head was filled in by the caller, reserved bytes with zeros.
void SealFrame(Bytes head, FrameType type, uint64_t acknowledged, ConstBytes rest = {});

struct MessageHead {
  uint64_t sequence = 0;
  MessageId message = 0;
  uint32_t total = 0;
  uint32_t offset = 0;
  uint32_t envelope_bytes = 0;
  uint32_t deadline_ms = 0;
  uint16_t attachment_count = 0;
  uint32_t batch_count = 0;  // of a kBatch, which has no envelope, attachments or deadline; else 0

  // Whether another part belongs to the same message.
  bool SameMessage(const MessageHead& other) const {
    return sequence == other.sequence && message == other.message && total == other.total &&
           envelope_bytes == other.envelope_bytes && attachment_count == other.attachment_count &&
           batch_count == other.batch_count;
  }
};

std::array<uint8_t, kMessageHeadBytes> EncodeMessageHead(const MessageHead& head);  // not sealed
// `part` becomes this frame's part of the content. Judges what the fields say about each other.
Status DecodeMessageHead(const Frame& frame, MessageHead& out, ConstBytes& part);
// The same of a kBatch.
std::array<uint8_t, kBatchHeadBytes> EncodeBatchHead(const MessageHead& head);
Status DecodeBatchHead(const Frame& frame, MessageHead& out, ConstBytes& part);

// Judges a whole content, and points into it. `payload_bytes` is what counts against the window: envelope and
// inline payload.
Status DecodeContent(const MessageHead& head, ConstBytes content,
                     std::vector<IncomingAttachment>& attachments, ConstBytes& envelope,
                     uint64_t& payload_bytes);

// Judges the whole content of a batch; all of it counts against the window.
Status CheckBatch(uint32_t count, ConstBytes content);

std::array<uint8_t, kStartBytes> EncodeStart(const std::array<uint8_t, kSecretBytes>& secret);
std::array<uint8_t, kAckBytes> EncodeAck(uint64_t messages, uint64_t bytes);

// Cuts the sentence at kReasonBytesMax. Sealed, whole.
std::vector<uint8_t> EncodeReject(Code code, std::string_view sentence, uint64_t acknowledged);
// What the peer said, with its control characters replaced: it may end up on a terminal. A code that cannot
// end a session (ok, no resource) becomes kProtocolViolation. Not ok() itself.
Status DecodeReject(const Frame& frame);

// Sequenced frames with a fixed part and, for kRelease, tags behind it.
std::array<uint8_t, kCancelBytes> EncodeCancel(uint64_t sequence, MessageId message);
std::array<uint8_t, kReleaseTagsAt> EncodeReleaseHead(uint64_t sequence, uint32_t count);
// `tags` becomes count * Tag::kSize bytes.
Status DecodeRelease(const Frame& frame, ConstBytes& tags);

inline uint64_t SequenceOf(const Frame& frame) {
  return LoadLittle<uint64_t>(frame.bytes.data() + kSequenceAt);
}

// Compares in a time that does not depend on the bytes.
bool SameSecret(ConstBytes a, ConstBytes b);

}  // namespace splitplane
