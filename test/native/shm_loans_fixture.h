// Two real sides that share memory, where the server lends it to the client.
#pragma once

#include <algorithm>

#include "test/native/transport_conformance.h"

namespace splitplane::conformance {

// As TransportTest::Connect() binds them.
inline constexpr uint64_t kClientSession = 2, kServerSession = 1;

inline std::vector<Kind> ShmKinds() {
  std::vector<Kind> kinds;
  std::copy_if(Kinds().begin(), Kinds().end(), std::back_inserter(kinds),
               [](const Kind& kind) { return kind.name == "shm"; });
  return kinds;
}

class ShmLoansTest : public TransportTest {
 protected:
  void SetUp() override { Connect(); }

  BufferRef Lendable(uint64_t bytes, uint64_t seed) {
    Result<BufferRef> buffer = server.pool.Allocate(bytes, kClientSession);
    EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
    for (uint64_t i = 0; i < bytes; i++) (*buffer)->data()[i] = Pattern(seed, i);
    return *buffer;
  }
  // A tag for the client, which has heard of it.
  Tag Lend(const BufferRef& buffer, uint32_t uses = kUnlimitedUses, MonotonicNs expires_at = kNever) {
    TagOptions options;
    options.audience = {Audience::Kind::kSession, kClientSession, {}};
    options.slices = {Whole(buffer)};
    options.uses = uses;
    options.expires_at = expires_at;
    Result<Tag> tag = server.tags.Export(std::move(options));
    EXPECT_TRUE(tag.ok());
    Hear();
    return *tag;
  }
  // The client has heard everything that the server has said.
  void Hear() {
    const size_t heard = client.frames.size();
    ASSERT_TRUE(remote->PostSend(std::vector<ConstBytes>{AsBytes("heard")}).ok());
    ASSERT_TRUE(Run([&] { return client.frames.size() > heard; }));
  }
  Result<BufferRef> View(const Tag& tag, uint64_t offset, uint64_t length) {
    return endpoint->View({tag.span(), offset, length});
  }
  BufferRef MustView(const Tag& tag, uint64_t offset, uint64_t length) {
    Result<BufferRef> view = View(tag, offset, length);
    EXPECT_TRUE(view.ok()) << view.status().ToString();
    return view.ok() ? *view : BufferRef();
  }
  bool ServerIsEmpty() {
    return Run([&] { return server.pool.stats().buffer_count == 0; });
  }
};

}  // namespace splitplane::conformance
