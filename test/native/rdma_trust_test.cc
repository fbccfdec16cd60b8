// Who is trusted over RDMA, and what that changes: registrations, and nothing that a peer who keeps to the
// rules could see. The contract's own tests run with trusted peers too (transport_conformance.cc); here is
// what only counters and memory show. Needs a device (SPLITPLANE_RDMA_ADDRESS); without one there are no
// tests.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "test/native/transport_conformance.h"

namespace splitplane::conformance {
namespace {

constexpr TransferOptions kQuick{.checksum = false};

// Every pair of declarations.
std::vector<Kind> TrustKinds() {
  std::vector<Kind> kinds;
  for (const Kind& device : Kinds()) {
    if (device.name != "rdma") continue;
    const auto add = [&](const char* name, bool listener, bool dialer) {
      Kind kind = device;
      kind.name += name;
      kind.listener_trusts = listener;
      kind.dialer_trusts = dialer;
      kinds.push_back(std::move(kind));
    };
    add("_nobody_trusts", false, false);
    add("_listener_trusts", true, false);
    add("_dialer_trusts", false, true);
    add("_both_trust", true, true);
  }
  return kinds;
}

class TrustTest : public TransportTest {
 protected:
  // `asker` moves `local` from or to what `owner` exports of `memory`, once.
  void Move(Access access, Side& asker, Endpoint& from, Side& owner, const BufferRef& local,
            const BufferRef& memory) {
    const Tag tag = owner.Export(access, {Whole(memory)}, 1);
    const RemoteSlice remote_slice{tag.span(), 0, memory->length()};
    const uint64_t id = next_operation++;
    const Status posted = access == Access::kRead ? from.PostRead(id, remote_slice, {Whole(local)}, kQuick)
                                                  : from.PostWrite(id, {Whole(local)}, remote_slice, kQuick);
    ASSERT_TRUE(posted.ok()) << posted.ToString();
    ASSERT_TRUE(Run([&] { return asker.completions.contains(id); }));
    EXPECT_TRUE(asker.completions[id].status.ok()) << asker.completions[id].status.ToString();
  }
  // How often `owner` registers memory for 2 * `times` operations on it, once everything has been touched.
  uint64_t Registrations(int times, Side& asker, Endpoint& from, Side& owner, const BufferRef& memory) {
    const BufferRef local = asker.Filled(memory->length(), 5);
    uint64_t before = 0;
    for (int i = -1; i < times; i++) {
      if (i == 0) before = owner.transport->stats().registrations;
      Move(Access::kWrite, asker, from, owner, local, memory);
      EXPECT_TRUE(Contents(memory) == PatternBytes(5, 0, memory->length()));
      Move(Access::kRead, asker, from, owner, local, memory);
    }
    return owner.transport->stats().registrations - before;
  }
};

// Goal: memory is registered for every operation, as exactly its bytes, unless the side whose it is trusts
// its peer; what the peer declares has no part in it. Method: counted on both sides, for all four
// declarations.
TEST_P(TrustTest, OnlyWhoTrustsKeepsMemoryRegistered) {
  Connect();
  constexpr int kTimes = 5;
  EXPECT_EQ(Registrations(kTimes, client, *endpoint, server, server.Buffer(kMiB)),
            GetParam().listener_trusts ? 0u : 2u * kTimes);
  EXPECT_EQ(Registrations(kTimes, server, *remote, client, client.Buffer(kMiB)),
            GetParam().dialer_trusts ? 0u : 2u * kTimes);
}

// Goal: memory in many pieces and across everything that is registered as one moves all the same.
TEST_P(TrustTest, ManyPieces) {
  Connect();
  const BufferRef memory = server.Filled(9 * kMiB + 4321, 6);
  std::vector<Slice> slices;
  std::vector<uint8_t> expected;
  const auto add = [&](uint64_t offset, uint64_t length) {
    slices.push_back({memory, offset, length});
    const std::vector<uint8_t> bytes = PatternBytes(6, offset, length);
    expected.insert(expected.end(), bytes.begin(), bytes.end());
  };
  for (uint64_t i = 0; i < 150; i++) add(i * 5000, 1000 + i);
  add(kMiB, 8 * kMiB);
  add(0, 1);
  const BufferRef local = client.Buffer(expected.size());
  for (bool checksum : {false, true}) {
    std::memset(local->data(), 0, local->length());
    const Tag tag = server.Export(Access::kRead, slices);
    ASSERT_TRUE(End(Read(tag, 0, {Whole(local)}, {.checksum = checksum})).status.ok());
    EXPECT_TRUE(Contents(local) == expected);
  }
}

// Goal: a peer that keeps to the rules cannot tell whether it is trusted: when a tag ends, nothing more is
// written, from the very call on, although the memory stays registered. Method: tags are revoked again and
// again on both sides under writes that have come more or less far, and the owner's next words stay.
TEST_P(TrustTest, WhatIsRevokedIsNotWritten) {
  Connect();
  const BufferRef source = client.Filled(4 * kMiB, 7);
  const BufferRef back = server.Filled(4 * kMiB, 8);
  const BufferRef target = server.Buffer(4 * kMiB), other = client.Buffer(4 * kMiB);
  client.budget = server.budget = 64 * 1024;
  for (int round = 0; round < 24; round++) {
    const Tag to = server.Export(Access::kWrite, {Whole(target)});
    const Tag fro = client.Export(Access::kWrite, {Whole(other)});
    const uint64_t id = Write(to, 0, {Whole(source)}, kQuick);
    const uint64_t answer = next_operation++;
    ASSERT_TRUE(remote->PostWrite(answer, {Whole(back)}, {fro.span(), 0, other->length()}, kQuick).ok());
    // One that is through by then has nothing left to poll for.
    int polls = 0;
    ASSERT_TRUE(Run([&] { return ++polls > 3 * round || client.completions.contains(id); }));
    server.tags.Revoke(to);
    std::memset(target->data(), 0xee, target->length());
    if (round % 3 != 0) {
      client.tags.Revoke(fro);
      std::memset(other->data(), 0xdd, other->length());
    }
    const Code code = End(id).status.code();
    EXPECT_TRUE(code == Code::kTagRevoked || code == Code::kTagUnknown || code == Code::kOk)
        << CodeName(code);
    ASSERT_TRUE(Run([&] { return server.completions.contains(answer); }));
    if (round % 3 == 0) {
      EXPECT_TRUE(server.completions[answer].status.ok());
      EXPECT_TRUE(Contents(other) == PatternBytes(8, 0, other->length()));
    } else {
      EXPECT_EQ(std::count(other->data(), other->data() + other->length(), 0xdd), int64_t(other->length()));
    }
    EXPECT_EQ(std::count(target->data(), target->data() + target->length(), 0xee), int64_t(target->length()));
  }
}

// Goal: files stay strict: what of them lies in memory lies there for one operation, and is registered for
// it.
TEST_P(TrustTest, FilesStayStrict) {
  Connect();
  const int file = memfd_create("test", MFD_CLOEXEC);
  const std::vector<uint8_t> bytes = PatternBytes(9, 0, kMiB);
  ASSERT_EQ(write(file, bytes.data(), bytes.size()), ssize_t(bytes.size()));
  auto registered = server.pool.RegisterFile(Fd(file), 0, kMiB);
  ASSERT_TRUE(registered.ok());
  const BufferRef local = client.Buffer(kMiB);
  for (int i = 0; i < 3; i++) {
    const uint64_t before = server.transport->stats().registrations;
    const Tag tag = server.Export(Access::kRead, {Whole(*registered)}, 1);
    ASSERT_TRUE(End(Read(tag, 0, {Whole(local)}, kQuick)).status.ok());
    EXPECT_TRUE(Contents(local) == bytes);
    EXPECT_EQ(server.transport->stats().registrations, before + 1);
  }
}

// Memory of a buffer that nobody's program can look at meanwhile: who does ends with a signal.
class Untouchable {
 public:
  explicit Untouchable(const Slice& pages) : pages_(pages) {
    EXPECT_EQ(mprotect(pages_.data(), pages_.length, PROT_NONE), 0);
  }
  ~Untouchable() { EXPECT_EQ(mprotect(pages_.data(), pages_.length, PROT_READ | PROT_WRITE), 0); }
  Untouchable(const Untouchable&) = delete;
  Untouchable& operator=(const Untouchable&) = delete;

 private:
  const Slice pages_;
};

class UntouchedTest : public TransportTest {};

// Goal: bulk data is moved without any program's hands: neither side's copies, reads or writes a byte of it.
// Method: both sides' memory is registered by a first transfer, and then out of bounds for both programs
// while the device moves it.
TEST_P(UntouchedTest, NoProgramTouchesThePayload) {
  Connect();
  const BufferRef theirs = server.Filled(4 * kMiB, 11), ours = client.Buffer(4 * kMiB);
  const auto pages = [](const BufferRef& buffer) {
    const uint64_t page = uint64_t(getpagesize());
    const uint64_t skipped = (page - reinterpret_cast<uintptr_t>(buffer->data()) % page) % page;
    return Slice{buffer, skipped, (buffer->length() - skipped) / page * page};
  };
  const Slice from = pages(theirs), into = pages(ours);
  ASSERT_EQ(from.length, into.length);
  for (const Access access : {Access::kRead, Access::kWrite}) {
    const bool reading = access == Access::kRead;
    const Tag tag = server.Export(access, {from});
    const auto move = [&] {
      return End(reading ? Read(tag, 0, {into}, kQuick) : Write(tag, 0, {into}, kQuick)).status;
    };
    ASSERT_TRUE(move().ok());
    std::memset(reading ? into.data() : from.data(), 0, into.length);
    {
      const Untouchable here(into), there(from);
      ASSERT_TRUE(move().ok());
    }
    EXPECT_EQ(std::memcmp(into.data(), from.data(), into.length), 0);
    EXPECT_EQ(into.data()[1000], Pattern(11, from.offset + 1000));
  }
  EXPECT_EQ(client.transport->stats().bytes_copied + server.transport->stats().bytes_copied, 0u);
}

// Where memory is registered for each operation, the kernel looks at it each time.
std::vector<Kind> BothTrust() {
  std::vector<Kind> kinds = TrustKinds();
  std::erase_if(kinds, [](const Kind& kind) { return !kind.listener_trusts || !kind.dialer_trusts; });
  return kinds;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(UntouchedTest);
INSTANTIATE_TEST_SUITE_P(Transports, UntouchedTest, testing::ValuesIn(BothTrust()),
                         [](const auto& param) { return param.param.name; });

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TrustTest);
INSTANTIATE_TEST_SUITE_P(Transports, TrustTest, testing::ValuesIn(TrustKinds()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace splitplane::conformance
