// Encoding and judging of frames. One table says how long the frames of a type are; every sum of lengths that
// a peer sent is made in 64 bits.
#include "native/protocol/frame.h"

#include <algorithm>
#include <cstring>

#include "native/base/check.h"
#include "native/base/crc32c.h"

namespace splitplane {
namespace {

struct Rule {
  uint32_t bytes_min = kFrameHeadBytes;
  bool exact = true;
};

constexpr std::array<Rule, kFrameTypeLast + 1> MakeRules() {
  std::array<Rule, kFrameTypeLast + 1> rules{};
  const auto at = [&rules](FrameType type) -> Rule& { return rules[size_t(type)]; };
  at(FrameType::kHello) = {kHelloBytesMin, false};
  at(FrameType::kWelcome) = {kHelloBytesMin, false};
  at(FrameType::kStart) = {kStartBytes, true};
  at(FrameType::kReject) = {kRejectSentenceAt, false};
  at(FrameType::kMessage) = {kMessageHeadBytes, false};
  at(FrameType::kAck) = {kAckBytes, true};
  at(FrameType::kCancel) = {kCancelBytes, true};
  at(FrameType::kRelease) = {kReleaseTagsAt, false};
  at(FrameType::kBatch) = {kBatchHeadBytes, false};
  return rules;
}
constexpr std::array<Rule, kFrameTypeLast + 1> kRules = MakeRules();

bool AllZero(ConstBytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// Over all of the frame with the checksum's own field zero. `head` is at least a head.
uint32_t FrameCrc(ConstBytes head, ConstBytes rest) {
  static constexpr uint8_t kZeros[sizeof(uint32_t)] = {};
  uint32_t crc = Crc32c(0, head.data(), kFrameCrcAt);
  crc = Crc32c(crc, kZeros, sizeof(kZeros));
  crc = Crc32c(crc, head.data() + kFrameAcknowledgedAt, head.size() - kFrameAcknowledgedAt);
  return rest.empty() ? crc : Crc32c(crc, rest.data(), rest.size());
}

// The fields that messages and batches have in common.
void StorePart(uint8_t* at, const MessageHead& head) {
  StoreLittle(at + kSequenceAt, head.sequence);
  StoreLittle(at + kMessageIdAt, head.message);
  StoreLittle(at + kMessageTotalAt, head.total);
  StoreLittle(at + kMessageOffsetAt, head.offset);
}

void LoadPart(const uint8_t* at, MessageHead& out) {
  out.sequence = LoadLittle<uint64_t>(at + kSequenceAt);
  out.message = LoadLittle<uint64_t>(at + kMessageIdAt);
  out.total = LoadLittle<uint32_t>(at + kMessageTotalAt);
  out.offset = LoadLittle<uint32_t>(at + kMessageOffsetAt);
}

Status CheckPart(const MessageHead& head, ConstBytes part) {
  if (head.message == 0) return Status::Violation("frame", "a message has the id 0, which is none");
  if (head.offset > head.total || part.size() > head.total - head.offset) {
    return Status::Violation("frame", "a part of a message ends beyond the message");
  }
  if (part.empty() && head.total != 0) return Status::Violation("frame", "a part of a message is empty");
  return {};
}

}  // namespace

Status DecodeFrame(ConstBytes bytes, Frame& out) {
  if (bytes.size() < kFrameHeadBytes) return Status::Violation("frame", "a frame is shorter than a head");
  // First, so that damage is not taken for malice.
  if (LoadLittle<uint32_t>(bytes.data() + kFrameCrcAt) != FrameCrc(bytes, {})) {
    return Status::Error(
        Code::kChecksumMismatch, "frame",
        "a frame does not match its checksum: bytes were damaged on the way; connect again, and if "
        "it happens again look at the network between both hosts");
  }
  const uint8_t type = bytes[kFrameTypeAt];
  if (type == 0 || type > kFrameTypeLast) return Status::Violation("frame", "a frame is of no known type");
  if (bytes[kFrameFlagsAt] != 0 ||
      !AllZero(bytes.subspan(kFrameReservedAt, kFrameCrcAt - kFrameReservedAt))) {
    return Status::Violation("frame", "a frame has reserved bits that are not zero");
  }
  const Rule& rule = kRules[type];
  if (bytes.size() < rule.bytes_min || (rule.exact && bytes.size() != rule.bytes_min)) {
    return Status::Violation("frame", "a frame has a length that its type does not have");
  }
  out.type = FrameType(type);
  out.acknowledged = LoadLittle<uint64_t>(bytes.data() + kFrameAcknowledgedAt);
  out.bytes = bytes;
  return {};
}

void SealFrame(Bytes head, FrameType type, uint64_t acknowledged, ConstBytes rest) {
  head[kFrameTypeAt] = uint8_t(type);
  head[kFrameFlagsAt] = 0;
  StoreLittle(head.data() + kFrameReservedAt, uint16_t(0));
  StoreLittle(head.data() + kFrameAcknowledgedAt, acknowledged);
  StoreLittle(head.data() + kFrameCrcAt, FrameCrc(head, rest));
}

std::array<uint8_t, kMessageHeadBytes> EncodeMessageHead(const MessageHead& head) {
  std::array<uint8_t, kMessageHeadBytes> out{};
  StorePart(out.data(), head);
  StoreLittle(out.data() + kMessageEnvelopeAt, head.envelope_bytes);
  StoreLittle(out.data() + kMessageDeadlineAt, head.deadline_ms);
  StoreLittle(out.data() + kMessageAttachmentsAt, head.attachment_count);
  return out;
}

Status DecodeMessageHead(const Frame& frame, MessageHead& out, ConstBytes& part) {
  const uint8_t* at = frame.bytes.data();
  LoadPart(at, out);
  out.envelope_bytes = LoadLittle<uint32_t>(at + kMessageEnvelopeAt);
  out.deadline_ms = LoadLittle<uint32_t>(at + kMessageDeadlineAt);
  out.attachment_count = LoadLittle<uint16_t>(at + kMessageAttachmentsAt);
  part = frame.bytes.subspan(kMessageHeadBytes);
  if (!AllZero(frame.bytes.subspan(kMessageReservedAt, kMessageHeadBytes - kMessageReservedAt))) {
    return Status::Violation("frame", "a message has reserved bytes that are not zero");
  }
  if (out.attachment_count > kAttachmentsMax)
    return Status::Violation("frame", "a message has more than 1024 attachments");
  if (uint64_t{out.attachment_count} * kRowBytes + out.envelope_bytes > out.total) {
    return Status::Violation("frame", "a message is shorter than its envelope and its table of attachments");
  }
  return CheckPart(out, part);
}

std::array<uint8_t, kBatchHeadBytes> EncodeBatchHead(const MessageHead& head) {
  std::array<uint8_t, kBatchHeadBytes> out{};
  StorePart(out.data(), head);
  StoreLittle(out.data() + kBatchCountAt, head.batch_count);
  return out;
}

Status DecodeBatchHead(const Frame& frame, MessageHead& out, ConstBytes& part) {
  const uint8_t* at = frame.bytes.data();
  LoadPart(at, out);
  out.batch_count = LoadLittle<uint32_t>(at + kBatchCountAt);
  part = frame.bytes.subspan(kBatchHeadBytes);
  if (!AllZero(frame.bytes.subspan(kBatchReservedAt, kBatchHeadBytes - kBatchReservedAt))) {
    return Status::Violation("frame", "a batch has reserved bytes that are not zero");
  }
  if (out.batch_count == 0 || out.batch_count > kBatchMessagesMax) {
    return Status::Violation("frame", "a batch has a number of messages outside of 1 to 65536");
  }
  if (uint64_t{out.batch_count} * kBatchedLengthBytes > out.total) {
    return Status::Violation("frame", "a batch is shorter than its table of lengths");
  }
  return CheckPart(out, part);
}

Status CheckBatch(uint32_t count, ConstBytes content) {
  const uint64_t table_bytes = uint64_t{count} * kBatchedLengthBytes;
  if (table_bytes > content.size())
    return Status::Violation("frame", "a batch is shorter than its table of lengths");
  uint64_t payload_bytes = 0;
  for (uint64_t at = 0; at < table_bytes; at += kBatchedLengthBytes) {
    payload_bytes += LoadLittle<uint16_t>(content.data() + at);
  }
  if (table_bytes + payload_bytes != content.size()) {
    return Status::Violation("frame", "the messages of a batch do not add up to its length");
  }
  return {};
}

Status DecodeContent(const MessageHead& head, ConstBytes content,
                     std::vector<IncomingAttachment>& attachments, ConstBytes& envelope,
                     uint64_t& payload_bytes) {
  SPLITPLANE_CHECK(content.size() == head.total);
  attachments.resize(head.attachment_count);
  uint64_t grant_bytes = 0, inline_bytes = 0;
  for (size_t i = 0; i < attachments.size(); i++) {
    const uint8_t* row = content.data() + i * kRowBytes;
    const uint32_t length = LoadLittle<uint32_t>(row + kRowLengthAt);
    if (row[kRowKindAt] > 1 || !AllZero({row + kRowReservedAt, kRowLengthAt - kRowReservedAt})) {
      return Status::Violation("frame", "an attachment is of no known kind");
    }
    attachments[i].is_inline = row[kRowKindAt] == 1;
    if (!attachments[i].is_inline && length > kGrantBytesMax)
      return Status::Violation("frame", "a grant is longer than 256 bytes");
    (attachments[i].is_inline ? inline_bytes : grant_bytes) += length;
  }
  const uint64_t table_bytes = attachments.size() * kRowBytes;
  if (table_bytes + grant_bytes + head.envelope_bytes + inline_bytes != head.total) {
    return Status::Violation("frame", "the parts of a message do not add up to its length");
  }
  size_t grant_at = table_bytes, inline_at = table_bytes + grant_bytes + head.envelope_bytes;
  for (size_t i = 0; i < attachments.size(); i++) {
    const uint32_t length = LoadLittle<uint32_t>(content.data() + i * kRowBytes + kRowLengthAt);
    size_t& at = attachments[i].is_inline ? inline_at : grant_at;
    attachments[i].bytes = content.subspan(at, length);
    at += length;
  }
  envelope = content.subspan(table_bytes + grant_bytes, head.envelope_bytes);
  payload_bytes = head.envelope_bytes + inline_bytes;
  return {};
}

std::array<uint8_t, kStartBytes> EncodeStart(const std::array<uint8_t, kSecretBytes>& secret) {
  std::array<uint8_t, kStartBytes> out{};
  std::memcpy(out.data() + kStartSecretAt, secret.data(), secret.size());
  return out;
}

std::array<uint8_t, kAckBytes> EncodeAck(uint64_t messages, uint64_t bytes) {
  std::array<uint8_t, kAckBytes> out{};
  StoreLittle(out.data() + kAckMessagesAt, messages);
  StoreLittle(out.data() + kAckBytesAt, bytes);
  return out;
}

std::vector<uint8_t> EncodeReject(Code code, std::string_view sentence, uint64_t acknowledged) {
  sentence = sentence.substr(0, kReasonBytesMax);
  std::vector<uint8_t> out(kRejectSentenceAt + sentence.size());
  StoreLittle(out.data() + kRejectCodeAt, uint16_t(code));
  StoreLittle(out.data() + kRejectLengthAt, uint16_t(sentence.size()));
  std::copy(sentence.begin(), sentence.end(), out.begin() + kRejectSentenceAt);
  SealFrame(out, FrameType::kReject, acknowledged);
  return out;
}

Status DecodeReject(const Frame& frame) {
  const uint8_t* at = frame.bytes.data();
  const size_t length = LoadLittle<uint16_t>(at + kRejectLengthAt);
  if (length > kReasonBytesMax || frame.bytes.size() != kRejectSentenceAt + length ||
      !AllZero(frame.bytes.subspan(kRejectReservedAt, kRejectSentenceAt - kRejectReservedAt))) {
    return Status::Violation(
        "frame",
        "a refusal has a sentence of another length than it says, or reserved bytes that are not zero");
  }
  Code code = CodeFromWire(LoadLittle<uint16_t>(at + kRejectCodeAt));
  if (code == Code::kOk || code == Code::kNoResource) code = Code::kProtocolViolation;
  std::string sentence(reinterpret_cast<const char*>(at + kRejectSentenceAt), length);
  std::replace_if(
      sentence.begin(), sentence.end(), [](char c) { return uint8_t(c) < 0x20 || c == 0x7f; }, '?');
  return Status::Error(code, "peer", std::move(sentence));
}

std::array<uint8_t, kCancelBytes> EncodeCancel(uint64_t sequence, MessageId message) {
  std::array<uint8_t, kCancelBytes> out{};
  StoreLittle(out.data() + kSequenceAt, sequence);
  StoreLittle(out.data() + kCancelMessageAt, message);
  return out;
}

std::array<uint8_t, kReleaseTagsAt> EncodeReleaseHead(uint64_t sequence, uint32_t count) {
  std::array<uint8_t, kReleaseTagsAt> out{};
  StoreLittle(out.data() + kSequenceAt, sequence);
  StoreLittle(out.data() + kReleaseCountAt, count);
  return out;
}

Status DecodeRelease(const Frame& frame, ConstBytes& tags) {
  const uint32_t count = LoadLittle<uint32_t>(frame.bytes.data() + kReleaseCountAt);
  if (count == 0 || count > kTagsPerReleaseMax || frame.bytes.size() != kReleaseTagsAt + count * Tag::kSize ||
      !AllZero(frame.bytes.subspan(kReleaseReservedAt, kReleaseTagsAt - kReleaseReservedAt))) {
    return Status::Violation(
        "frame",
        "a release names another number of tags than it carries, or has reserved bytes that are not zero");
  }
  tags = frame.bytes.subspan(kReleaseTagsAt);
  return {};
}

bool SameSecret(ConstBytes a, ConstBytes b) {
  SPLITPLANE_CHECK(a.size() == b.size());
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); i++) {
    difference |= a[i] ^ b[i];
    // Every byte is compared before anything depends on one: the compiler may not see through this.
    asm volatile("" : "+r"(difference));
  }
  return difference == 0;
}

}  // namespace splitplane
