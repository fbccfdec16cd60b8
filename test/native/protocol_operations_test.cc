// One-sided operations: more than the link takes, refusals, cancellation, batches that break in the middle.
#include "test/native/protocol_fixture.h"

namespace splitplane {
namespace {

class ProtocolOperations : public ProtocolTest {
 protected:
  Result<OperationId> Read(const Tag& tag, uint64_t offset = 0, uint64_t length = 64) {
    return alice->engine->Read(alice->session(), tag, {}, offset, {{local, 0, length}}, {});
  }
  void OpenWithMemory() {
    Open();
    local = alice->Memory(64, 0);
    memory = bob->Memory(64, 7);
    tag = bob->Export(memory, Access::kRead);
  }

  BufferRef local, memory;
  Tag tag;
};

TEST_F(ProtocolOperations, MoreThanTheLinkTakesWaitTheirTurn) {
  OpenWithMemory();
  std::vector<OperationId> ids;
  for (int i = 0; i < 100; i++) ids.push_back(*Read(tag));
  EXPECT_EQ(alice->Info().operations_outstanding, 100u);
  Settle();
  for (OperationId id : ids) EXPECT_EQ(alice->operations[id].first, Code::kOk);
  EXPECT_EQ(alice->Info().operations_outstanding, 0u);
}

TEST_F(ProtocolOperations, HaveABound) {
  EngineOptions alices = Node::Options("alice");
  alices.operations_queued_max = 10;
  Open(alices);
  local = alice->Memory(64, 0);
  tag = bob->Export(bob->Memory(64, 7), Access::kRead);
  for (int i = 0; i < 10; i++) EXPECT_TRUE(Read(tag).ok());
  EXPECT_EQ(Read(tag).status().code(), Code::kQuotaExceeded);
  Settle();
  EXPECT_TRUE(Read(tag).ok());
}

TEST_F(ProtocolOperations, EndWithTheOwnersReason) {
  OpenWithMemory();
  Tag unknown = tag;
  unknown.bytes[Tag::kSecretAt] ^= 1;
  const auto out_of_bounds = *Read(tag, 1), no_such_tag = *Read(unknown), fine = *Read(tag);
  auto wrong_way = alice->engine->Write(alice->session(), tag, {}, 0, {{local, 0, 64}}, {});
  Settle();
  EXPECT_EQ(alice->operations[out_of_bounds].first, Code::kTagBounds);
  EXPECT_EQ(alice->operations[no_such_tag].first, Code::kTagUnknown);
  EXPECT_EQ(alice->operations[*wrong_way].first, Code::kTagDirection);
  EXPECT_EQ(alice->operations[fine].first, Code::kOk);
  EXPECT_TRUE(alice->interrupted.empty());
}

TEST_F(ProtocolOperations, FailInTheMiddleOfABatchAlone) {
  OpenWithMemory();
  int served = 0;
  network.serve_fault = [&](uint64_t) {
    return ++served == 3 ? Status::Error(Code::kRegionDetached, "fake", "gone") : Status();
  };
  std::vector<OperationId> ids;
  for (int i = 0; i < 5; i++) ids.push_back(*Read(tag));
  Settle();
  for (int i = 0; i < 5; i++)
    EXPECT_EQ(alice->operations[ids[i]].first, i == 2 ? Code::kRegionDetached : Code::kOk);
}

// A peer that blames the connection for an operation gets another connection, and the operation ends once.
TEST_F(ProtocolOperations, SurviveAFailureOfTheLinkInTheMiddleOfABatch) {
  OpenWithMemory();
  int served = 0;
  network.serve_fault = [&](uint64_t) {
    return ++served == 3 ? Status::Error(Code::kConnectionLost, "fake", "cable") : Status();
  };
  std::vector<OperationId> ids;
  for (int i = 0; i < 20; i++) ids.push_back(*Read(tag));
  Settle();
  EXPECT_EQ(alice->interrupted.size(), 1u);
  Pass(1'000);
  EXPECT_EQ(alice->resumed, 1);
  for (OperationId id : ids) EXPECT_EQ(alice->operations[id].first, Code::kOk);
}

TEST_F(ProtocolOperations, CanBeCanceledWhileTheyWaitAndWhileTheyRun) {
  OpenWithMemory();
  std::vector<OperationId> ids;
  for (int i = 0; i < 20; i++) ids.push_back(*Read(tag));
  alice->engine->Poll(now, 0);  // the first are posted, nothing is served yet
  alice->engine->CancelOperation(ids[0]);
  alice->engine->CancelOperation(ids[19]);
  alice->engine->CancelOperation(12345);
  EXPECT_TRUE(alice->operations.empty()) << "told inside Poll only";
  EXPECT_LE(alice->engine->next_timeout(), now);
  Settle();
  for (int i = 0; i < 20; i++) {
    EXPECT_EQ(alice->operations[ids[i]].first, i == 0 || i == 19 ? Code::kAborted : Code::kOk) << i;
  }
  alice->engine->CancelOperation(ids[0]);
  Settle();
}

TEST_F(ProtocolOperations, CanceledOnesDoNotComeBackAfterAnInterruption) {
  OpenWithMemory();
  const OperationId running = *Read(tag), kept = *Read(tag);
  alice->engine->Poll(now, 0);
  alice->engine->CancelOperation(running);
  network.CutAll();
  Pass(1'000);
  EXPECT_EQ(alice->operations[running].first, Code::kAborted);
  EXPECT_EQ(alice->operations[kept].first, Code::kOk);
}

TEST_F(ProtocolOperations, DrivenAgainAreNoSecondUse) {
  OpenWithMemory();
  const Tag once = bob->Export(memory, Access::kRead, 1);
  const OperationId read = *Read(once);
  alice->engine->Poll(now, 0);
  bob->engine->Poll(now, 0);  // served, and the answer is lost
  network.CutAll();
  Pass(1'000);
  EXPECT_EQ(alice->operations[read].first, Code::kOk);
  const OperationId again = *Read(once);
  Settle();
  EXPECT_EQ(alice->operations[again].first, Code::kTagExhausted);
}

TEST_F(ProtocolOperations, AtomicsWhoseAnswerIsLostAreUncertain) {
  OpenWithMemory();
  const Tag word = bob->Export(memory, Access::kAtomic);
  auto atomic = [&] {
    return *alice->engine->Atomic(alice->session(), word, {}, 0, {AtomicOperation::kFetchAndAdd, 1, 0});
  };
  const OperationId posted = atomic();
  alice->engine->Poll(now, 0);
  network.CutAll();
  Settle();
  const OperationId waiting = atomic();
  Pass(1'000);
  EXPECT_EQ(alice->operations[posted].first, Code::kConnectionLost);
  EXPECT_EQ(alice->operations[waiting].first, Code::kOk) << "it was never sent before the interruption";
}

TEST_F(ProtocolOperations, WhatTheTransportCannotDoIsRefused) {
  network.remote_atomics = false;
  OpenWithMemory();
  EXPECT_EQ(alice->engine->Atomic(alice->session(), tag, {}, 0, {}).status().code(), Code::kUnsupported);
  EXPECT_EQ(alice->engine->Read(alice->session(), tag, {}, 0, {}, {}).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(Read(tag, UINT64_MAX).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(alice->engine->Read(777, tag, {}, 0, {{local, 0, 64}}, {}).status().code(), Code::kClosed);
}

TEST_F(ProtocolOperations, LetGoOfMemoryWhenTheyEnd) {
  OpenWithMemory();
  const uint32_t holders = local->holders();
  (void)Read(tag);
  EXPECT_EQ(local->holders(), holders + 1);
  Settle();
  EXPECT_EQ(local->holders(), holders);
}

}  // namespace
}  // namespace splitplane
