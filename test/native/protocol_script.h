// A session that carries everything a session can carry, and the judgement of what came of it: for tests that
// break links under it.
#pragma once

#include "test/native/protocol_fixture.h"

namespace splitplane {

class ScriptedTest : public ProtocolTest {
 protected:
  static constexpr int kMessages = 6;

  // Everything a session can carry, in one go.
  struct Script {
    BufferRef source, target, word, local;
    Tag read, write, atomic, released;
    std::vector<OperationId> transfers, atomics;
  };

  Script Begin() {
    Script script;
    script.source = bob->Memory(256, 7);
    script.target = bob->Memory(256, 0);
    script.word = bob->Memory(8, 0);
    script.local = alice->Memory(256, 0);
    script.read = bob->Export(script.source, Access::kRead, 1);
    script.write = bob->Export(script.target, Access::kWrite, 1);
    script.atomic = bob->Export(script.word, Access::kAtomic);
    script.released = bob->Export(script.source, Access::kRead, 1, 99);
    return script;
  }

  void Play(Script& script) {
    const SessionId session = alice->session();
    for (int i = 0; i < kMessages; i++) {
      // One of them needs several frames.
      alice->Send("a" + std::to_string(i) + std::string(i == 2 ? 20'000 : 0, 'x'));
      bob->Send("b" + std::to_string(i));
      // Of these too.
      const std::string last(i == 3 ? 20'000 : 0, 'y');
      alice->SendBatch({"c" + std::to_string(i), "", last});
      auto atomic =
          alice->engine->Atomic(session, script.atomic, {}, 0, {AtomicOperation::kFetchAndAdd, 1, 0});
      script.atomics.push_back(*atomic);
    }
    auto read = alice->engine->Read(session, script.read, {}, 0, {{script.local, 0, 256}}, {});
    auto write = alice->engine->Write(session, script.write, {}, 0, {{alice->Memory(256, 9), 0, 256}}, {});
    script.transfers = {*read, *write};
    alice->engine->ReleaseTags(session, std::span(&script.released, 1));
    alice->engine->CancelMessage(session, 1);
  }

  void Check(Script& script) {
    ASSERT_EQ(bob->received.size(), size_t(kMessages) - (bob->canceled.empty() ? 1 : 0));
    ASSERT_EQ(alice->received.size(), size_t(kMessages));
    ASSERT_EQ(bob->batches.size(), size_t(kMessages));
    for (int i = 0; i < kMessages; i++) {
      ASSERT_EQ(bob->batches[i].messages.size(), 3u);
      EXPECT_EQ(bob->batches[i].messages[0], "c" + std::to_string(i));
      EXPECT_EQ(bob->batches[i].messages[2].size(), i == 3 ? 20'000u : 0u);
    }
    const int first = bob->canceled.empty() ? 1 : 0;
    for (int i = 0; i < kMessages - first; i++) {
      const std::string& envelope = bob->received[i].envelope;
      EXPECT_EQ(envelope.substr(0, 2), "a" + std::to_string(i + first));
      EXPECT_EQ(envelope.size(), i + first == 2 ? 20'002u : 2u);
    }
    for (int i = 0; i < kMessages; i++) EXPECT_EQ(alice->received[i].envelope, "b" + std::to_string(i));
    uint64_t applied_at_least = 0;
    for (OperationId id : script.atomics) {
      ASSERT_EQ(alice->operations.count(id), 1u);
      const Code code = alice->operations[id].first;
      EXPECT_TRUE(code == Code::kOk || code == Code::kConnectionLost) << CodeName(code);
      applied_at_least += code == Code::kOk;
    }
    const uint64_t applied = LoadLittle<uint64_t>(script.word->data());
    EXPECT_GE(applied, applied_at_least);
    EXPECT_LE(applied, script.atomics.size());
    for (OperationId id : script.transfers) {
      ASSERT_EQ(alice->operations.count(id), 1u);
      EXPECT_EQ(alice->operations[id].first, Code::kOk);
    }
    EXPECT_EQ(std::memcmp(script.local->data(), script.source->data(), 256), 0);
    EXPECT_EQ(script.target->data()[255], 9);
    EXPECT_EQ(bob->tags_ended, (std::vector<std::pair<uint64_t, Code>>{{99, Code::kOk}}));
    EXPECT_TRUE(alice->closed.empty());
    EXPECT_EQ(alice->Info().messages_unacknowledged, 0u);
    EXPECT_EQ(bob->Info().messages_unacknowledged, 0u);
    EXPECT_EQ(alice->Info().operations_outstanding, 0u);
    EXPECT_EQ(bob->received.size() + bob->batches.size(), bob->Info().messages_received);
  }
};

}  // namespace splitplane
