// What goes wrong without anybody's fault: a process that has no descriptors or no address space left for
// what it is handed. Connections live on, and whoever reads and writes does not notice. Two real sides where
// that is enough, and a peer that speaks by hand where a moment has to be met.
#include <sys/resource.h>

#include <algorithm>
#include <map>

#include "test/native/shm_hostile_fixture.h"
#include "test/native/shm_loans_fixture.h"

namespace splitplane::conformance {
namespace {

// More than a process can map, and no more than a file can have.
constexpr uint64_t kUnmappableBytes = uint64_t{1} << 47;

// No descriptor is to be had while this lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_;
};

class ShmFaultsTest : public ShmLoansTest {
 protected:
  bool CanView(const Tag& tag) { return View(tag, 0, 1).ok(); }
};

// Goal: a slab for which there is no descriptor harms nobody: what is looked at stays as it is, what is in
// that slab is read and written by the ring, and the slabs after it are as good as ever. Method: no
// descriptor is left while one is handed over.
TEST_P(ShmFaultsTest, ASlabForWhichThereIsNoDescriptor) {
  BufferRef first = Lendable(100'000, 5), second = Lendable(8 * kMiB, 6);
  BufferRef view = MustView(Lend(first), 0, 100'000);
  Tag of_second;
  {
    const NoDescriptors none;
    of_second = Lend(second, 1);
  }
  EXPECT_FALSE(CanView(of_second));
  const BufferRef into = client.Buffer(8 * kMiB);
  EXPECT_TRUE(End(Read(of_second, 0, {Whole(into)})).status.ok());
  EXPECT_TRUE(Contents(into) == PatternBytes(6, 0, 8 * kMiB));
  // The owner writes out of it, by a tag with one use.
  const BufferRef target = client.Buffer(kMiB);
  const Tag to_target = client.Export(Access::kWrite, {Whole(target)}, 1);
  ASSERT_TRUE(remote->PostWrite(1, {{second, 0, kMiB}}, {to_target.span(), 0, kMiB}, {.notify = true}).ok());
  ASSERT_TRUE(Run([&] { return server.completions.contains(1) && !client.notified.empty(); }));
  EXPECT_TRUE(server.completions[1].status.ok()) << server.completions[1].status.ToString();
  EXPECT_TRUE(Contents(target) == PatternBytes(6, 0, kMiB));
  EXPECT_TRUE(Contents(view) == PatternBytes(5, 0, 100'000));
  // The slab goes, and another comes.
  server.tags.RevokeAll();
  second.Reset();
  server.pool.EndAudience(kClientSession);
  Hear();
  EXPECT_EQ(server.pool.stats().buffer_count, 1u);
  EXPECT_TRUE(CanView(Lend(Lendable(8 * kMiB, 7))));
  first.Reset();
  view.Reset();
}

INSTANTIATE_TEST_SUITE_P(Faults, ShmFaultsTest, testing::ValuesIn(ShmKinds()),
                         [](const testing::TestParamInfo<Kind>& kind) { return kind.param.name; });

class ShmFaultsRawTest : public ShmHostileTest {
 protected:
  // A slab that the side cannot map, and a loan in it.
  Loan HandOverTooMuch() {
    const Fd memory = RawPeer::Memory(kUnmappableBytes, RawPeer::kKeepsSize);
    raw_->SendSlab(1, kUnmappableBytes, memory.get());
    Loan loan{.place = 3, .slab = 1, .uses = 1, .offset = kUnmappableBytes / 2, .length = 4096};
    loan.tag.fill(1);
    return loan;
  }
  void PutWriteData(uint64_t number, uint32_t bytes) {
    uint8_t* at = raw_->out->Begin(RecordKind::kWriteData, uint32_t(sizeof(number)) + bytes);
    ASSERT_NE(at, nullptr);
    std::memcpy(at, &number, sizeof(number));
    std::memset(at + sizeof(number), 0, bytes);
    raw_->out->Commit();
  }
  // How many bytes of a write have come.
  uint64_t TakeWriteData(uint64_t number) {
    uint64_t bytes = 0;
    shm::RingReader::Record record;
    while (raw_->in->Next(record)) {
      uint64_t of = 0;
      std::memcpy(&of, record.body, sizeof(of));
      if (record.kind == RecordKind::kWriteData && of == number) bytes += record.body_bytes - sizeof(of);
      raw_->in->Advance();
      raw_->in->Publish();
    }
    return bytes;
  }
  Code AnswerToWrite() {
    Settle();
    Outcome outcome{.number = 0};
    EXPECT_TRUE(raw_->Take(RecordKind::kWriteDone, outcome));
    return Code(outcome.status);
  }
};

// Goal: a slab that cannot be mapped is as good as one that was never shown: its loans are not looked at, a
// write out of it is to be sent instead and was no use of the tag, and its number is free when it has gone.
TEST_F(ShmFaultsRawTest, ASlabForWhichThereIsNoRoom) {
  Connect(false);
  for (int i = 0; i < 2; i++) {
    const Loan loan = HandOverTooMuch();
    raw_->Put(RecordKind::kLoan, loan);
    ExpectAlive();
    EXPECT_TRUE(endpoint_->View({ConstBytes(loan.tag), 0, 100}).status().no_resource());
    target_ = side_->Filled(100, 4);
    const Tag tag = side_->Export(Access::kWrite, {Whole(target_)}, 1);
    const WriteLent asked{.request = {.number = 1, .length = 100, .tag = tag.bytes}, .slab = loan.slab};
    raw_->Put(RecordKind::kWriteLent, asked);
    EXPECT_EQ(AnswerToWrite(), shm::kCannotLook);
    EXPECT_EQ(raw_->peer->looking(asked.place).load(), 0u);
    raw_->Put(RecordKind::kWrite, asked.request);
    PutWriteData(1, 100);
    EXPECT_EQ(AnswerToWrite(), Code::kOk);
    EXPECT_TRUE(Contents(target_) == std::vector<uint8_t>(100, 0));
    raw_->Put(RecordKind::kSlabGone, Number{loan.slab});
    ExpectAlive();
  }
  End();
}

// Goal: a write whose owner cannot look is sent instead, once, and ends as its owner then says; one that was
// canceled meanwhile ends as canceled. The memory is free then.
TEST_F(ShmFaultsRawTest, AWriteThatIsNotLookedAtIsSent) {
  constexpr uint64_t kBytes = 100'000;
  Connect(true);
  const auto posts = [&](uint64_t number) {
    Result<BufferRef> from = side_->pool.Allocate(kBytes, kSession);
    ASSERT_TRUE(from.ok());
    const Tag tag;
    ASSERT_TRUE(endpoint_->PostWrite(number, {Whole(*from)}, {tag.span(), 0, kBytes}, {.notify = true}).ok());
    Settle();
    WriteLent asked;
    ASSERT_TRUE(raw_->Take(RecordKind::kWriteLent, asked));
    EXPECT_EQ(asked.request.number, number);
  };
  const auto answers = [&](uint64_t number, Code code) {
    raw_->Put(RecordKind::kWriteDone, Outcome{.number = number, .status = uint32_t(code)});
    Settle();
  };
  uint64_t number = 0;
  for (const Code last : {Code::kOk, shm::kCannotLook}) {
    posts(++number);
    answers(number, shm::kCannotLook);
    EXPECT_FALSE(side_->completions.contains(number));
    Request request;
    ASSERT_TRUE(raw_->Take(RecordKind::kWrite, request));
    EXPECT_EQ(request.number, number);
    EXPECT_EQ(request.length, kBytes);
    EXPECT_EQ(request.notify, 1u);
    EXPECT_EQ(TakeWriteData(number), kBytes);
    answers(number, last);
    ASSERT_TRUE(side_->completions.contains(number));
    EXPECT_EQ(side_->completions[number].status.code(), last);
  }
  posts(++number);
  endpoint_->Cancel(number);
  answers(number, shm::kCannotLook);
  ASSERT_TRUE(side_->completions.contains(number));
  EXPECT_EQ(side_->completions[number].status.code(), Code::kAborted);
  EXPECT_EQ(side_->pool.stats().buffer_count, 0u);
  ExpectAlive();
  End();
}

// Goal: a slab may go while what lies right behind it is copied from. Method: slabs until two are mapped next
// to each other; a write out of the beginning of one, and at once the end of the one below.
TEST_F(ShmFaultsRawTest, ASlabGoesRightBelowOneThatIsLookedAt) {
  constexpr uint32_t kSlabs = 64;
  Connect(false);
  std::map<const uint8_t*, Loan> slabs;
  for (uint32_t slab = 1; slab <= kSlabs; slab++) {
    const Loan loan = HandOver(slab);
    raw_->Put(RecordKind::kLoan, loan);
    ExpectAlive();
    Result<BufferRef> view = endpoint_->View({ConstBytes(loan.tag), 0, 1});
    ASSERT_TRUE(view.ok());
    slabs.emplace((*view)->region().data(), loan);
  }
  const auto below = std::find_if(slabs.begin(), slabs.end(),
                                  [&](const auto& slab) { return slabs.contains(slab.first + kSlabBytes); });
  ASSERT_NE(below, slabs.end());
  raw_->Put(RecordKind::kWriteLent, WriteOutOf(slabs.at(below->first + kSlabBytes)));
  raw_->Put(RecordKind::kSlabGone, Number{below->second.slab});
  EXPECT_EQ(AnswerToWrite(), Code::kOk);
  EXPECT_TRUE(endpoint_->View({ConstBytes(below->second.tag), 0, 1}).status().no_resource());
  ExpectAlive();
  End();
}

// Goal: who cannot be let in for want of descriptors is told to try again, or learns what is missing, and is
// taken for nobody bad. Method: none is left when the other one's greeting comes.
TEST_F(ShmFaultsRawTest, GreetingsForWhichThereIsNoDescriptor) {
  Start();
  Listen();
  raw_->Dial(listener_->address());
  // Who has slept asks for connections in the next round.
  ASSERT_TRUE(side_->transport->Arm());
  Settle();
  raw_->Greet();
  Greeting refusal;
  {
    const NoDescriptors none;
    ASSERT_TRUE(Until([&] {
      return shm::ReceivePacket(raw_->socket.get(), {reinterpret_cast<uint8_t*>(&refusal), sizeof(refusal)})
          .ok();
    }));
  }
  EXPECT_EQ(CodeFromWire(refusal.status), Code::kLimitExceeded);
  End();

  Start();
  Result<Address> address = ParseAddress(ShmKind().address());
  Result<Fd> door = shm::ListenOn(*address);
  ASSERT_TRUE(door.ok());
  auto connecting = side_->transport->Connect(address->ToString(), {});
  ASSERT_TRUE(connecting.ok());
  raw_->Accept(*door);
  raw_->Greet();
  {
    const NoDescriptors none;
    ASSERT_TRUE(Until([&] { return side_->closed.contains(connecting->get()); }));
  }
  EXPECT_EQ(side_->closed[connecting->get()].code(), Code::kLimitExceeded);
  connecting->reset();
  door->Reset();
  End();
}

}  // namespace
}  // namespace splitplane::conformance
