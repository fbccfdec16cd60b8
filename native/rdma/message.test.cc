// What a peer may send over RDMA is judged by itself: every record that is cut, has a flag, a status or a
// length that its kind does not know, and every packet with a changed bit, is refused with a sentence.
#include "native/rdma/message.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace splitplane::rdma {
namespace {

using Raw = std::vector<uint8_t>;

Tag AnyTag() {
  Tag tag;
  tag.bytes.fill(7);
  return tag;
}

// One good record of every kind but kFrame.
std::vector<Raw> GoodRecords() {
  std::vector<Raw> all;
  const auto add = [&](auto encode) {
    Raw& bytes = all.emplace_back(kPacketBytes);
    bytes.resize(encode(bytes.data()));
  };
  const auto add_head = [&](Kind kind, Code status) {
    add([=](uint8_t* out) { return EncodeHead(kind, 0, status, 9, out); });
  };
  const Ask ask{1, 2, 8, AnyTag()};
  add([](uint8_t* out) { return EncodeLane(1, 17, 99, out); });
  add([](uint8_t* out) { return EncodeLane(1, 0, 0, out); });
  add([&](uint8_t* out) { return EncodeAsk(Kind::kRead, kFlagChecksum | kFlagKeep, 9, ask, out); });
  add([&](uint8_t* out) { return EncodeAsk(Kind::kWrite, kFlagChecksum | kFlagNotify, 9, ask, out); });
  add([&](uint8_t* out) { return EncodeAtomic(9, ask, {AtomicOperation::kFetchAndAdd, 3, 4}, out); });
  for (const Kind kind : {Kind::kGrant, Kind::kKeep}) {
    add([=](uint8_t* out) {
      size_t length = EncodeGrant(kind, 0, 9, 0, kPiecesMax, out);
      for (uint32_t i = 0; i < kPiecesMax; i++, length += kPieceBytes) {
        EncodePiece({i * 4096, 4096, i}, out + length);
      }
      return length;
    });
  }
  add([](uint8_t* out) { return EncodeSpan(Kind::kChecksum, 9, 3, 0x12345678, out); });
  add([](uint8_t* out) { return EncodeSpan(Kind::kDone, 9, 3, 0x12345678, out); });
  add([](uint8_t* out) { return EncodeValue(Code::kTagUnknown, 9, 1, out); });
  add_head(Kind::kEnded, Code::kTagExpired);
  add_head(Kind::kEnded, Code::kOk);
  add_head(Kind::kCancel, Code::kAborted);
  add_head(Kind::kWithdraw, Code::kOk);
  add_head(Kind::kDrop, Code::kOk);
  add_head(Kind::kGoodbye, Code::kOk);
  return all;
}

Code Judge(const Raw& bytes) {
  ConstBytes rest = bytes;
  Record record;
  const Status status = TakeRecord(rest, record);
  EXPECT_TRUE(status.ok() || !status.detail().empty());
  return status.code();
}

// Goal: good records are taken whole, and cut ones are not. Method: every kind, cut at every byte.
TEST(RdmaRecordTest, AreTakenWholeOrNot) {
  for (const Raw& good : GoodRecords()) {
    EXPECT_EQ(Judge(good), Code::kOk) << int(good[kKindAt]);
    for (size_t length = 1; length < good.size(); length++) {
      EXPECT_EQ(Judge({good.begin(), good.begin() + ptrdiff_t(length)}), Code::kProtocolViolation)
          << int(good[kKindAt]) << " cut to " << length;
    }
  }
}

// Goal: what a kind does not know is refused. Method: set the highest flag, a status, a kind that is none.
TEST(RdmaRecordTest, FieldsAreJudgedByKind) {
  for (const Raw& good : GoodRecords()) {
    Raw bad = good;
    bad[kFlagsAt] |= 0x80;
    EXPECT_EQ(Judge(bad), Code::kProtocolViolation) << int(good[kKindAt]);
    bad = good;
    StoreLittle(bad.data() + kStatusAt, uint16_t(Code::kNoResource));
    EXPECT_EQ(Judge(bad), Code::kProtocolViolation) << int(good[kKindAt]);
    for (const uint8_t kind : {uint8_t(0), uint8_t(kKindLast + 1), uint8_t(255)}) {
      bad[kKindAt] = kind;
      EXPECT_EQ(Judge(bad), Code::kProtocolViolation);
    }
  }
}

// Goal: numbers that lie are refused before anything is done with them. Method: one of each.
TEST(RdmaRecordTest, NumbersAreJudged) {
  Raw ask(kPacketBytes);
  const auto judge_ask = [&](uint64_t offset, uint64_t length) {
    ask.resize(EncodeAsk(Kind::kRead, 0, 1, {1, offset, length, AnyTag()}, ask.data()));
    return Judge(ask);
  };
  EXPECT_EQ(judge_ask(0, 0), Code::kProtocolViolation);
  EXPECT_EQ(judge_ask(UINT64_MAX, 1), Code::kProtocolViolation);
  EXPECT_EQ(judge_ask(UINT64_MAX - 1, 1), Code::kOk);
  Raw grant(kPacketBytes);
  const auto judge_grant = [&](uint32_t pieces, Piece piece) {
    EncodePiece(piece, grant.data() + EncodeGrant(Kind::kGrant, 0, 1, 0, pieces, grant.data()));
    return Judge(grant);
  };
  EXPECT_EQ(judge_grant(1, {0, 1, 0}), Code::kOk);
  EXPECT_EQ(judge_grant(0, {0, 1, 0}), Code::kProtocolViolation);
  EXPECT_EQ(judge_grant(kPiecesMax + 1, {0, 1, 0}), Code::kProtocolViolation);
  EXPECT_EQ(judge_grant(UINT32_MAX, {0, 1, 0}), Code::kProtocolViolation);
  EXPECT_EQ(judge_grant(1, {0, 0, 0}), Code::kProtocolViolation);
  EXPECT_EQ(judge_grant(1, {UINT64_MAX, 1, 0}), Code::kProtocolViolation);
  Raw frame(kPacketBytes);
  for (const uint32_t length : {0u, kFrameBytesMax + 1, UINT32_MAX, uint32_t(kPacketBytes)}) {
    EncodeHead(Kind::kFrame, 0, Code::kOk, length, frame.data());
    EXPECT_EQ(Judge(frame), Code::kProtocolViolation) << length;
  }
  Raw lane(kPacketBytes);
  EncodeLane(1, 1 << 24, 0, lane.data());
  EXPECT_EQ(Judge(lane), Code::kProtocolViolation);
  Raw atomic(kPacketBytes);
  EncodeAtomic(1, {1, 0, 8, AnyTag()}, {AtomicOperation(9), 0, 0}, atomic.data());
  EXPECT_EQ(Judge(atomic), Code::kProtocolViolation);
}

// Goal: no changed bit of a packet passes. Method: every bit of one.
TEST(RdmaPacketTest, EveryBitIsCovered) {
  Raw packet(kPacketHeadBytes + kRecordHeadBytes);
  EncodeHead(Kind::kGoodbye, 0, Code::kOk, 0, packet.data() + kPacketHeadBytes);
  SealPacket(packet, 5);
  uint16_t credits = 0;
  ConstBytes records;
  ASSERT_TRUE(OpenPacket(packet, credits, records).ok());
  EXPECT_EQ(credits, 5);
  for (size_t bit = 0; bit < packet.size() * 8; bit++) {
    Raw changed = packet;
    changed[bit / 8] ^= uint8_t(1 << bit % 8);
    EXPECT_EQ(OpenPacket(changed, credits, records).code(), Code::kProtocolViolation) << bit;
  }
  for (size_t length = 0; length < packet.size(); length++) {
    EXPECT_FALSE(OpenPacket({packet.data(), length}, credits, records).ok()) << length;
  }
  Raw empty(kPacketHeadBytes);
  SealPacket(empty, 0);
  EXPECT_FALSE(OpenPacket(empty, credits, records).ok());
}

// Goal: strangers, other versions and refusals are told apart. Method: one of each.
TEST(RdmaGreetingTest, IsJudged) {
  Raw greeting(kGreetingBytes);
  EncodeGreeting(Code::kOk, greeting.data());
  EXPECT_TRUE(DecodeGreeting(greeting).ok());
  Raw padded = greeting;
  padded.resize(56, 0xff);
  EXPECT_TRUE(DecodeGreeting(padded).ok());
  EXPECT_EQ(DecodeGreeting({greeting.data(), kGreetingBytes - 1}).code(), Code::kProtocolViolation);
  Raw stranger = greeting;
  stranger[0] = 'X';
  EXPECT_EQ(DecodeGreeting(stranger).code(), Code::kProtocolViolation);
  Raw newer = greeting;
  newer[kGreetingVersionAt]++;
  EXPECT_EQ(DecodeGreeting(newer).code(), Code::kVersionUnsupported);
  Raw reserved = greeting;
  reserved[kGreetingReservedAt] = 1;
  EXPECT_EQ(DecodeGreeting(reserved).code(), Code::kProtocolViolation);
  EncodeGreeting(Code::kLimitExceeded, greeting.data());
  EXPECT_EQ(DecodeGreeting(greeting).code(), Code::kLimitExceeded);
}

}  // namespace
}  // namespace splitplane::rdma
