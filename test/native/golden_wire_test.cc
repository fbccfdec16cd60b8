// The wire, byte for byte: what the encoders make of fixed input is what docs/WIRE_PROTOCOL.md shows, and
// what the document shows is what the decoders take. Document and code cannot drift apart.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "native/base/crc32c.h"
#include "native/protocol/hello.h"
#include "native/rdma/message.h"
#include "native/tcp/record.h"

namespace splitplane {
namespace {

using Golden = std::vector<uint8_t>;

// Blocks that begin with ```hex NAME, without what follows a # on a line.
std::map<std::string, Golden> ReadDocument() {
  const std::string here = __FILE__;
  const std::string root = here.substr(0, here.rfind("test/native/"));
  std::ifstream document(root + "docs/WIRE_PROTOCOL.md");
  EXPECT_TRUE(document.is_open());
  std::map<std::string, Golden> blocks;
  std::string line, name;
  const std::string fence = "```hex ";
  while (std::getline(document, line)) {
    if (line.rfind(fence, 0) == 0) {
      name = line.substr(fence.size());
      EXPECT_EQ(blocks.count(name), 0u) << name;
      blocks[name] = {};
    } else if (line.rfind("```", 0) == 0) {
      name.clear();
    } else if (!name.empty()) {
      std::istringstream bytes(line.substr(0, line.find('#')));
      for (std::string byte; bytes >> byte;) blocks[name].push_back(uint8_t(std::stoul(byte, nullptr, 16)));
    }
  }
  return blocks;
}

std::string Hex(const Golden& bytes) {
  std::string text;
  for (uint8_t byte : bytes) {
    char hex[4];
    std::snprintf(hex, sizeof(hex), "%02x ", byte);
    text += hex;
  }
  return text;
}

// Bytes that count up from `first`.
template <size_t N>
std::array<uint8_t, N> Counting(uint8_t first) {
  std::array<uint8_t, N> bytes;
  for (size_t i = 0; i < N; i++) bytes[i] = uint8_t(first + i);
  return bytes;
}

Tag GoldenTag() {
  Tag tag;
  tag.bytes = Counting<Tag::kSize>(0x40);
  return tag;
}

template <typename Head>
Golden Sealed(Head head, FrameType type, uint64_t acknowledged, ConstBytes rest = {}) {
  SealFrame(head, type, acknowledged, rest);
  Golden frame(head.begin(), head.end());
  frame.insert(frame.end(), rest.begin(), rest.end());
  return frame;
}

Hello GoldenHello() {
  Hello hello;
  hello.message_bytes_max = 1 << 20;
  hello.window_messages = 1024;
  hello.window_bytes = 8 << 20;
  hello.node_id = Counting<16>(0x10);
  hello.identity = "alice";
  hello.credentials = {0xc0, 0xc1, 0xc2};
  hello.encodings = {"fastinfoset", "xml"};
  return hello;
}

Golden GoldenWelcome() {
  Hello hello = GoldenHello();
  hello.node_id = Counting<16>(0x20);
  hello.session = Counting<16>(0x30);
  hello.secret = Counting<16>(0x50);
  hello.epoch = 1;
  hello.identity = "bob";
  hello.credentials.clear();
  hello.encodings = {"xml"};
  return EncodeHello(FrameType::kWelcome, hello, 6);
}

// An envelope of four bytes, one attachment by reference and one inline.
Golden GoldenMessage() {
  const Golden content = {0,   0,   0,   0,   0,    0,   0,        // by reference, no grant
                          0,   1,   0,   0,   0,    2,   0, 0, 0,  // inline, two bytes
                          '<', 'e', '/', '>', 0xaa, 0xbb};
  MessageHead head;
  head.sequence = 7;
  head.message = 5;
  head.total = uint32_t(content.size());
  head.envelope_bytes = 4;
  head.deadline_ms = 1500;
  head.attachment_count = 2;
  return Sealed(EncodeMessageHead(head), FrameType::kMessage, 3, content);
}

// Two messages, and an empty one between them.
Golden GoldenBatch() {
  const Golden content = {2, 0, 0, 0, 3, 0, 0xaa, 0xbb, 0xc0, 0xc1, 0xc2};
  MessageHead head;
  head.sequence = 8;
  head.message = 6;
  head.total = uint32_t(content.size());
  head.batch_count = 3;
  return Sealed(EncodeBatchHead(head), FrameType::kBatch, 3, content);
}

Golden GoldenRecord(const tcp::Record& record, const Golden& payload = {}) {
  Golden bytes(tcp::RecordBytes(uint8_t(record.kind)));
  tcp::EncodeRecord(record, bytes.data());
  if (!record.has_payload()) return bytes;
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  uint8_t trailer[tcp::kTrailerBytes];
  tcp::EncodeTrailer(trailer, true, Crc32c(0, payload.data(), payload.size()), Code::kOk);
  bytes.insert(bytes.end(), trailer, trailer + sizeof(trailer));
  return bytes;
}

std::map<std::string, Golden> MakeFrames() {
  std::map<std::string, Golden> frames;
  frames["hello"] = EncodeHello(FrameType::kHello, GoldenHello(), 0);
  frames["welcome"] = GoldenWelcome();
  frames["start"] = Sealed(EncodeStart(Counting<16>(0x60)), FrameType::kStart, 2);
  frames["reject"] = EncodeReject(Code::kSessionExpired, "gone", 0);
  frames["message"] = GoldenMessage();
  frames["batch"] = GoldenBatch();
  frames["ack"] = Sealed(EncodeAck(12, 3456), FrameType::kAck, 9);
  frames["cancel"] = Sealed(EncodeCancel(8, 5), FrameType::kCancel, 3);
  frames["release"] = Sealed(EncodeReleaseHead(9, 1), FrameType::kRelease, 3, GoldenTag().span());
  frames["ping"] = Sealed(std::array<uint8_t, kFrameHeadBytes>{}, FrameType::kPing, 3);
  frames["pong"] = Sealed(std::array<uint8_t, kFrameHeadBytes>{}, FrameType::kPong, 3);
  frames["close"] = Sealed(std::array<uint8_t, kFrameHeadBytes>{}, FrameType::kClose, 3);
  return frames;
}

std::map<std::string, Golden> MakeRecords() {
  using tcp::Kind;
  const Tag tag = GoldenTag();
  tcp::Join join;
  join.id = Counting<16>(0x70);
  join.secret = Counting<16>(0x80);
  join.channels = 1;
  const auto join_bytes = tcp::EncodeJoin(join);
  const auto atomic = tcp::EncodeAtomic(tag, {AtomicOperation::kCompareAndSwap, 2, 1});
  const uint8_t value[8] = {1};
  const uint8_t checked = tcp::kFlagChecksum;
  std::map<std::string, Golden> records;
  records["tcp-join"] = GoldenRecord({.kind = Kind::kJoin, .extension = join_bytes});
  records["tcp-joined"] = GoldenRecord({.kind = Kind::kJoined});
  records["tcp-frame"] =
      GoldenRecord({.kind = Kind::kFrame, .flags = checked, .length = 16}, MakeFrames()["ping"]);
  records["tcp-read"] = GoldenRecord({.kind = Kind::kRead,
                                      .flags = checked,
                                      .operation = 17,
                                      .offset = 4096,
                                      .length = 3,
                                      .extension = tag.span()});
  records["tcp-data"] =
      GoldenRecord({.kind = Kind::kData, .flags = checked, .operation = 17, .length = 3}, {0xd0, 0xd1, 0xd2});
  records["tcp-read-failed"] =
      GoldenRecord({.kind = Kind::kReadFailed, .status = Code::kTagExpired, .operation = 17});
  records["tcp-write"] = GoldenRecord({.kind = Kind::kWrite,
                                       .flags = uint8_t(checked | tcp::kFlagNotify),
                                       .operation = 18,
                                       .length = 3,
                                       .extension = tag.span()});
  records["tcp-write-data"] = GoldenRecord(
      {.kind = Kind::kWriteData, .flags = checked, .operation = 18, .length = 3}, {0xd0, 0xd1, 0xd2});
  records["tcp-write-done"] = GoldenRecord({.kind = Kind::kWriteDone, .operation = 18});
  records["tcp-atomic"] =
      GoldenRecord({.kind = Kind::kAtomic, .operation = 19, .offset = 8, .length = 8, .extension = atomic});
  records["tcp-atomic-done"] = GoldenRecord({.kind = Kind::kAtomicDone, .operation = 19, .extension = value});
  records["tcp-cancel"] = GoldenRecord({.kind = Kind::kCancel, .status = Code::kAborted, .operation = 17});
  records["tcp-goodbye"] = GoldenRecord({.kind = Kind::kGoodbye});
  return records;
}

// A record of RDMA: what `encode` writes.
template <typename Encode>
Golden RdmaRecord(Encode encode) {
  Golden bytes(rdma::kPacketBytes);
  bytes.resize(encode(bytes.data()));
  return bytes;
}

// `word` is a checksum or a number of what is kept, by kind.
Golden RdmaGrant(rdma::Kind kind, uint8_t flags, uint32_t word) {
  return RdmaRecord([&](uint8_t* out) {
    const size_t head = rdma::EncodeGrant(kind, flags, 17, word, 1, out);
    rdma::EncodePiece({0x7f0011223344, 3, 0x1234}, out + head);
    return head + rdma::kPieceBytes;
  });
}

Golden RdmaGreeting(Code status) {
  Golden bytes(rdma::kGreetingBytes);
  rdma::EncodeGreeting(status, bytes.data());
  return bytes;
}

// A ping in one piece, with three credits.
Golden RdmaPacket() {
  const Golden ping = MakeFrames()["ping"];
  Golden packet(rdma::kPacketHeadBytes + rdma::kRecordHeadBytes);
  rdma::EncodeHead(rdma::Kind::kFrame, 0, Code::kOk, uint32_t(ping.size()),
                   packet.data() + rdma::kPacketHeadBytes);
  packet.insert(packet.end(), ping.begin(), ping.end());
  rdma::SealPacket(packet, 3);
  return packet;
}

std::map<std::string, Golden> MakeRdmaRecords() {
  using rdma::Kind;
  const rdma::Ask ask{17, 4096, 3, GoldenTag()};
  const auto head = [](Kind kind, Code status, uint32_t number) {
    return RdmaRecord([=](uint8_t* out) { return rdma::EncodeHead(kind, 0, status, number, out); });
  };
  std::map<std::string, Golden> records;
  records["rdma-lane"] = RdmaRecord([](uint8_t* out) { return rdma::EncodeLane(1, 0x11, 0x123456, out); });
  records["rdma-lane-ready"] = RdmaRecord([](uint8_t* out) { return rdma::EncodeLane(1, 0, 0, out); });
  records["rdma-read"] = RdmaRecord(
      [&](uint8_t* out) { return rdma::EncodeAsk(Kind::kRead, rdma::kFlagChecksum, 17, ask, out); });
  records["rdma-write"] = RdmaRecord([&](uint8_t* out) {
    return rdma::EncodeAsk(Kind::kWrite, rdma::kFlagChecksum | rdma::kFlagNotify, 17, ask, out);
  });
  records["rdma-atomic"] = RdmaRecord([&](uint8_t* out) {
    return rdma::EncodeAtomic(19, {19, 8, 8, GoldenTag()}, {AtomicOperation::kCompareAndSwap, 2, 1}, out);
  });
  records["rdma-grant"] = RdmaGrant(Kind::kGrant, rdma::kFlagChecksum, 0xd0d1d2d3);
  records["rdma-checksum"] =
      RdmaRecord([](uint8_t* out) { return rdma::EncodeSpan(Kind::kChecksum, 17, 1, 0xd0d1d2d3, out); });
  records["rdma-done"] =
      RdmaRecord([](uint8_t* out) { return rdma::EncodeSpan(Kind::kDone, 17, 0, 0xd0d1d2d3, out); });
  records["rdma-ended"] = head(Kind::kEnded, Code::kTagExpired, 17);
  records["rdma-value"] = RdmaRecord([](uint8_t* out) { return rdma::EncodeValue(Code::kOk, 19, 1, out); });
  records["rdma-cancel"] = head(Kind::kCancel, Code::kAborted, 17);
  records["rdma-keep"] = RdmaGrant(Kind::kKeep, 0, 5);
  records["rdma-withdraw"] = head(Kind::kWithdraw, Code::kOk, 5);
  records["rdma-drop"] = head(Kind::kDrop, Code::kOk, 5);
  records["rdma-goodbye"] = head(Kind::kGoodbye, Code::kOk, 0);
  return records;
}

std::map<std::string, Golden> MakeRdma() {
  std::map<std::string, Golden> made = MakeRdmaRecords();
  made["rdma-greeting"] = RdmaGreeting(Code::kOk);
  made["rdma-refusal"] = RdmaGreeting(Code::kLimitExceeded);
  made["rdma-packet"] = RdmaPacket();
  return made;
}

TEST(GoldenWire, EncodersMakeWhatTheDocumentShows) {
  const std::map<std::string, Golden> document = ReadDocument();
  std::map<std::string, Golden> made = MakeFrames();
  made.merge(MakeRecords());
  made.merge(MakeRdma());
  for (const auto& [name, bytes] : made) {
    const auto shown = document.find(name);
    ASSERT_NE(shown, document.end()) << "the document does not show " << name << ": " << Hex(bytes);
    EXPECT_EQ(Hex(shown->second), Hex(bytes)) << name;
  }
  for (const auto& [name, bytes] : document) EXPECT_EQ(made.count(name), 1u) << "nothing makes " << name;
}

TEST(GoldenWire, DecodersTakeWhatTheDocumentShows) {
  const std::map<std::string, Golden> document = ReadDocument();
  for (const auto& [name, made] : MakeFrames()) {
    Frame frame;
    const Golden& bytes = document.at(name);
    ASSERT_TRUE(DecodeFrame(bytes, frame).ok()) << name;
    Hello hello;
    MessageHead head;
    ConstBytes part;
    if (name == "hello" || name == "welcome") {
      EXPECT_TRUE(DecodeHello(frame, hello).ok()) << name;
    }
    if (name == "message") {
      EXPECT_TRUE(DecodeMessageHead(frame, head, part).ok());
    }
    if (name == "batch") {
      ASSERT_TRUE(DecodeBatchHead(frame, head, part).ok());
      EXPECT_TRUE(CheckBatch(head.batch_count, part).ok());
    }
    if (name == "release") {
      EXPECT_TRUE(DecodeRelease(frame, part).ok());
    }
    if (name == "reject") {
      EXPECT_EQ(DecodeReject(frame).code(), Code::kSessionExpired);
    }
  }
  for (const auto& [name, made] : MakeRecords()) {
    const Golden& bytes = document.at(name);
    tcp::Record record;
    const size_t length = tcp::RecordBytes(bytes[0]);
    ASSERT_LE(length, bytes.size()) << name;
    EXPECT_TRUE(tcp::DecodeRecord({bytes.data(), length}, record).ok()) << name;
  }
}

TEST(GoldenWire, RdmaDecodersTakeWhatTheDocumentShows) {
  const std::map<std::string, Golden> document = ReadDocument();
  rdma::Record record;
  for (const auto& [name, made] : MakeRdmaRecords()) {
    ConstBytes rest = document.at(name);
    EXPECT_TRUE(rdma::TakeRecord(rest, record).ok()) << name;
    EXPECT_TRUE(rest.empty()) << name;
  }
  EXPECT_TRUE(rdma::DecodeGreeting(document.at("rdma-greeting")).ok());
  EXPECT_EQ(rdma::DecodeGreeting(document.at("rdma-refusal")).code(), Code::kLimitExceeded);
  uint16_t credits = 0;
  ConstBytes records;
  ASSERT_TRUE(rdma::OpenPacket(document.at("rdma-packet"), credits, records).ok());
  EXPECT_EQ(credits, 3);
  ASSERT_TRUE(rdma::TakeRecord(records, record).ok());
  EXPECT_EQ(record.kind, rdma::Kind::kFrame);
}

TEST(GoldenWire, TheTableOfCodesIsTheOneThatTravels) {
  const std::string here = __FILE__;
  std::ifstream document(here.substr(0, here.rfind("test/native/")) + "docs/WIRE_PROTOCOL.md");
  std::stringstream text;
  text << document.rdbuf();
  for (uint16_t code = 0; code < uint16_t(Code::kCount); code++) {
    const std::string shown = std::to_string(code) + " `" + std::string(CodeName(Code(code))) + "`";
    EXPECT_NE(text.str().find(shown), std::string::npos) << shown;
  }
}

}  // namespace
}  // namespace splitplane
