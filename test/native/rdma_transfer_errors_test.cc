// Transfers over RDMA when the device fails under them: registrations, completions with errors, queue pairs
// that break, a device that is unplugged. Whatever happens every operation ends exactly once, as moved whole
// or with a code; what broke is made again as often as it pays; and nothing is left. Over the fake device.
#include <gmock/gmock.h>
#include <poll.h>

#include <cerrno>
#include <cstdlib>

#include "native/rdma/lane.h"
#include "test/native/rdma_fake_fixture.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {
namespace {

using testing::HasSubstr;

class RdmaTransferErrorsTest : public FakeRdmaTest {
 protected:
  struct Transfer {
    uint64_t id;
    BufferRef into;
    uint64_t seed;
  };
  static constexpr uint64_t kBytes = 700'000;  // three parts

  // Reads and writes side by side.
  std::vector<Transfer> PostTransfers(int count) {
    std::vector<Transfer> transfers;
    for (int i = 0; i < count; i++) {
      const uint64_t seed = next_operation;
      const BufferRef into = i % 2 == 0 ? client.Buffer(kBytes) : server.Buffer(kBytes);
      const uint64_t id =
          i % 2 == 0
              ? Read(server.Export(Access::kRead, {Whole(server.Filled(kBytes, seed))}), 0, {Whole(into)})
              : Write(server.Export(Access::kWrite, {Whole(into)}), 0, {Whole(client.Filled(kBytes, seed))});
      transfers.push_back({id, into, seed});
    }
    return transfers;
  }
  // The device holds parts until there are some, of both directions.
  std::vector<Transfer> PostTransfersAndHold() {
    faults().Hold(Work::kPart);
    std::vector<Transfer> transfers = PostTransfers(4);
    EXPECT_TRUE(Run([&] { return device().waiting() >= 8; }));
    return transfers;
  }
  void ExpectMoved(const std::vector<Transfer>& transfers) {
    for (const Transfer& transfer : transfers) {
      const Completion end = End(transfer.id);
      EXPECT_TRUE(end.status.ok()) << end.status.ToString();
      EXPECT_TRUE(Contents(transfer.into) == PatternBytes(transfer.seed, 0, kBytes));
    }
  }
  void ExpectEnded(const std::vector<Transfer>& transfers, Code code) {
    for (const Transfer& transfer : transfers) {
      ASSERT_TRUE(client.completions.contains(transfer.id));
      EXPECT_EQ(client.completions[transfer.id].status.code(), code);
    }
  }
};

// Goal: memory that cannot be registered ends the operation it is for, with the limit named, and no other.
// Method: no room at all, then none for this side's half only; afterwards there is.
TEST_P(RdmaTransferErrorsTest, RegistrationFails) {
  Connect();
  const auto fails = [&] {
    const BufferRef into = client.Buffer(kBytes);
    const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(kBytes, 1))});
    const Status status = End(Read(tag, 0, {Whole(into)})).status;
    EXPECT_EQ(status.code(), Code::kOutOfMemory) << status.ToString();
    EXPECT_THAT(std::string(status.detail()), HasSubstr("RLIMIT_MEMLOCK"));
    EXPECT_EQ(into->holders(), 1u);
  };
  faults().LimitRegistrations(0);
  fails();
  faults().LimitRegistrations(UINT64_MAX);
  faults().FailCall("reg_mr", 1, EAGAIN);
  fails();
  EXPECT_TRUE(faults().call_failed());
  Goes();
  EXPECT_TRUE(client.closed.empty() && server.closed.empty());
}

// Goal: what was registered for speed alone gives way to what is needed. Method: registrations that nobody
// uses are there on either side when the limit is met once.
TEST_P(RdmaTransferErrorsTest, UnusedRegistrationsGiveWay) {
  Connect();
  const auto regions = [](const Side& side) {
    for (const TransportGauge& gauge : side.transport->gauges()) {
      if (std::string_view(gauge.name) == "memoryRegions") return gauge.value;
    }
    return uint64_t(0);
  };
  const uint64_t client_regions = regions(client), server_regions = regions(server);
  ExpectMoved(PostTransfers(1));
  EXPECT_GT(regions(client), client_regions);
  faults().FailCall("reg_mr", 1, ENOMEM);
  const BufferRef elsewhere = client.Buffer(9 << 20);
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(1000, 1))});
  EXPECT_TRUE(End(Read(tag, 0, {{elsewhere, 0, 1000}})).status.ok());
  EXPECT_TRUE(faults().call_failed());
  EXPECT_EQ(regions(client), client_regions + 1);

  const Tag ours = client.Export(Access::kRead, {Whole(client.Filled(1000, 2))});
  const BufferRef theirs = server.Buffer(1000);
  ASSERT_TRUE(remote->PostRead(1, {ours.span(), 0, 1000}, {Whole(theirs)}, {}).ok());
  ASSERT_TRUE(Run([&] { return server.completions.contains(1); }));
  EXPECT_GT(regions(server), server_regions);
  faults().FailCall("reg_mr", 0, ENOMEM);
  EXPECT_TRUE(End(Read(tag, 0, {{elsewhere, 0, 1000}})).status.ok());
  EXPECT_TRUE(faults().call_failed());
  EXPECT_TRUE(Run([&] { return regions(server) == server_regions; }));
}

// Goal: it gives way to what another connection needs, too, and to new ones. Method: one that rests has
// registered all that may be; then another one is made, and moves something.
TEST_P(RdmaTransferErrorsTest, UnusedRegistrationsGiveWayToOtherConnections) {
  Connect();
  const auto registered = [](const Side& side) {
    for (const TransportGauge& gauge : side.transport->gauges()) {
      if (std::string_view(gauge.name) == "registeredBytes") return gauge.value;
    }
    return uint64_t(0);
  };
  const BufferRef rests = client.Buffer(9 << 20), moves = client.Buffer(9 << 20);
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(1000, 1))});
  EXPECT_TRUE(End(Read(tag, 0, {{rests, 0, 1000}})).status.ok());
  faults().LimitRegistrations(registered(client) + registered(server));
  auto second = client.transport->Connect(listener->address(), {});
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(Run([&] { return client.connected == 2 && server.accepted.size() == 2; }));
  ASSERT_TRUE(client.closed.empty());

  faults().LimitRegistrations(UINT64_MAX);
  EXPECT_TRUE(End(Read(tag, 0, {{rests, 0, 1000}})).status.ok());
  // The owner's half has room.
  faults().LimitRegistrations(registered(client) + registered(server) + 1000);
  server.accepted.back()->Bind({.session = 3, .principal = "client"});
  const uint64_t id = next_operation++;
  ASSERT_TRUE((*second)->PostRead(id, {tag.span(), 0, 1000}, {{moves, 0, 1000}}, {}).ok());
  EXPECT_TRUE(End(id).status.ok());
}

// Goal: an error in the middle of a batch costs time and nothing else: each part moves in the end, and each
// operation ends once. Method: every place in the batch, errors of both ends.
TEST_P(RdmaTransferErrorsTest, PartsFailInTheMiddle) {
  Connect();
  for (const ibv_wc_status status :
       {IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_OP_ERR, IBV_WC_REM_INV_REQ_ERR, IBV_WC_LOC_PROT_ERR,
        IBV_WC_LOC_QP_OP_ERR, IBV_WC_WR_FLUSH_ERR, IBV_WC_GENERAL_ERR}) {
    for (uint32_t nth = 0; nth < 9; nth++) {
      SCOPED_TRACE(testing::Message() << "status " << status << ", part " << nth);
      faults().EndWork(Work::kPart, nth, status);
      ExpectMoved(PostTransfers(4));
    }
  }
  EXPECT_TRUE(client.closed.empty() && server.closed.empty());
}

// Goal: a peer that does not answer, or takes nothing, is lost, and is said to be. Method: retries are over,
// for packets and for bulk data.
TEST_P(RdmaTransferErrorsTest, RetriesAreOver) {
  const struct {
    Work kind;
    ibv_wc_status status;
    const char* sentence;
  } ends[] = {{Work::kPacket, IBV_WC_RNR_RETRY_EXC_ERR, "takes no more packets"},
              {Work::kPacket, IBV_WC_RETRY_EXC_ERR, "does not answer"},
              {Work::kPart, IBV_WC_RETRY_EXC_ERR, "does not answer"},
              {Work::kPacket, IBV_WC_FATAL_ERR, "queue pair failed"}};
  for (const auto& end : ends) {
    Connect();
    Goes();
    // Its receive buffers are flushed with it, so that the peer's answers are not what is counted.
    faults().EndWork(end.kind, 0, end.status);
    const std::vector<Transfer> transfers = PostTransfers(4);
    const Status why = Closes();
    EXPECT_EQ(why.code(), Code::kConnectionLost);
    EXPECT_THAT(std::string(why.detail()), HasSubstr(end.sentence));
    ExpectEnded(transfers, Code::kConnectionLost);
    Forget();
  }
}

// Goal: a lane that breaks by itself is made anew, and what was on it moves again. Method: either side's,
// with parts of reads and writes under way.
TEST_P(RdmaTransferErrorsTest, LanesBreak) {
  Connect();
  for (const size_t whose : {kClient, kServer, kClient}) {
    const std::vector<Transfer> transfers = PostTransfersAndHold();
    device().BreakPair(device().Find(whose, Work::kPart));
    faults().Release(Work::kPart);
    ExpectMoved(transfers);
  }
  Goes();
}

// Goal: without the queue pair for packets there is no connection; all ends, once, on both sides. Method:
// either side's, with parts under way.
TEST_P(RdmaTransferErrorsTest, TheConnectionBreaks) {
  for (const size_t whose : {kClient, kServer}) {
    Connect();
    const std::vector<Transfer> transfers = PostTransfersAndHold();
    device().BreakPair(device().Find(whose, Work::kPacket));
    EXPECT_EQ(Closes().code(), Code::kConnectionLost);
    ExpectEnded(transfers, Code::kConnectionLost);
    faults().Release(Work::kPart);
    Forget();
  }
}

// Goal: a peer that grants what it does not let us reach costs the operation, and if it goes on, the
// connection. Method: every part is refused.
TEST_P(RdmaTransferErrorsTest, LanesAreNotMadeForEver) {
  Connect();
  faults().EndEveryPart(IBV_WC_REM_ACCESS_ERR);
  const BufferRef into = client.Buffer(1000);
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(1000, 1))});
  Status status = End(Read(tag, 0, {Whole(into)})).status;
  EXPECT_EQ(status.code(), Code::kProtocolViolation);
  EXPECT_THAT(std::string(status.detail()), HasSubstr("does not let us reach"));
  EXPECT_TRUE(client.closed.empty());
  for (uint32_t i = 0; client.closed.empty() && i < kLaneEpochsMax; i++) {
    ASSERT_TRUE(Run([&, id = Read(tag, 0, {Whole(into)})] { return client.completions.contains(id); }));
  }
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
  const Status ours = client.closed[endpoint.get()], theirs = server.closed[remote];
  EXPECT_TRUE(ours.code() == Code::kProtocolViolation || theirs.code() == Code::kProtocolViolation);
}

// Goal: a device that is unplugged ends everything on it, holds nothing back, and does not keep the engine
// awake; other transports can take over. Method: device and manager say so, or one of them; then look at what
// is left, and whether sleep is possible.
TEST_P(RdmaTransferErrorsTest, TheDeviceIsUnplugged) {
  Connect();
  const std::vector<Transfer> transfers = PostTransfersAndHold();
  Fabric::Get().Unplug();
  EXPECT_EQ(Closes().code(), Code::kConnectionLost);
  ExpectEnded(transfers, Code::kConnectionLost);
  EXPECT_TRUE(Run([&] { return device().Left().empty(); })) << device().Left();
  for (Side* side : {&client, &server}) {
    pollfd descriptor{side->transport->event_fd(), POLLIN, 0};
    int rounds = 0;
    for (; rounds < 100 && poll(&descriptor, 1, 0) > 0; rounds++) {
      (void)side->transport->Arm();
      side->transport->Poll(*side, NowNs(), UINT64_MAX);
    }
    EXPECT_LT(rounds, 100) << "awake for ever";
    EXPECT_EQ(side->transport->next_timeout(), kNever);
  }
  EXPECT_EQ(client.transport->Connect(listener->address(), {}).status().code(), Code::kTransportUnavailable);
  EXPECT_EQ(server.transport->Listen(GetParam().address(), {}).status().code(), Code::kTransportUnavailable);
}

TEST_P(RdmaTransferErrorsTest, TheManagerAloneSaysUnplugged) {
  Connect();
  const std::vector<Transfer> transfers = PostTransfersAndHold();
  Fabric::Get().manager.Remove();
  EXPECT_EQ(Closes().code(), Code::kConnectionLost);
  ExpectEnded(transfers, Code::kConnectionLost);
  EXPECT_TRUE(Run([&] { return device().Left().empty(); })) << device().Left();
}

TEST_P(RdmaTransferErrorsTest, TheDeviceAloneSaysUnplugged) {
  Connect();
  const std::vector<Transfer> transfers = PostTransfersAndHold();
  device().Remove();
  EXPECT_EQ(Closes().code(), Code::kConnectionLost);
  ExpectEnded(transfers, Code::kConnectionLost);
  EXPECT_TRUE(Run([&] { return device().Left().empty(); })) << device().Left();
}

// Goal: letting go of memory may run its user's code, which may do anything. Method: when the memory of one
// operation goes, its user revokes the tags of all others, cancels all, and destroys the endpoints; tags end
// with parts under way, are kept by the peer, or fail with their lane.
TEST_P(RdmaTransferErrorsTest, UsersMayDoAnythingWhenMemoryGoes) {
  Connect();
  std::vector<Tag> tags;
  bool over = false;
  std::vector<uint8_t*> memories;
  const auto users = [&](Side& side) {
    uint8_t* memory = memories.emplace_back(static_cast<uint8_t*>(std::calloc(1, kBytes)));
    auto buffer = side.pool.RegisterUser(
        memory, kBytes, [] { return Status(); },
        [&] {
          if (over) return;
          for (const Tag& tag : tags) server.tags.Revoke(tag);
          if (endpoint) {
            for (uint64_t id = 1; id < next_operation; id++) endpoint->Cancel(id);
          }
        });
    EXPECT_TRUE(buffer.ok());
    return std::move(*buffer);
  };
  for (const bool lane_breaks : {false, true}) {
    faults().Hold(Work::kPart);
    const uint64_t first = next_operation;
    for (int i = 0; i < 6; i++) {
      tags.push_back(server.Export(Access::kRead, {Whole(users(server))}));
      Read(tags.back(), 0, {Whole(users(client))});
      tags.push_back(server.Export(Access::kWrite, {{users(server), 0, 1000}}));
      Write(tags.back(), 0, {{users(client), 0, 1000}}, {.checksum = false});
    }
    ASSERT_TRUE(Run([&] { return device().waiting() >= 8; }));
    if (lane_breaks) {
      for (uint64_t id = first; id < next_operation; id++) endpoint->Cancel(id);
      device().BreakPair(device().Find(kClient, Work::kPart));
    } else {
      server.tags.Revoke(tags.front());
    }
    faults().Release(Work::kPart);
    for (uint64_t id = first; id < next_operation; id++) End(id);
  }
  Goes();
  over = true;
  server.tags.RevokeAll();
  endpoint.reset();
  server.accepted.clear();
  for (uint8_t* memory : memories) std::free(memory);
}

SPLITPLANE_OVER_THE_FAKE_DEVICE(RdmaTransferErrorsTest);

// Goal: what the fake device is for cannot be passed by: it says what was left and what was done wrong.
TEST(RdmaFakeDeviceTest, SaysWhatIsWrong) {
  EXPECT_EQ(Fabric::Renew(false), "");
  const Verbs& verbs = Fabric::Table();
  ibv_context* context = verbs.open_device(nullptr);
  (void)verbs.alloc_pd(context);
  EXPECT_EQ(verbs.close_device(context), EBUSY);
  EXPECT_THAT(Fabric::Renew(false), testing::AllOf(HasSubstr("1 contexts left"), HasSubstr("close_device"),
                                                   HasSubstr("1 protection domains left")));
}

}  // namespace
}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS
