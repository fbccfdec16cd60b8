// A ring in which there is no room: what has to be said is said as soon as there is some. The peer speaks by
// hand, and reads when the test says so.
#include "test/native/shm_hostile_fixture.h"

namespace splitplane::conformance {
namespace {

constexpr uint64_t kHead = sizeof(shm::RecordHead);

class ShmFullRingTest : public ShmHostileTest {
 protected:
  uint64_t written() const { return raw_->peer->words().written.load(); }
  uint64_t room() const { return shm::kRingBytes - (written() - raw_->own->words().read.load()); }
  // A frame that takes so many bytes of the ring.
  void Fill(uint64_t bytes) {
    const std::vector<uint8_t> frame(bytes - kHead);
    ASSERT_TRUE(endpoint_->PostSend(std::vector<ConstBytes>{frame}).ok());
  }
  // Frames, until only so many bytes are left before the position that is `bytes` further.
  void FillUpTo(uint64_t bytes, uint64_t left) {
    constexpr uint64_t kMost = shm::kBodyBytesMax / 2;
    const uint64_t until = written() + bytes - left;
    while (written() < until && !HasFatalFailure()) {
      const uint64_t to_go = until - written();
      Fill(to_go > 2 * kMost ? kMost : to_go > kMost ? kMost / 2 : to_go);
    }
  }
};

// Goal: what has to be written while the side sleeps, and finds no room, is written when there is some.
// Method: between two calls of Arm a view is given back, as a program does, while the ring is full; then
// whoever makes room has to know that it is waited for.
TEST_F(ShmFullRingTest, NoRoomBetweenTwoArms) {
  Connect(false);
  const Loan loan = HandOver();
  raw_->Put(RecordKind::kLoan, loan);
  Settle();
  Result<BufferRef> view = endpoint_->View({ConstBytes(loan.tag), 0, 100});
  ASSERT_TRUE(view.ok());
  Settle();
  FillUpTo(room(), shm::kLastBytes);
  Settle();
  ASSERT_TRUE(side_->transport->Arm());
  EXPECT_EQ(raw_->peer->words().wants_room.load(), 0u);
  view->Reset();
  ASSERT_TRUE(side_->transport->Arm());
  EXPECT_NE(raw_->peer->words().wants_room.load(), 0u);
  // As whoever keeps to the rules: reads all there is, and rings.
  shm::Take gave_back;
  EXPECT_FALSE(raw_->Take(RecordKind::kGaveBack, gave_back));
  const shm::Packet bell;
  raw_->Send(&bell, sizeof(bell));
  EXPECT_TRUE(Until([&] { return raw_->Take(RecordKind::kGaveBack, gave_back); }));
  EXPECT_EQ(gave_back.place, loan.place);
  End();
}

// Goal: a side that is armed again and again without a round in between is woken each time, by one bell for
// each sleep. Method: its word for the peer, before and after.
TEST_F(ShmFullRingTest, EachArmIsASleepOfItsOwn) {
  Connect(false);
  Settle();
  ASSERT_TRUE(side_->transport->Arm());
  const uint32_t first = raw_->peer->words().sleep.load();
  EXPECT_EQ(first % 2, 1u);
  ASSERT_TRUE(side_->transport->Arm());
  EXPECT_EQ(raw_->peer->words().sleep.load(), first + 2);
  raw_->PutZeros(RecordKind::kFrame, 8);
  EXPECT_FALSE(side_->transport->Arm());
  EXPECT_EQ(raw_->peer->words().sleep.load() % 2, 0u);
  Settle();
  EXPECT_EQ(side_->frames.size(), 1u);
  End();
}

}  // namespace
}  // namespace splitplane::conformance
