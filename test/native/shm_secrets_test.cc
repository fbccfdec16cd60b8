// What another process gets to see, and what it can do with it: its slabs and nobody else's, for reading and
// nothing more. The peer speaks by hand over a socket that another process has connected, so that it is not
// taken for a thread of this one.
#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "native/base/clock.h"
#include "test/native/shm_raw_peer.h"
#include "test/native/transport_conformance.h"

namespace splitplane::conformance {
namespace {

using shm::Loan;
using shm::Packet;
using shm::PacketKind;
using shm::RawPeer;
using shm::RecordKind;

constexpr uint64_t kSession = 7, kOther = 8;

const Kind& ShmKind() {
  return *std::find_if(Kinds().begin(), Kinds().end(), [](const Kind& kind) { return kind.name == "shm"; });
}

// A socket that a process of its own has connected to `address`, and handed over before it ended.
Fd ConnectedByAnother(const std::string& address) {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  const Fd ours(ends[0]), theirs(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    Result<Address> to = ParseAddress(address);
    Result<Fd> socket = shm::ConnectTo(*to);
    const uint8_t byte = 1;
    const bool sent = socket.ok() && shm::SendPacket(theirs.get(), {&byte, 1}, socket->get()).ok();
    _exit(sent ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  uint8_t byte;
  Result<shm::Received> received = shm::ReceivePacket(ours.get(), {&byte, 1});
  EXPECT_TRUE(received.ok() && received->descriptor.valid());
  return std::move(received->descriptor);
}

class ShmSecretsTest : public testing::Test {
 protected:
  void Connect(bool trusted = false) {
    auto listening = side.transport->Listen(ShmKind().address(), {.trusted_peers = trusted});
    ASSERT_TRUE(listening.ok());
    listener = std::move(*listening);
    raw.socket = ConnectedByAnother(listener->address());
    raw.Greet();
    while (side.accepted.empty()) side.transport->Poll(side, NowNs(), side.budget);
    raw.TakeGreeting();
    side.accepted.front()->Bind({.session = kSession, .principal = "other process"});
  }
  // Exports memory for the peer. What it is handed is in `slab`; false if nothing was lent.
  bool Export(const BufferRef& buffer, uint64_t session = kSession) { return Export(Whole(buffer), session); }
  bool Export(Slice slice, uint64_t session = kSession) {
    TagOptions options;
    options.audience = {Audience::Kind::kSession, session, {}};
    options.slices = {std::move(slice)};
    EXPECT_TRUE(side.tags.Export(std::move(options)).ok());
    while (side.transport->Poll(side, NowNs(), side.budget)) continue;
    slab.Reset();
    packet = raw.TakePacket(PacketKind::kSlab, slab);
    return raw.Take(RecordKind::kLoan, loan);
  }
  BufferRef Allocate(uint64_t bytes, AudienceId audience) {
    Result<BufferRef> buffer = side.pool.Allocate(bytes, audience);
    EXPECT_TRUE(buffer.ok());
    return *buffer;
  }

  Side side{ShmKind(), 1};
  RawPeer raw;
  std::unique_ptr<Listener> listener;
  Fd slab;
  Packet packet;
  Loan loan;
};

// Nobody who has the descriptor can write to the memory, or change it in any way.
void ExpectReadOnly(const Fd& memory, uint64_t bytes) {
  // By another way as well: a descriptor can be opened anew.
  const std::string path = "/proc/self/fd/" + std::to_string(memory.get());
  const Fd again(open(path.c_str(), O_RDWR | O_CLOEXEC));
  for (const int fd : {memory.get(), again.get()}) {
    ASSERT_GE(fd, 0);
    EXPECT_EQ(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    EXPECT_EQ(mmap(nullptr, bytes, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    void* const mapped = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_NE(mprotect(mapped, bytes, PROT_READ | PROT_WRITE), 0);
    EXPECT_NE(madvise(mapped, bytes, MADV_REMOVE), 0);
    munmap(mapped, bytes);
    const uint8_t byte = 1;
    EXPECT_LT(pwrite(fd, &byte, 1, 0), 0);
    EXPECT_NE(ftruncate(fd, 0), 0);
    EXPECT_NE(ftruncate(fd, off_t(2 * bytes)), 0);
    EXPECT_NE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, off_t(bytes)), 0);
    EXPECT_NE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  }
}

// Goal: what a peer is handed it can read and not write, and it cannot undo that; the owner goes on writing.
// Method: everything that a descriptor is good for, on a segment and on a slab.
TEST_F(ShmSecretsTest, NobodyWritesToWhatWasHandedOver) {
  Connect();
  const BufferRef memory = Allocate(4096, kSession);
  ASSERT_TRUE(Export(memory));
  ExpectReadOnly(slab, packet.bytes);
  ExpectReadOnly(raw.peer_segment, uint64_t(lseek(raw.peer_segment.get(), 0, SEEK_END)));
  memory->data()[0] = 99;
  uint8_t seen = 0;
  EXPECT_EQ(pread(slab.get(), &seen, 1, off_t(loan.offset)), 1);
  EXPECT_EQ(seen, 99);
}

// Goal: memory is shown to a process only if all of its slab is for this process. Everything else is copied.
TEST_F(ShmSecretsTest, OnlyWhatIsForThisPeerIsShown) {
  Connect();
  const BufferRef general = Allocate(4096, kNoAudience);
  EXPECT_FALSE(Export(general));
  EXPECT_FALSE(slab.valid());
  EXPECT_FALSE(Export(Allocate(4096, kOther)));
  EXPECT_FALSE(slab.valid());
  std::vector<uint8_t> own(4096);
  const BufferRef user = *side.pool.RegisterUser(own.data(), own.size(), nullptr, nullptr);
  EXPECT_FALSE(Export(user));
  EXPECT_FALSE(slab.valid());
  const BufferRef audience = Allocate(4096, kSession);
  EXPECT_FALSE(Export(audience, kOther));
  EXPECT_FALSE(slab.valid());
  // It can be told from what is not shown.
  EXPECT_TRUE(Export(audience));
  EXPECT_TRUE(slab.valid());
  EXPECT_EQ(packet.bytes, audience->region().length());
  // Handed over once.
  EXPECT_TRUE(Export(Allocate(4096, kSession)));
  EXPECT_FALSE(slab.valid());
}

// Goal: a buffer that has a fresh slab of its own makes it the peer's, if all of it is exported; one whose
// slab has had another user does not.
TEST_F(ShmSecretsTest, LargeBuffersThatNobodyHadBefore) {
  Connect();
  for (const uint64_t bytes : {64 * kMiB, 65 * kMiB}) {
    {
      const BufferRef used = Allocate(bytes, kNoAudience);
      std::memset(used->data(), 0x5e, 4096);
    }
    EXPECT_FALSE(Export(Allocate(bytes, kNoAudience))) << bytes;
    const BufferRef keeps_it = Allocate(bytes, kNoAudience);
    const BufferRef fresh = Allocate(bytes, kNoAudience);
    EXPECT_FALSE(Export(Slice{fresh, 0, bytes - 1})) << "the rest is not for this peer";
    EXPECT_FALSE(Export(Slice{fresh, 1, bytes - 1}));
    EXPECT_TRUE(Export(fresh)) << bytes;
    EXPECT_EQ(fresh->region().audience(), kSession);
    EXPECT_FALSE(Export(fresh, kOther)) << "it is somebody's now";
  }
}

// Goal: a write shows no memory that is not the peer's already: it may have another receiver next.
TEST_F(ShmSecretsTest, AWriteShowsNothingElse) {
  Connect();
  Tag tag;
  uint64_t operation = 0;
  for (const AudienceId audience : {kNoAudience, kOther, kSession}) {
    const BufferRef source = Allocate(64 * kMiB, audience);
    ASSERT_TRUE(
        side.accepted.front()->PostWrite(++operation, {Whole(source)}, {tag.span(), 0, 64 * kMiB}, {}).ok());
    EXPECT_EQ(source->region().audience(), audience);
    slab.Reset();
    packet = raw.TakePacket(PacketKind::kSlab, slab);
    EXPECT_EQ(slab.valid(), audience == kSession);
  }
}

// Goal: who is declared trusted is shown everything but what is for others.
TEST_F(ShmSecretsTest, TrustedPeers) {
  Connect(true);
  EXPECT_TRUE(Export(Allocate(4096, kNoAudience)));
  EXPECT_TRUE(slab.valid());
  EXPECT_FALSE(Export(Allocate(4096, kOther)));
  EXPECT_FALSE(slab.valid());
}

// Goal: an owner that ends a loan while a peer looks at it keeps the memory, and lets it go when it hears
// that the look is over, also one that never came to anything. Method: the peer's word by hand.
TEST_F(ShmSecretsTest, ALookThatBeganInTimeHoldsTheMemory) {
  Connect();
  for (const uint32_t over : {0u, 1u}) {
    BufferRef memory = Allocate(4096, kSession);
    ASSERT_TRUE(Export(memory));
    raw.own->looking(loan.place).store(1);
    side.tags.RevokeAll();
    memory.Reset();
    EXPECT_EQ(raw.peer->standing(loan.place).load(), loan.standing + 1);
    EXPECT_EQ(side.pool.stats().buffer_count, 1u);
    const shm::Take take{.number = 1 + over,
                         .offset = 0,
                         .length = 1,
                         .place = loan.place,
                         .standing = loan.standing,
                         .over = over};
    if (over == 0) {
      raw.Put(RecordKind::kTook, take);
      raw.own->looking(loan.place).store(0);
      while (side.transport->Poll(side, NowNs(), side.budget)) continue;
      EXPECT_EQ(side.pool.stats().buffer_count, 1u);
      raw.Put(RecordKind::kGaveBack, take);
    } else {
      raw.own->looking(loan.place).store(0);
      raw.Put(RecordKind::kTook, take);
    }
    while (side.transport->Poll(side, NowNs(), side.budget)) continue;
    EXPECT_EQ(side.pool.stats().buffer_count, 0u);
  }
  EXPECT_TRUE(side.closed.empty());
}

// Goal: memory that a write of ours was made out of stays as it is while the peer looks at it, also when the
// peer has said that the write has ended. Method: the peer's word by hand.
TEST_F(ShmSecretsTest, MemoryThatIsWrittenOutOfIsHeldForWhoLooks) {
  Connect();
  BufferRef memory = Allocate(kMiB, kSession);
  Tag tag;
  ASSERT_TRUE(side.accepted.front()->PostWrite(5, {Whole(memory)}, {tag.span(), 0, kMiB}, {}).ok());
  memory.Reset();
  while (side.transport->Poll(side, NowNs(), side.budget)) continue;
  shm::WriteLent asked;
  ASSERT_TRUE(raw.Take(RecordKind::kWriteLent, asked));
  EXPECT_EQ(asked.request.length, kMiB);
  const shm::Take take{.number = 1, .length = kMiB, .place = asked.place, .standing = asked.standing};
  raw.own->looking(asked.place).store(1);
  raw.Put(RecordKind::kTook, take);
  raw.Put(RecordKind::kWriteDone, shm::Outcome{.number = 5});
  while (side.transport->Poll(side, NowNs(), side.budget)) continue;
  EXPECT_TRUE(side.completions.at(5).status.ok());
  EXPECT_EQ(raw.peer->standing(asked.place).load(), asked.standing + 1);
  EXPECT_EQ(side.pool.stats().buffer_count, 1u);
  raw.own->looking(asked.place).store(0);
  raw.Put(RecordKind::kGaveBack, take);
  while (side.transport->Poll(side, NowNs(), side.budget)) continue;
  EXPECT_EQ(side.pool.stats().buffer_count, 0u);
  EXPECT_TRUE(side.closed.empty());
}

// Goal: whoever looks in vain says so, because the owner may have seen it. Method: an owner by hand, whose
// word changes before it tells anybody.
TEST_F(ShmSecretsTest, ALookInVainIsTold) {
  Connect();
  const Fd memory = RawPeer::Memory(4096, RawPeer::kKeepsSize);
  raw.SendSlab(1, 4096, memory.get());
  Loan lent{.place = 3, .standing = 0, .slab = 1, .uses = kUnlimitedUses, .offset = 0, .length = 4096};
  lent.tag.fill(1);
  raw.Put(RecordKind::kLoan, lent);
  while (side.transport->Poll(side, NowNs(), side.budget)) continue;
  raw.own->standing(3).store(1);
  Tag tag;
  tag.bytes = lent.tag;
  EXPECT_TRUE(side.accepted.front()->View({tag.span(), 0, 4096}).status().no_resource());
  EXPECT_EQ(raw.peer->looking(3).load(), 0u);
  while (side.transport->Poll(side, NowNs(), side.budget)) continue;
  shm::Take take;
  ASSERT_TRUE(raw.Take(RecordKind::kTook, take));
  EXPECT_EQ(take.place, 3u);
  EXPECT_EQ(take.standing, 0u);
  EXPECT_EQ(take.over, 1u);
}

// Goal: a peer that dies while it looks holds nothing any more.
TEST_F(ShmSecretsTest, TheDeadLookAtNothing) {
  Connect();
  BufferRef memory = Allocate(4096, kSession);
  ASSERT_TRUE(Export(memory));
  raw.own->looking(loan.place).store(1);
  raw.Put(RecordKind::kTook,
          shm::Take{.number = 1, .length = 1, .place = loan.place, .standing = loan.standing});
  while (side.transport->Poll(side, NowNs(), side.budget)) continue;
  side.tags.RevokeAll();
  memory.Reset();
  EXPECT_EQ(side.pool.stats().buffer_count, 1u);
  raw.socket.Reset();
  const MonotonicNs give_up = NowNs() + 30'000'000'000;
  while (side.pool.stats().buffer_count > 0 && NowNs() < give_up) {
    side.transport->Poll(side, NowNs(), side.budget);
    (void)side.transport->Arm();
  }
  EXPECT_EQ(side.pool.stats().buffer_count, 0u);
  EXPECT_EQ(side.closed.at(side.accepted.front().get()).code(), Code::kConnectionLost);
}

}  // namespace
}  // namespace splitplane::conformance
