// One side of the real thing, and a peer that speaks by hand and lies to it: connected in either role, bound
// or not, with memory lent both ways. After every lie it is looked whether anything was left behind.
#pragma once

#include <fcntl.h>
#include <poll.h>

#include <algorithm>

#include "native/base/clock.h"
#include "native/shm/door.h"
#include "test/native/shm_raw_peer.h"
#include "test/native/transport_conformance.h"

namespace splitplane::conformance {

using shm::AtomicAsked;
using shm::Greeting;
using shm::Loan;
using shm::Number;
using shm::Outcome;
using shm::PacketKind;
using shm::RawPeer;
using shm::RecordKind;
using shm::Request;
using shm::Take;
using shm::WriteLent;

inline constexpr uint64_t kSession = 7;
inline constexpr uint64_t kSlabBytes = 64 * 1024;

inline const Kind& ShmKind() {
  return *std::find_if(Kinds().begin(), Kinds().end(), [](const Kind& kind) { return kind.name == "shm"; });
}

// One side of the real thing, and one that is not.
class ShmHostileTest : public testing::Test {
 protected:
  ~ShmHostileTest() override {
    endpoint_.reset();
    listener_.reset();
    side_.reset();
    raw_.reset();
    EXPECT_TRUE(shm::CountHoldings() == before_) << "something was left behind";
  }

  void Start() {
    side_ = std::make_unique<Side>(ShmKind(), 1);
    raw_ = std::make_unique<RawPeer>();
  }
  void Listen(ListenOptions options = {}) {
    auto listening = side_->transport->Listen(ShmKind().address(), options);
    ASSERT_TRUE(listening.ok()) << listening.status().ToString();
    listener_ = std::move(*listening);
  }
  // Polls the side until `done`.
  bool Until(const std::function<bool()>& done) {
    constexpr MonotonicNs kPatienceNs = 30'000'000'000;
    const MonotonicNs give_up = NowNs() + kPatienceNs;
    while (!done()) {
      const MonotonicNs now = NowNs();
      if (now > give_up) return false;
      if (side_->transport->Poll(*side_, now, side_->budget) || !side_->transport->Arm()) continue;
      if (done()) return true;
      pollfd descriptor{side_->transport->event_fd(), POLLIN, 0};
      poll(&descriptor, 1, 100);
    }
    return true;
  }
  // Polls as often as it takes to do all that can be done now.
  void Settle() {
    while (side_->transport->Poll(*side_, NowNs(), side_->budget)) continue;
  }
  // Connected and, unless said otherwise, bound; the side has dialed or was dialed.
  void Connect(bool side_dials, bool bind = true) {
    Start();
    if (side_dials) {
      Result<Address> address = ParseAddress(ShmKind().address());
      Result<Fd> door = shm::ListenOn(*address);
      ASSERT_TRUE(door.ok()) << door.status().ToString();
      auto connecting = side_->transport->Connect(address->ToString(), {});
      ASSERT_TRUE(connecting.ok()) << connecting.status().ToString();
      endpoint_ = std::move(*connecting);
      raw_->Accept(*door);
      raw_->Greet();
      raw_->TakeGreeting();
      ASSERT_TRUE(Until([&] { return side_->connected == 1; }));
    } else {
      Listen();
      raw_->Dial(listener_->address());
      raw_->Greet();
      ASSERT_TRUE(Until([&] { return side_->accepted.size() == 1; }));
      raw_->TakeGreeting();
      endpoint_ = std::move(side_->accepted.front());
      side_->accepted.clear();
    }
    if (bind) endpoint_->Bind({.session = kSession, .principal = "hostile"});
  }
  void ExpectViolation() {
    ASSERT_TRUE(Until([&] { return side_->closed.contains(endpoint_.get()); }));
    const Status& why = side_->closed.at(endpoint_.get());
    EXPECT_EQ(why.code(), Code::kProtocolViolation) << why.ToString();
    EXPECT_FALSE(why.detail().empty());
    EXPECT_TRUE(Until([&] { return raw_->HungUp(); }));
    EXPECT_EQ(endpoint_->PostSend(std::vector<ConstBytes>{AsBytes("x")}).code(), Code::kClosed);
  }
  // What it takes to be believed: the connection is as good as ever.
  void ExpectAlive() {
    Settle();
    const size_t frames = side_->frames.size();
    raw_->PutZeros(RecordKind::kFrame, 5);
    EXPECT_TRUE(Until([&] { return side_->frames.size() == frames + 1; }));
    EXPECT_TRUE(side_->closed.empty());
  }

  // Each lie on a connection of its own, in both roles.
  void Try(const char* name, const std::function<void()>& lie, bool bind = true) {
    for (const bool side_dials : {false, true}) {
      SCOPED_TRACE(std::string(name) + (side_dials ? ", to one that dialed" : ", to one that listens"));
      Connect(side_dials, bind);
      if (HasFatalFailure()) return;
      lie();
      ExpectViolation();
      End();
    }
  }
  void End() {
    endpoint_.reset();
    listener_.reset();
    kept_.clear();
    target_.Reset();
    side_->tags.RevokeAll();
    Settle();
    EXPECT_EQ(side_->pool.stats().buffer_count, 0u);
    side_.reset();
    raw_.reset();
    EXPECT_TRUE(shm::CountHoldings() == before_) << "something was left behind";
  }

  // Memory of the side that this peer may look at, and what it is told of it.
  Loan Lend(uint64_t bytes = 4096, uint32_t uses = kUnlimitedUses) {
    Result<BufferRef> buffer = side_->pool.Allocate(bytes, kSession);
    EXPECT_TRUE(buffer.ok());
    TagOptions options;
    options.audience = {Audience::Kind::kSession, kSession, {}};
    options.slices = {Whole(*buffer)};
    options.uses = uses;
    Result<Tag> tag = side_->tags.Export(std::move(options));
    EXPECT_TRUE(tag.ok());
    kept_.push_back(*tag);
    Settle();
    Loan loan;
    EXPECT_TRUE(raw_->Take(RecordKind::kLoan, loan));
    EXPECT_EQ(loan.length, bytes);
    return loan;
  }
  static shm::Take TakeOf(const Loan& loan, uint64_t number, uint64_t offset = 0, uint64_t length = 1) {
    return {
        .number = number, .offset = offset, .length = length, .place = loan.place, .standing = loan.standing};
  }
  // Memory of this peer that the side has mapped.
  Loan HandOver(uint32_t slab = 1) {
    const Fd memory = RawPeer::Memory(kSlabBytes, RawPeer::kKeepsSize);
    raw_->SendSlab(slab, kSlabBytes, memory.get());
    Loan loan{.place = 3, .slab = slab, .uses = kUnlimitedUses, .offset = 0, .length = kSlabBytes};
    loan.tag.fill(uint8_t(slab));
    return loan;
  }

  // A write of 100 bytes out of it into memory of the side, `target_`.
  WriteLent WriteOutOf(const Loan& loan) {
    target_ = side_->Filled(100, 4);
    const Tag tag = side_->Export(Access::kWrite, {Whole(target_)});
    return {
        .request = {.number = 1, .length = 100, .tag = tag.bytes}, .place = loan.place, .slab = loan.slab};
  }

  const shm::Holdings before_ = shm::CountHoldings();
  std::unique_ptr<Side> side_;
  std::unique_ptr<RawPeer> raw_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Endpoint> endpoint_;
  std::vector<Tag> kept_;
  BufferRef target_;
};

}  // namespace splitplane::conformance
