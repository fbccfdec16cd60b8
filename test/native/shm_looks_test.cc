// What two sides say to each other of looks, when words come late or twice: which looks are one use, when
// memory is free again, and which slabs may go. One side is real; the peer keeps to the rules, by hand, so
// that each moment can be met.
#include "test/native/shm_hostile_fixture.h"

namespace splitplane::conformance {
namespace {

using ShmLooksTest = ShmHostileTest;

// Goal: a read has its own number wherever its owner hears of it, so that one driven again is no second use;
// any other look has one that no look of the session had, over whichever connection. Method: each of them
// over two connections; what the owner is told.
TEST_F(ShmLooksTest, LooksHaveNumbers) {
  constexpr uint64_t kOperation = 77, kLooks = uint64_t{1} << 63;
  std::vector<uint64_t> numbers;
  const auto took = [&] {
    Settle();
    shm::Take take;
    EXPECT_TRUE(raw_->Take(RecordKind::kTook, take));
    return take.number;
  };
  for (const bool side_dials : {false, true}) {
    Connect(side_dials);
    Loan loan = HandOver();
    loan.uses = 10;
    raw_->Put(RecordKind::kLoan, loan);
    Settle();
    const RemoteSlice remote{ConstBytes(loan.tag), 0, 100};
    std::vector<Slice> local{Whole(side_->Buffer(100))};
    ASSERT_TRUE(endpoint_->PostRead(kOperation, remote, local, {}).ok());
    EXPECT_EQ(took(), kOperation);
    EXPECT_TRUE(side_->completions.contains(kOperation));
    Result<BufferRef> view = endpoint_->View(remote);
    ASSERT_TRUE(view.ok());
    numbers.push_back(took());
    ASSERT_TRUE(endpoint_->ReadNow(remote, local));
    numbers.push_back(took());
    view->Reset();
    local.clear();
    End();
  }
  for (const uint64_t number : numbers) {
    EXPECT_GE(number, kLooks);
    EXPECT_EQ(std::count(numbers.begin(), numbers.end(), number), 1);
  }
}

// Goal: memory is free when nobody looks any more, also if the last look was in vain, at a loan that had
// ended long before, and was seen by the end of the next loan of the same place. Method: step by step what a
// peer does that has not heard of the first end.
TEST_F(ShmLooksTest, ALateLookAtAPlaceThatWasGivenAgain) {
  Connect(false);
  const Loan first = Lend();
  side_->tags.Revoke(kept_[0]);
  const Loan second = Lend();
  ASSERT_EQ(first.place, second.place);
  std::atomic<uint32_t>& looking = raw_->own->looking(first.place);
  looking.fetch_add(1);
  EXPECT_NE(raw_->peer->standing(first.place).load(), first.standing);
  side_->tags.Revoke(kept_[1]);
  EXPECT_EQ(side_->pool.stats().buffer_count, 1u);
  looking.fetch_sub(1);
  shm::Take take = TakeOf(first, 1);
  take.over = 1;
  raw_->Put(RecordKind::kTook, take);
  Settle();
  EXPECT_EQ(side_->pool.stats().buffer_count, 0u);
  // What is lent there meanwhile is not touched by another one like it.
  const Loan third = Lend();
  ASSERT_EQ(first.place, third.place);
  raw_->Put(RecordKind::kTook, take);
  ExpectAlive();
  EXPECT_EQ(side_->pool.stats().buffer_count, 1u);
  EXPECT_EQ(raw_->peer->standing(third.place).load(), third.standing);
  End();
}

// Goal: a slab may go that nobody lent anything in: the end of it may be read before it comes itself. Method:
// records are looked at, and the socket is not, as in a round that has just asked the kernel.
TEST_F(ShmLooksTest, ASlabThatGoesAtOnce) {
  Connect(true);
  Settle();
  ASSERT_TRUE(side_->transport->Arm());
  const MonotonicNs asked = NowNs();
  side_->transport->Poll(*side_, asked, side_->budget);
  const Loan loan = HandOver();
  raw_->Put(RecordKind::kSlabGone, Number{loan.slab});
  side_->transport->Poll(*side_, asked, side_->budget);
  ExpectAlive();
  End();
}

// Goal: a view that outlives its connection is the owner's concern for as long as it is there, whatever the
// owner hands over, lends and takes back before it hears of the end. Method: it does.
TEST_F(ShmLooksTest, ASlabThatComesTooLate) {
  Connect(false);
  const Loan loan = HandOver();
  raw_->Put(RecordKind::kLoan, loan);
  Settle();
  Result<BufferRef> view = endpoint_->View({ConstBytes(loan.tag), 0, 100});
  ASSERT_TRUE(view.ok());
  endpoint_->Close(Status::Error(Code::kPeerUnresponsive, "test", "silent"));
  Settle();
  ASSERT_TRUE(side_->closed.contains(endpoint_.get()));
  raw_->Put(RecordKind::kLoan, HandOver(2));
  raw_->Put(RecordKind::kSlabGone, Number{2});
  Settle();
  EXPECT_FALSE(raw_->HungUp());
  view->Reset();
  Settle();
  shm::Take gave_back;
  EXPECT_TRUE(raw_->Take(RecordKind::kGaveBack, gave_back));
  EXPECT_EQ(gave_back.place, loan.place);
  EXPECT_TRUE(raw_->HungUp());
  side_->closed.clear();
  End();
}

}  // namespace
}  // namespace splitplane::conformance
