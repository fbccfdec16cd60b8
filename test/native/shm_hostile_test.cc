// A peer that speaks shared memory by hand and lies: about positions, lengths, numbers, memory and what it is
// owed. Whatever it says, the side under test ends that connection with a typed status, reads and writes
// nothing but its own memory, and keeps nothing of it. Each is tried on a side that listens and on one that
// dials.
#include <poll.h>

#include <thread>

#include "test/native/shm_hostile_fixture.h"

namespace splitplane::conformance {
namespace {

// Goal: who is not one of us is let go before anything of it is used, and told why where it could understand.
// Method: greetings of every wrong kind; the listener goes on to take the next.
TEST_F(ShmHostileTest, GreetingsThatAreNone) {
  Start();
  Listen();
  const Fd good = RawPeer::Memory(4096, RawPeer::kKeepsSize);
  const auto ends = [&](const char* what, const Greeting& greeting, size_t bytes, int descriptor,
                        std::optional<Code> told) {
    SCOPED_TRACE(what);
    RawPeer raw;
    raw.Dial(listener_->address());
    std::vector<uint8_t> packet(std::max(bytes, sizeof(greeting)));
    std::memcpy(packet.data(), &greeting, sizeof(greeting));
    raw.Send(packet.data(), bytes, descriptor);
    Greeting answer;
    Result<shm::Received> received = Status::NoResource();
    ASSERT_TRUE(Until([&] {
      received = shm::ReceivePacket(raw.socket.get(), {reinterpret_cast<uint8_t*>(&answer), sizeof(answer)});
      return received.ok() || !received.status().no_resource();
    }));
    ASSERT_TRUE(received.ok());
    ASSERT_EQ(received->bytes, told ? sizeof(answer) : 0u);
    if (told) {
      EXPECT_EQ(CodeFromWire(answer.status), *told);
      EXPECT_FALSE(received->descriptor.valid());
      EXPECT_TRUE(Until([&] { return raw.HungUp(); }));
    }
  };
  ends("no magic", {.magic = 1}, 16, good.get(), std::nullopt);
  ends("too short", {}, 15, good.get(), std::nullopt);
  ends("too long", {}, 17, good.get(), std::nullopt);
  ends("another version", {.version = shm::kVersion + 1}, 16, good.get(), Code::kVersionUnsupported);
  ends("another ring", {.ring_bytes = 4096}, 16, good.get(), Code::kVersionUnsupported);
  ends("no descriptor", {}, 16, -1, Code::kProtocolViolation);
  ends("a status", {.status = 1}, 16, good.get(), Code::kProtocolViolation);
  ends("a reserved field", {.reserved = 1}, 16, good.get(), Code::kProtocolViolation);
  ends("a short segment", {}, 16, good.get(), Code::kProtocolViolation);
  const uint64_t right_size = [] {
    Fd fd;
    EXPECT_TRUE(shm::Segment::Create(fd).ok());
    return uint64_t(lseek(fd.get(), 0, SEEK_END));
  }();
  const Fd unsealed = RawPeer::Memory(right_size, 0);
  ends("a segment that can shrink", {}, 16, unsealed.get(), Code::kProtocolViolation);
  const Fd longer = RawPeer::Memory(right_size + 4096, RawPeer::kKeepsSize);
  ends("a long segment", {}, 16, longer.get(), Code::kProtocolViolation);
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  ends("no memory at all", {}, 16, null.get(), Code::kProtocolViolation);
  RawPeer honest;
  honest.Dial(listener_->address());
  honest.Greet();
  ASSERT_TRUE(Until([&] { return side_->accepted.size() == 1; }));
  EXPECT_TRUE(side_->closed.empty());
}

// Goal: who is refused at the door hears why, although the other one had hung up before it could greet.
// Method: a listener on a thread of its own that refuses whoever comes; some of many greet too late.
TEST_F(ShmHostileTest, RefusalsBeforeTheGreeting) {
  constexpr int kDials = 300;
  Start();
  Result<Address> address = ParseAddress(ShmKind().address());
  Result<Fd> door = shm::ListenOn(*address);
  ASSERT_TRUE(door.ok());
  std::thread listener([&] {
    const shm::Greeting refusal{.status = uint16_t(Code::kLimitExceeded)};
    for (int i = 0; i < kDials; i++) {
      pollfd ready{door->get(), POLLIN, 0};
      poll(&ready, 1, -1);
      Fd guest(accept(door->get(), nullptr, nullptr));
      (void)shm::SendPacket(guest.get(), {reinterpret_cast<const uint8_t*>(&refusal), sizeof(refusal)});
    }
  });
  for (int i = 0; i < kDials; i++) {
    auto connecting = side_->transport->Connect(address->ToString(), {});
    EXPECT_TRUE(connecting.ok()) << connecting.status().ToString();
    if (!connecting.ok()) continue;
    EXPECT_TRUE(Until([&] { return side_->closed.contains(connecting->get()); }));
    EXPECT_EQ(side_->closed[connecting->get()].code(), Code::kLimitExceeded);
    side_->closed.clear();
  }
  listener.join();
  door->Reset();
  End();
}

// Goal: a listener whose greeting is wrong ends the dialer's connection with a typed status, also one that
// hangs up at once, without having read what the dialer said.
TEST_F(ShmHostileTest, AnswersThatAreNone) {
  const struct {
    const char* name;
    Greeting greeting;
    bool with_memory;
    Code code;
  } answers[] = {
      {"no magic", {.magic = 1}, true, Code::kVersionUnsupported},
      {"another version", {.version = shm::kVersion + 1}, true, Code::kVersionUnsupported},
      {"another ring", {.ring_bytes = 1}, true, Code::kVersionUnsupported},
      {"no descriptor", {}, false, Code::kProtocolViolation},
      {"a short segment", {}, true, Code::kProtocolViolation},
      {"too many", {.status = uint16_t(Code::kLimitExceeded)}, false, Code::kLimitExceeded},
      {"a status that is none", {.status = 60'000}, false, CodeFromWire(60'000)},
  };
  for (const bool hangs_up : {false, true}) {
    for (const auto& [name, greeting, with_memory, code] : answers) {
      SCOPED_TRACE(std::string(name) + (hangs_up ? ", and it hangs up" : ""));
      Start();
      Result<Address> address = ParseAddress(ShmKind().address());
      Result<Fd> door = shm::ListenOn(*address);
      ASSERT_TRUE(door.ok());
      auto connecting = side_->transport->Connect(address->ToString(), {});
      ASSERT_TRUE(connecting.ok()) << connecting.status().ToString();
      raw_->Accept(*door);
      Fd memory = RawPeer::Memory(4096, RawPeer::kKeepsSize);
      raw_->Send(&greeting, sizeof(greeting), with_memory ? memory.get() : -1);
      memory.Reset();
      if (hangs_up) raw_->socket.Reset();
      ASSERT_TRUE(Until([&] { return side_->closed.contains(connecting->get()); }));
      EXPECT_EQ(side_->closed.at(connecting->get()).code(), code);
      EXPECT_EQ(side_->connected, 0);
      connecting->reset();
      door->Reset();
      End();
    }
  }
}

// Goal: positions that cannot be end the connection. Method: every kind of them, in both words.
TEST_F(ShmHostileTest, Positions) {
  const auto written = [this](uint64_t lie) { raw_->own->words().written.store(lie); };
  Try("beyond the ring", [&] { written(shm::kRingBytes + 8); });
  Try("odd", [&] { written(12); });
  Try("as high as it goes", [&] { written(UINT64_MAX - 7); });
  Try("backwards", [&] {
    raw_->PutZeros(RecordKind::kFrame, 100);
    ASSERT_TRUE(Until([&] { return side_->frames.size() == 1; }));
    written(16);
  });
  Try("read what was never written", [&] {
    raw_->own->words().read.store(2 * shm::kRingBytes);
    // Nobody looks at that before there is no room left.
    while (endpoint_->PostSend(std::vector<ConstBytes>{ConstBytes(raw_->own->ring(), 60'000)}).ok()) continue;
  });
}

// Goal: heads and bodies that lie end the connection.
TEST_F(ShmHostileTest, Records) {
  const auto head = [this](shm::RecordHead lie, uint64_t written) {
    std::memcpy(raw_->own->ring(), &lie, sizeof(lie));
    raw_->own->words().written.store(written);
  };
  Try("longer than what is there", [&] { head({9, RecordKind::kFrame}, 16); });
  Try("longer than any", [&] { head({shm::kBodyBytesMax + 1, RecordKind::kFrame}, shm::kRingBytes); });
  Try("padding beyond the end", [&] { head({UINT32_MAX, RecordKind::kPad}, shm::kRingBytes); });
  for (const uint32_t kind : {0u, uint32_t(RecordKind::kWriteLent) + 1, 0x80000000u, UINT32_MAX}) {
    Try("no known kind", [&] { raw_->PutZeros(RecordKind(kind), 16); });
  }
  for (uint32_t kind = uint32_t(RecordKind::kLoan); kind <= uint32_t(RecordKind::kWriteLent); kind++) {
    SCOPED_TRACE(kind);
    Try("too short", [&] { raw_->PutZeros(RecordKind(kind), 7); });
    const bool bulk = RecordKind(kind) == RecordKind::kReadData || RecordKind(kind) == RecordKind::kWriteData;
    Try("too long", [&] { raw_->PutZeros(RecordKind(kind), bulk ? shm::kBodyBytesMax : 128); });
  }
}

// Goal: answers to nothing, bytes that nobody asked for, and operations beyond the rules end the connection.
TEST_F(ShmHostileTest, Operations) {
  const Outcome outcome{.number = 5};
  Try("a read is done", [&] { raw_->Put(RecordKind::kReadDone, outcome); });
  Try("a write is done", [&] { raw_->Put(RecordKind::kWriteDone, outcome); });
  Try("an atomic is done", [&] { raw_->Put(RecordKind::kAtomicDone, outcome); });
  Try("bytes of a read", [&] { raw_->PutZeros(RecordKind::kReadData, 100); });
  Try("bytes of a write", [&] { raw_->PutZeros(RecordKind::kWriteData, 100); });
  Try("too many bytes of a write", [&] {
    raw_->Put(RecordKind::kWrite, Request{.number = 0, .length = 10});
    raw_->PutZeros(RecordKind::kWriteData, 8 + 11);
  });
  Try("two of a number", [&] {
    raw_->Put(RecordKind::kWrite, Request{.number = 1, .length = 10});
    raw_->Put(RecordKind::kWrite, Request{.number = 1, .length = 10});
  });
  Try("too many at a time", [&] {
    for (uint32_t i = 0; i <= shm::kOperationsMax; i++) {
      raw_->Put(RecordKind::kWrite, Request{.number = i, .length = 10});
    }
  });
  Try("an atomic of no kind",
      [&] { raw_->Put(RecordKind::kAtomic, AtomicAsked{.request = {.length = 8}, .operation = 3}); });
  for (const RecordKind kind : {RecordKind::kRead, RecordKind::kWrite}) {
    Try(
        "before anybody knows who asks", [&] { raw_->Put(kind, Request{.number = 1, .length = 8}); }, false);
  }
}

// Goal: a write out of memory that was not lent for it, or beyond the rules, ends the connection, before
// anything is looked at.
TEST_F(ShmHostileTest, WritesOutOfLentMemory) {
  const auto writes = [&](const char* name, const std::function<void(WriteLent&)>& change) {
    Try(name, [&] {
      WriteLent asked = WriteOutOf(HandOver());
      change(asked);
      raw_->Put(RecordKind::kWriteLent, asked);
    });
  };
  writes("out of a slab that is not here", [](WriteLent& asked) { asked.slab = 2; });
  writes("from beyond the slab", [](WriteLent& asked) { asked.offset = kSlabBytes + 1; });
  writes("to beyond the slab", [](WriteLent& asked) { asked.offset = kSlabBytes - 99; });
  writes("around the end of all numbers", [](WriteLent& asked) { asked.offset = UINT64_MAX - 49; });
  writes("at no place", [](WriteLent& asked) { asked.place = shm::kLoansMax; });
  Try("more than may be under way", [&] {
    side_->budget = 1;  // a round ends one of them
    WriteLent asked = WriteOutOf(HandOver());
    for (uint32_t i = 0; i <= shm::kOperationsMax + 100; i++) {
      asked.request.number = i;
      raw_->Put(RecordKind::kWriteLent, asked);
    }
  });
  Try("a slab is gone that is being written out of", [&] {
    const Loan loan = HandOver();
    raw_->Put(RecordKind::kWriteLent, WriteOutOf(loan));
    raw_->Put(RecordKind::kSlabGone, Number{loan.slab});
  });
  Try(
      "before anybody knows who asks",
      [&] { raw_->Put(RecordKind::kWriteLent, WriteLent{.request = {.number = 1, .length = 8}}); }, false);
}

// Goal: what ends a write out of lent memory without harm to the connection: no right to the target, a loan
// that does not stand, and being canceled. Each is answered once, and nothing is written.
TEST_F(ShmHostileTest, WritesThatAreRefused) {
  Connect(false);
  const Loan loan = HandOver();
  const auto answer = [&](WriteLent asked, bool cancel) {
    raw_->Put(RecordKind::kWriteLent, asked);
    if (cancel) raw_->Put(RecordKind::kCancel, Number{asked.request.number});
    Settle();
    Outcome outcome{.number = 0, .status = 0};
    EXPECT_TRUE(raw_->Take(RecordKind::kWriteDone, outcome));
    EXPECT_EQ(outcome.number, asked.request.number);
    Outcome another;
    EXPECT_FALSE(raw_->Take(RecordKind::kWriteDone, another));
    EXPECT_EQ(raw_->peer->looking(asked.place).load(), 0u);
    return Code(outcome.status);
  };
  WriteLent good = WriteOutOf(loan);
  WriteLent unknown = good;
  unknown.request.tag[Tag::kSecretAt] ^= 1;
  EXPECT_EQ(answer(unknown, false), Code::kTagUnknown);
  WriteLent beyond = good;
  beyond.request.offset = 1;
  EXPECT_EQ(answer(beyond, false), Code::kTagBounds);
  WriteLent over = good;
  over.standing = 5;
  EXPECT_EQ(answer(over, false), Code::kTagRevoked);
  EXPECT_EQ(answer(good, true), Code::kAborted);
  EXPECT_TRUE(Contents(target_) == PatternBytes(4, 0, 100));
  EXPECT_EQ(answer(good, false), Code::kOk);
  EXPECT_TRUE(Contents(target_) == std::vector<uint8_t>(100, 0));
  ExpectAlive();
  End();
}

// Goal: what a read gets is what was asked for, and no byte more, however the owner answers.
TEST_F(ShmHostileTest, AnswersToARead) {
  BufferRef target;
  const auto read = [&] {
    target = side_->Filled(64, 3);
    Tag tag;
    ASSERT_TRUE(endpoint_->PostRead(9, {tag.span(), 0, 16}, {{target, 8, 16}}, {}).ok());
    Settle();
    Request request;
    ASSERT_TRUE(raw_->Take(RecordKind::kRead, request));
    ASSERT_EQ(request.number, 9u);
  };
  const auto ends = [&] {
    ASSERT_TRUE(Until([&] { return side_->completions.contains(9); }));
    EXPECT_EQ(side_->completions.at(9).status.code(), Code::kProtocolViolation);
    std::vector<uint8_t> around = Contents(target);
    around.erase(around.begin() + 8, around.begin() + 24);
    std::vector<uint8_t> expected = PatternBytes(3, 0, 64);
    expected.erase(expected.begin() + 8, expected.begin() + 24);
    EXPECT_TRUE(around == expected);
    target.Reset();
  };
  const auto data = [&](uint32_t bytes) {
    uint8_t* at = raw_->out->Begin(RecordKind::kReadData, 8 + bytes);
    const uint64_t number = 9;
    std::memcpy(at, &number, 8);
    std::memset(at + 8, 0xee, bytes);
    raw_->out->Commit();
  };
  Try("more than was asked for", [&] { read(), data(17), ends(); });
  Try("more, in two parts", [&] { read(), data(16), data(1), ends(); });
  Try("done too early",
      [&] { read(), data(15), raw_->Put(RecordKind::kReadDone, Outcome{.number = 9}), ends(); });
  Try("done as something else",
      [&] { read(), raw_->Put(RecordKind::kWriteDone, Outcome{.number = 9}), ends(); });
}

// Goal: loans that cannot be end the connection, before anything behind them is looked at.
TEST_F(ShmHostileTest, LoansThatCannotBe) {
  const auto lends = [&](const char* name, const std::function<void(Loan&)>& change) {
    Try(name, [&] {
      Loan loan = HandOver();
      change(loan);
      raw_->Put(RecordKind::kLoan, loan);
    });
  };
  lends("in a slab that is not here", [](Loan& loan) { loan.slab = 2; });
  lends("of nothing", [](Loan& loan) { loan.length = 0; });
  lends("longer than the slab", [](Loan& loan) { loan.length++; });
  lends("beyond the slab", [](Loan& loan) { loan.offset = 8; });
  lends("around the end of all numbers", [](Loan& loan) { loan.offset = UINT64_MAX - 7, loan.length = 16; });
  lends("for no use", [](Loan& loan) { loan.uses = 0; });
  lends("at no place", [](Loan& loan) { loan.place = shm::kLoansMax; });
  Try("told of twice", [&] {
    const Loan loan = HandOver();
    raw_->Put(RecordKind::kLoan, loan);
    raw_->Put(RecordKind::kLoan, loan);
  });
  Try("more than there are places", [&] {
    Loan loan = HandOver();
    for (uint32_t i = 0; i <= shm::kLoansMax; i++) {
      std::memcpy(loan.tag.data(), &i, sizeof(i));
      if (!raw_->out->Put(RecordKind::kLoan, loan)) {
        Settle();
        ASSERT_TRUE(raw_->out->Put(RecordKind::kLoan, loan));
      }
    }
  });
  Try("a slab is gone that never was", [&] { raw_->Put(RecordKind::kSlabGone, Number{1}); });
  Try("a slab is gone whose number is none", [&] {
    const Loan loan = HandOver();
    raw_->Put(RecordKind::kLoan, loan);
    raw_->Put(RecordKind::kSlabGone, Number{(uint64_t{1} << 32) + loan.slab});
  });
}

// Goal: memory that could be taken away under who looks at it is not mapped.
TEST_F(ShmHostileTest, SlabsThatCannotBe) {
  const auto hands = [&](const char* name, uint64_t bytes, const std::function<Fd()>& make) {
    Try(name, [&] {
      const Fd memory = make();
      raw_->SendSlab(1, bytes, memory.get());
    });
  };
  hands("nothing", kSlabBytes, [] { return Fd(); });
  hands("unsealed", kSlabBytes, [] { return RawPeer::Memory(kSlabBytes, 0); });
  hands("can shrink", kSlabBytes, [] { return RawPeer::Memory(kSlabBytes, F_SEAL_GROW); });
  hands("shorter than it says", kSlabBytes, [] { return RawPeer::Memory(4096, RawPeer::kKeepsSize); });
  hands("of no bytes", 0, [] { return RawPeer::Memory(0, RawPeer::kKeepsSize); });
  hands("a file", 4096, [] { return Fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)); });
  // Where there are no huge pages left, looking at it would end the process.
  hands("huge pages", 2 << 20,
        [] { return RawPeer::Memory(2 << 20, RawPeer::kKeepsSize, MFD_ALLOW_SEALING | MFD_HUGETLB); });
  Try("twice", [&] {
    HandOver();
    HandOver();
  });
  const auto sends = [&](const char* name, size_t bytes) {
    Try(name, [&] {
      const std::vector<uint8_t> packet(bytes, 1);
      raw_->Send(packet.data(), packet.size());
    });
  };
  sends("a short packet", 15);
  sends("a long packet", 17);
  Try("two descriptors", [&] {
    const int both[2] = {raw_->socket.get(), raw_->peer_segment.get()};
    shm::Packet packet{PacketKind::kSlab, 1, kSlabBytes};
    iovec bytes{&packet, sizeof(packet)};
    alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(both))] = {};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    *head = {.cmsg_len = CMSG_LEN(sizeof(both)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    std::memcpy(CMSG_DATA(head), both, sizeof(both));
    ASSERT_EQ(sendmsg(raw_->socket.get(), &message, 0), ssize_t(sizeof(packet)));
  });
}

// Goal: who looks at what it was not lent, or gives back what it did not take, is let go, and gets the owner
// to let go of nothing.
TEST_F(ShmHostileTest, Takes) {
  Try("of nothing", [&] { raw_->Put(RecordKind::kTook, Take{.number = 1, .length = 1}); });
  Try("at no place", [&] { raw_->Put(RecordKind::kTook, Take{.length = 1, .place = UINT32_MAX}); });
  Try("of the future", [&] {
    Take take = TakeOf(Lend(), 1);
    take.standing++;
    raw_->Put(RecordKind::kTook, take);
  });
  Try("of no bytes", [&] { raw_->Put(RecordKind::kTook, TakeOf(Lend(), 1, 0, 0)); });
  Try("too long", [&] { raw_->Put(RecordKind::kTook, TakeOf(Lend(), 1, 1, 4096)); });
  Try("around the end of all numbers",
      [&] { raw_->Put(RecordKind::kTook, TakeOf(Lend(), 1, UINT64_MAX, 2)); });
  Try("two of a number", [&] {
    const Take take = TakeOf(Lend(), 1);
    raw_->Put(RecordKind::kTook, take);
    raw_->Put(RecordKind::kTook, take);
  });
  Try("given back and never taken", [&] { raw_->Put(RecordKind::kGaveBack, TakeOf(Lend(), 1)); });
  Try("given back twice", [&] {
    const Take take = TakeOf(Lend(), 1);
    raw_->Put(RecordKind::kTook, take);
    raw_->Put(RecordKind::kGaveBack, take);
    raw_->Put(RecordKind::kGaveBack, take);
  });
  Try("given back at another place", [&] {
    const Take take = TakeOf(Lend(), 1);
    raw_->Put(RecordKind::kTook, take);
    raw_->Put(RecordKind::kGaveBack, TakeOf(Lend(), 1));
  });
  Try("more than anybody looks at", [&] {
    const Loan loan = Lend();
    for (uint64_t i = 0; i <= shm::kTakesMax + shm::kOperationsMax && side_->closed.empty(); i++) {
      if (raw_->out->Put(RecordKind::kTook, TakeOf(loan, i))) continue;
      Settle();
      i--;
    }
  });
}

// Goal: whoever asks and asks without reading an answer is let go while what it is owed is still little.
TEST_F(ShmHostileTest, AFloodIsBounded) {
  Try("reads", [&] {
    for (uint64_t i = 0; side_->closed.empty(); i++) {
      ASSERT_LT(i, 1'000'000u);
      if (!raw_->out->Put(RecordKind::kRead, Request{.number = i, .length = 8})) Settle();
    }
  });
}

// Goal: a flood of packets does not keep anybody from its other work. Method: more bells than a socket holds,
// sent again as fast as they are taken; the side goes on to serve its timers and records.
TEST_F(ShmHostileTest, BellsAreOnlyBells) {
  Connect(false);
  const shm::Packet bell;
  for (int round = 0; round < 50; round++) {
    while (
        shm::SendPacket(raw_->socket.get(), {reinterpret_cast<const uint8_t*>(&bell), sizeof(bell)}).ok()) {
    }
    Settle();
  }
  ExpectAlive();
}

}  // namespace
}  // namespace splitplane::conformance
