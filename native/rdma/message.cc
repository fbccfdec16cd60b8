// Encoding and judging. One table says which fields a kind may use; a field that is not used is zero.
#include "native/rdma/message.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "native/base/crc32c.h"

namespace splitplane::rdma {
namespace {

struct Rule {
  size_t bytes = kRecordHeadBytes;  // without what follows in its own number
  uint8_t flags = 0;                // that may be set
  bool status = false;              // may be another than ok
  bool failed = false;              // must be another than ok
};

constexpr std::array<Rule, kKindLast + 1> MakeRules() {
  std::array<Rule, kKindLast + 1> rules{};
  const auto at = [&rules](Kind kind) -> Rule& { return rules[size_t(kind)]; };
  at(Kind::kFrame) = {.flags = kFlagMore};
  at(Kind::kLane) = {.bytes = kLaneBytes, .flags = kFlagReady};
  at(Kind::kRead) = {.bytes = kAskBytes, .flags = kFlagChecksum | kFlagKeep};
  at(Kind::kWrite) = {.bytes = kAskBytes, .flags = kFlagChecksum | kFlagNotify | kFlagKeep};
  at(Kind::kAtomic) = {.bytes = kAtomicBytes};
  at(Kind::kGrant) = {.bytes = kGrantBytes, .flags = kFlagChecksum};
  at(Kind::kChecksum) = {.bytes = kSpanRecordBytes};
  at(Kind::kDone) = {.bytes = kSpanRecordBytes};
  at(Kind::kEnded) = {.status = true};
  at(Kind::kValue) = {.bytes = kValueBytes, .status = true};
  at(Kind::kCancel) = {.status = true, .failed = true};
  at(Kind::kKeep) = {.bytes = kGrantBytes};
  return rules;
}
constexpr std::array<Rule, kKindLast + 1> kRules = MakeRules();

constexpr uint8_t kZeros[8] = {};
constexpr uint32_t kQueuePairBits = 24;

bool AllZero(ConstBytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

uint32_t PacketCrc(ConstBytes packet) {
  const uint32_t crc = Crc32c(0, kZeros, sizeof(uint32_t));
  return Crc32c(crc, packet.data() + kPacketCreditsAt, packet.size() - kPacketCreditsAt);
}

bool HasPieces(Kind kind) { return kind == Kind::kGrant || kind == Kind::kKeep; }

const char* InvalidPieces(const Record& record) {
  for (uint32_t i = 0; i < PieceCount(record); i++) {
    const Piece piece = PieceOf(record, i);
    if (piece.length == 0 || piece.address > UINT64_MAX - piece.length) return "a piece is empty or too long";
  }
  return nullptr;
}

// Why the fields of a record do not fit its kind, or null.
const char* InvalidFields(const Record& record) {
  const Rule& rule = kRules[size_t(record.kind)];
  if ((record.flags & ~rule.flags) != 0) return "a record has flags that its kind does not know";
  if (record.status != Code::kOk && !rule.status) return "a record has a status that its kind does not know";
  if (record.status == Code::kOk && rule.failed) return "an operation was canceled with the status OK";
  if (record.status == Code::kNoResource) return "a record says NO_RESOURCE, which is no status for a peer";
  switch (record.kind) {
    case Kind::kLane: {
      const bool named = (record.flags & kFlagReady) == 0;
      const uint32_t queue_pair = WordAt(record, kLaneQueuePairAt), packet = WordAt(record, kLanePacketAt);
      if (((queue_pair | packet) >> kQueuePairBits) != 0) return "a lane's numbers have more than 24 bits";
      return named || (queue_pair | packet) == 0 ? nullptr : "a lane that is ready names numbers again";
    }
    case Kind::kRead:
    case Kind::kWrite:
    case Kind::kAtomic: {
      const Ask ask = AskOf(record);
      if (ask.length == 0 || ask.offset > UINT64_MAX - ask.length) {
        return "an operation is empty, or ends beyond 2^64";
      }
      if (record.kind != Kind::kAtomic) return nullptr;
      const uint8_t kind = record.bytes[kAtomicKindAt];
      if (kind != uint8_t(AtomicOperation::kCompareAndSwap) &&
          kind != uint8_t(AtomicOperation::kFetchAndAdd)) {
        return "an atomic asks for a step that does not exist";
      }
      return AllZero(record.bytes.subspan(kAtomicKindAt + 1)) ? nullptr : "an atomic has reserved bytes set";
    }
    case Kind::kGrant:
    case Kind::kKeep:
      return InvalidPieces(record);
    default:
      return nullptr;
  }
}

}  // namespace

size_t RecordBytes(ConstBytes bytes) {
  if (bytes.size() < kRecordHeadBytes || bytes[kKindAt] == 0 || bytes[kKindAt] > kKindLast) return 0;
  const Kind kind = Kind(bytes[kKindAt]);
  const size_t fixed = kRules[size_t(kind)].bytes;
  if (kind == Kind::kFrame) {
    const uint32_t length = LoadLittle<uint32_t>(bytes.data() + kNumberAt);
    return length == 0 || length > kFrameBytesMax ? 0 : fixed + length;
  }
  if (!HasPieces(kind)) return fixed;
  if (bytes.size() < fixed) return 0;
  const uint32_t pieces = LoadLittle<uint32_t>(bytes.data() + kGrantPiecesAt);
  return pieces == 0 || pieces > kPiecesMax ? 0 : fixed + pieces * kPieceBytes;
}

void EncodeGreeting(Code status, uint8_t* out) {
  std::memset(out, 0, kGreetingBytes);
  std::memcpy(out + kGreetingMagicAt, kMagic.data(), kMagic.size());
  StoreLittle(out + kGreetingVersionAt, kWireVersion);
  StoreLittle(out + kGreetingStatusAt, uint16_t(status));
}

Status DecodeGreeting(ConstBytes bytes) {
  // The connection manager pads: there may be more, which is not looked at.
  if (bytes.size() < kGreetingBytes ||
      std::memcmp(bytes.data() + kGreetingMagicAt, kMagic.data(), kMagic.size()) != 0) {
    return Status::Violation("record",
                             "a greeting without the magic bytes: the peer does not speak splitplane");
  }
  const uint16_t version = LoadLittle<uint16_t>(bytes.data() + kGreetingVersionAt);
  if (version != kWireVersion) {
    return Status::Error(Code::kVersionUnsupported, "connect",
                         "the peer speaks version " + std::to_string(version) +
                             " of the RDMA wire, this side " + std::to_string(kWireVersion) +
                             ": update the older one");
  }
  if (!AllZero(bytes.subspan(kGreetingReservedAt, kGreetingBytes - kGreetingReservedAt))) {
    return Status::Violation("record", "a greeting has reserved bytes that are not zero");
  }
  const Code status = CodeFromWire(LoadLittle<uint16_t>(bytes.data() + kGreetingStatusAt));
  if (status == Code::kOk) return {};
  switch (status) {
    case Code::kLimitExceeded:
      return Status::Error(status, "connect",
                           "the peer has as many connections as it accepts: try again later");
    case Code::kOutOfMemory:
      return Status::Error(status, "connect",
                           "the peer has no memory for another connection, or its limit of locked memory "
                           "(RLIMIT_MEMLOCK, ulimit -l) is too low");
    default:
      return Status::Error(status, "connect", "the peer refused the connection");
  }
}

size_t EncodeHead(Kind kind, uint8_t flags, Code status, uint32_t number, uint8_t* out) {
  out[kKindAt] = uint8_t(kind);
  out[kFlagsAt] = flags;
  StoreLittle(out + kStatusAt, uint16_t(status));
  StoreLittle(out + kNumberAt, number);
  return kRecordHeadBytes;
}

size_t EncodeLane(uint32_t epoch, uint32_t queue_pair, uint32_t packet, uint8_t* out) {
  EncodeHead(Kind::kLane, queue_pair == 0 ? kFlagReady : 0, Code::kOk, epoch, out);
  StoreLittle(out + kLaneQueuePairAt, queue_pair);
  StoreLittle(out + kLanePacketAt, packet);
  return kLaneBytes;
}

size_t EncodeAsk(Kind kind, uint8_t flags, uint32_t number, const Ask& ask, uint8_t* out) {
  EncodeHead(kind, flags, Code::kOk, number, out);
  StoreLittle(out + kAskOperationAt, ask.operation);
  StoreLittle(out + kAskOffsetAt, ask.offset);
  StoreLittle(out + kAskLengthAt, ask.length);
  std::memcpy(out + kAskTagAt, ask.tag.bytes.data(), Tag::kSize);
  return kAskBytes;
}

size_t EncodeAtomic(uint32_t number, const Ask& ask, const AtomicRequest& request, uint8_t* out) {
  EncodeAsk(Kind::kAtomic, 0, number, ask, out);
  StoreLittle(out + kAtomicOperandAt, request.operand);
  StoreLittle(out + kAtomicCompareAt, request.compare);
  std::memset(out + kAtomicKindAt, 0, kAtomicBytes - kAtomicKindAt);
  out[kAtomicKindAt] = uint8_t(request.operation);
  return kAtomicBytes;
}

size_t EncodeGrant(Kind kind, uint8_t flags, uint32_t number, uint32_t word, uint32_t pieces, uint8_t* out) {
  EncodeHead(kind, flags, Code::kOk, number, out);
  StoreLittle(out + kGrantWordAt, word);
  StoreLittle(out + kGrantPiecesAt, pieces);
  return kGrantBytes;
}

void EncodePiece(const Piece& piece, uint8_t* out) {
  StoreLittle(out + kPieceAddressAt, piece.address);
  StoreLittle(out + kPieceLengthAt, piece.length);
  StoreLittle(out + kPieceKeyAt, piece.key);
}

size_t EncodeSpan(Kind kind, uint32_t number, uint32_t span, uint32_t crc, uint8_t* out) {
  EncodeHead(kind, 0, Code::kOk, number, out);
  StoreLittle(out + kSpanIndexAt, span);
  StoreLittle(out + kSpanCrcAt, crc);
  return kSpanRecordBytes;
}

size_t EncodeValue(Code status, uint32_t number, uint64_t value, uint8_t* out) {
  EncodeHead(Kind::kValue, 0, status, number, out);
  StoreLittle(out + kValueAt, value);
  return kValueBytes;
}

void SealPacket(Bytes packet, uint16_t credits) {
  StoreLittle(packet.data() + kPacketCreditsAt, credits);
  StoreLittle(packet.data() + kPacketReservedAt, uint16_t(0));
  StoreLittle(packet.data() + kPacketCrcAt, PacketCrc(packet));
}

Status OpenPacket(ConstBytes packet, uint16_t& credits, ConstBytes& records) {
  if (packet.size() < kPacketHeadBytes) return Status::Violation("record", "a packet is cut short");
  if (LoadLittle<uint32_t>(packet.data() + kPacketCrcAt) != PacketCrc(packet)) {
    return Status::Violation("record", "a packet does not match its checksum");
  }
  if (LoadLittle<uint16_t>(packet.data() + kPacketReservedAt) != 0) {
    return Status::Violation("record", "a packet has reserved bytes that are not zero");
  }
  credits = LoadLittle<uint16_t>(packet.data() + kPacketCreditsAt);
  records = packet.subspan(kPacketHeadBytes);
  return credits == 0 && records.empty() ? Status::Violation("record", "a packet is empty") : Status();
}

Status TakeRecord(ConstBytes& rest, Record& out) {
  const size_t length = RecordBytes(rest);
  if (length == 0)
    return Status::Violation("record", "a record is of no known kind, or of an impossible length");
  if (length > rest.size()) return Status::Violation("record", "a record is cut short");
  out.bytes = rest.first(length);
  out.kind = Kind(rest[kKindAt]);
  out.flags = rest[kFlagsAt];
  out.status = CodeFromWire(LoadLittle<uint16_t>(rest.data() + kStatusAt));
  out.number = LoadLittle<uint32_t>(rest.data() + kNumberAt);
  rest = rest.subspan(length);
  const char* reason = InvalidFields(out);
  return reason ? Status::Violation("record", reason) : Status();
}

Ask AskOf(const Record& record) {
  Ask ask;
  ask.operation = LoadLittle<uint64_t>(record.bytes.data() + kAskOperationAt);
  ask.offset = LoadLittle<uint64_t>(record.bytes.data() + kAskOffsetAt);
  ask.length = LoadLittle<uint64_t>(record.bytes.data() + kAskLengthAt);
  ask.tag = Tag::From(record.bytes.subspan(kAskTagAt, Tag::kSize));
  return ask;
}

AtomicRequest AtomicOf(const Record& record) {
  AtomicRequest request;
  request.operation = AtomicOperation(record.bytes[kAtomicKindAt]);
  request.operand = LoadLittle<uint64_t>(record.bytes.data() + kAtomicOperandAt);
  request.compare = LoadLittle<uint64_t>(record.bytes.data() + kAtomicCompareAt);
  return request;
}

uint32_t PieceCount(const Record& record) { return WordAt(record, kGrantPiecesAt); }

Piece PieceOf(const Record& record, uint32_t index) {
  const uint8_t* at = record.bytes.data() + kGrantBytes + size_t(index) * kPieceBytes;
  return {LoadLittle<uint64_t>(at + kPieceAddressAt), LoadLittle<uint32_t>(at + kPieceLengthAt),
          LoadLittle<uint32_t>(at + kPieceKeyAt)};
}

}  // namespace splitplane::rdma
