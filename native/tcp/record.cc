// Encoding and judging of records. One table says which fields a kind may use; a field that is not used is
// zero.
#include "native/tcp/record.h"

#include <algorithm>
#include <cstring>

#include "native/base/check.h"
#include "native/base/crc32c.h"

namespace splitplane::tcp {
namespace {

struct Rule {
  uint8_t extension_bytes = 0;
  uint8_t flags = 0;  // that may be set
  bool status = false;
  bool operation = false;
  bool offset = false;
  uint64_t length_min = 0;
  uint64_t length_max = 0;
};

constexpr std::array<Rule, kKindLast + 1> MakeRules() {
  std::array<Rule, kKindLast + 1> rules{};
  const auto at = [&rules](Kind kind) -> Rule& { return rules[size_t(kind)]; };
  at(Kind::kJoin) = {.extension_bytes = kJoinExtensionBytes};
  at(Kind::kJoined) = {.status = true};
  at(Kind::kFrame) = {.flags = kFlagChecksum, .length_min = 1, .length_max = kFrameBytesMax};
  at(Kind::kGoodbye) = {};
  at(Kind::kRead) = {.extension_bytes = kTagExtensionBytes,
                     .flags = kFlagChecksum,
                     .operation = true,
                     .offset = true,
                     .length_min = 1,
                     .length_max = UINT64_MAX};
  at(Kind::kData) = {.flags = kFlagChecksum,
                     .operation = true,
                     .offset = true,
                     .length_min = 1,
                     .length_max = kPartBytesMax};
  at(Kind::kReadFailed) = {.status = true, .operation = true};
  at(Kind::kWrite) = at(Kind::kRead);
  at(Kind::kWrite).flags |= kFlagNotify;
  at(Kind::kWriteData) = at(Kind::kData);
  at(Kind::kWriteDone) = {.status = true, .operation = true};
  at(Kind::kAtomic) = {.extension_bytes = kAtomicExtensionBytes,
                       .operation = true,
                       .offset = true,
                       .length_min = sizeof(uint64_t),
                       .length_max = sizeof(uint64_t)};
  at(Kind::kAtomicDone) = {.extension_bytes = kValueExtensionBytes, .status = true, .operation = true};
  at(Kind::kCancel) = {.status = true, .operation = true};
  return rules;
}
constexpr std::array<Rule, kKindLast + 1> kRules = MakeRules();

constexpr uint8_t kZeros[8] = {};

bool AllZero(const uint8_t* bytes, size_t length) {
  return std::all_of(bytes, bytes + length, [](uint8_t byte) { return byte == 0; });
}

uint32_t HeadCrc(ConstBytes bytes) {
  uint32_t crc = Crc32c(0, bytes.data(), kHeadCrcAt);
  crc = Crc32c(crc, kZeros, sizeof(uint32_t));
  return Crc32c(crc, bytes.data() + kOperationAt, bytes.size() - kOperationAt);
}

// Why the fields of a record do not fit its kind, or null.
const char* InvalidFields(const Record& record, uint16_t wire_status) {
  const Rule& rule = kRules[size_t(record.kind)];
  if ((record.flags & ~rule.flags) != 0) return "a record has flags that its kind does not know";
  if (wire_status != 0 && !rule.status) return "a record has a status that its kind does not know";
  if (wire_status == uint16_t(Code::kNoResource))
    return "a record says NO_RESOURCE, which is no status for a peer";
  if (record.kind == Kind::kReadFailed && wire_status == 0) return "a read failed with the status OK";
  if (record.kind == Kind::kCancel && wire_status == 0) return "an operation was canceled with the status OK";
  if (record.operation != 0 && !rule.operation)
    return "a record has an operation that its kind does not know";
  if (record.offset != 0 && !rule.offset) return "a record has an offset that its kind does not know";
  if (record.length < rule.length_min || record.length > rule.length_max) {
    return "a record has a length outside of what its kind allows";
  }
  if (record.offset > UINT64_MAX - record.length) return "a record's range ends beyond 2^64";
  return nullptr;
}

const char* InvalidJoin(ConstBytes extension) {
  if (!AllZero(extension.data() + kJoinReservedAt, kJoinIdAt - kJoinReservedAt)) {
    return "a join has reserved bytes that are not zero";
  }
  const uint8_t channels = extension[kJoinChannelsAt];
  if (channels < 1 || channels > kDataChannelsMax)
    return "a join names a number of data sockets outside of 1 to 16";
  if (extension[kJoinIndexAt] > channels) return "a join has an index beyond its number of sockets";
  return nullptr;
}

const char* InvalidAtomic(ConstBytes extension) {
  if (!AllZero(extension.data() + kAtomicOperationAt + 1, 7))
    return "an atomic has reserved bytes that are not zero";
  const uint8_t operation = extension[kAtomicOperationAt];
  if (operation != uint8_t(AtomicOperation::kCompareAndSwap) &&
      operation != uint8_t(AtomicOperation::kFetchAndAdd)) {
    return "an atomic asks for an operation that does not exist";
  }
  return nullptr;
}

}  // namespace

size_t RecordBytes(uint8_t kind) {
  if (kind == 0 || kind > kKindLast) return 0;
  return kHeadBytes + kRules[kind].extension_bytes;
}

size_t EncodeRecord(const Record& record, uint8_t* out) {
  const size_t total = RecordBytes(uint8_t(record.kind));
  SPLITPLANE_CHECK(total == kHeadBytes + record.extension.size());
  out[kKindAt] = uint8_t(record.kind);
  out[kFlagsAt] = record.flags;
  StoreLittle(out + kStatusAt, uint16_t(record.status));
  StoreLittle(out + kOperationAt, record.operation);
  StoreLittle(out + kOffsetAt, record.offset);
  StoreLittle(out + kLengthAt, record.length);
  if (!record.extension.empty())
    std::memcpy(out + kHeadBytes, record.extension.data(), record.extension.size());
  StoreLittle(out + kHeadCrcAt, HeadCrc({out, total}));
  return total;
}

Status DecodeRecord(ConstBytes bytes, Record& out) {
  if (bytes.empty() || RecordBytes(bytes[0]) == 0)
    return Status::Violation("record", "a record is of no known kind");
  if (bytes.size() != RecordBytes(bytes[0])) return Status::Violation("record", "a record is cut short");
  out.kind = Kind(bytes[kKindAt]);
  out.extension = bytes.subspan(kHeadBytes);
  if (out.kind == Kind::kJoin) {
    // Before the checksum: only magic and version are sure to be where another version has them.
    if (std::memcmp(out.extension.data() + kJoinMagicAt, kMagic.data(), kMagic.size()) != 0) {
      return Status::Violation("record",
                               "a join without the magic bytes: the peer does not speak splitplane");
    }
    const uint16_t version = LoadLittle<uint16_t>(out.extension.data() + kJoinVersionAt);
    if (version != kWireVersion) {
      return Status::Error(Code::kVersionUnsupported, "join",
                           "the peer speaks version " + std::to_string(version) +
                               " of the TCP wire, this side " + std::to_string(kWireVersion) +
                               ": update the older one");
    }
  }
  if (LoadLittle<uint32_t>(bytes.data() + kHeadCrcAt) != HeadCrc(bytes)) {
    return Status::Violation("record", "the head of a record does not match its checksum");
  }
  const uint16_t status = LoadLittle<uint16_t>(bytes.data() + kStatusAt);
  out.flags = bytes[kFlagsAt];
  out.status = CodeFromWire(status);
  out.operation = LoadLittle<uint64_t>(bytes.data() + kOperationAt);
  out.offset = LoadLittle<uint64_t>(bytes.data() + kOffsetAt);
  out.length = LoadLittle<uint64_t>(bytes.data() + kLengthAt);
  const char* reason = InvalidFields(out, status);
  if (!reason && out.kind == Kind::kJoin) reason = InvalidJoin(out.extension);
  if (!reason && out.kind == Kind::kAtomic) reason = InvalidAtomic(out.extension);
  return reason ? Status::Violation("record", reason) : Status();
}

std::array<uint8_t, kJoinExtensionBytes> EncodeJoin(const Join& join) {
  std::array<uint8_t, kJoinExtensionBytes> out{};
  std::memcpy(out.data() + kJoinMagicAt, kMagic.data(), kMagic.size());
  StoreLittle(out.data() + kJoinVersionAt, kWireVersion);
  out[kJoinIndexAt] = join.index;
  out[kJoinChannelsAt] = join.channels;
  std::memcpy(out.data() + kJoinIdAt, join.id.data(), join.id.size());
  std::memcpy(out.data() + kJoinSecretAt, join.secret.data(), join.secret.size());
  return out;
}

Join DecodeJoin(ConstBytes extension) {
  Join join;
  join.index = extension[kJoinIndexAt];
  join.channels = extension[kJoinChannelsAt];
  std::memcpy(join.id.data(), extension.data() + kJoinIdAt, join.id.size());
  std::memcpy(join.secret.data(), extension.data() + kJoinSecretAt, join.secret.size());
  return join;
}

std::array<uint8_t, kAtomicExtensionBytes> EncodeAtomic(const Tag& tag, const AtomicRequest& request) {
  std::array<uint8_t, kAtomicExtensionBytes> out{};
  std::memcpy(out.data() + kTagAt, tag.bytes.data(), Tag::kSize);
  StoreLittle(out.data() + kAtomicOperandAt, request.operand);
  StoreLittle(out.data() + kAtomicCompareAt, request.compare);
  out[kAtomicOperationAt] = uint8_t(request.operation);
  return out;
}

AtomicRequest DecodeAtomic(ConstBytes extension) {
  return {.operation = AtomicOperation(extension[kAtomicOperationAt]),
          .operand = LoadLittle<uint64_t>(extension.data() + kAtomicOperandAt),
          .compare = LoadLittle<uint64_t>(extension.data() + kAtomicCompareAt)};
}

void EncodeTrailer(uint8_t* out, bool checksum, uint32_t payload_crc, Code status) {
  StoreLittle(out + kTrailerStatusAt, uint16_t(status));
  StoreLittle(out + kTrailerReservedAt, uint16_t(0));
  const uint32_t crc =
      checksum ? Crc32c(payload_crc, out + kTrailerStatusAt, kTrailerBytes - kTrailerStatusAt) : 0;
  StoreLittle(out + kTrailerCrcAt, crc);
}

Trailer DecodeTrailer(const uint8_t* bytes, bool checksum, uint32_t payload_crc) {
  Trailer trailer;
  const uint16_t status = LoadLittle<uint16_t>(bytes + kTrailerStatusAt);
  const uint32_t crc = LoadLittle<uint32_t>(bytes + kTrailerCrcAt);
  trailer.status = CodeFromWire(status);
  if (LoadLittle<uint16_t>(bytes + kTrailerReservedAt) != 0) {
    trailer.damage = Status::Violation("record", "a trailer has reserved bytes that are not zero");
  } else if (status == uint16_t(Code::kNoResource)) {
    trailer.damage = Status::Violation("record", "a trailer says NO_RESOURCE, which is no status for a peer");
  } else if (!checksum && crc != 0) {
    trailer.damage = Status::Violation("record", "a trailer has a checksum that nobody asked for");
  } else if (checksum && status == 0 &&
             crc != Crc32c(payload_crc, bytes + kTrailerStatusAt, kTrailerBytes - kTrailerStatusAt)) {
    trailer.damage =
        Status::Error(Code::kChecksumMismatch, "transfer",
                      "the bytes that arrived are not the bytes that were sent: transfer them again");
  }
  return trailer;
}

}  // namespace splitplane::tcp
