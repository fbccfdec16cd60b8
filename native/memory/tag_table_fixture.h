// What the suites of TagTable share: a table, one buffer, a peer, and a record of what the observer heard.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "native/memory/pool.h"
#include "native/memory/tag_table.h"

namespace splitplane {

inline constexpr MonotonicNs kNow = 1000;
inline constexpr std::array<uint8_t, 8> kOwner = {1, 2, 3, 4, 5, 6, 7, 8};
inline const Requester kPeer{.session = 7, .principal = "alice"};

// The same peer, over another link.
inline Requester OverLink(uint32_t link) {
  return {.session = kPeer.session, .principal = kPeer.principal, .link = link};
}

class TagTableTest : public testing::Test {
 protected:
  TagTableTest() {
    table_.emplace(kOwner, 64, random_);
    table_->set_observer([this](uint64_t cookie, Code why) { ended_.emplace_back(cookie, why); });
    buffer_ = *pool_.Allocate(4096);
  }

  // One slice of 1000 bytes from 96 on, for kPeer's session, one use.
  TagOptions Options() const {
    TagOptions options;
    options.audience.session = kPeer.session;
    options.slices = {{buffer_, 96, 1000}};
    return options;
  }
  Tag Export(TagOptions options) {
    Result<Tag> tag = table_->Export(std::move(options));
    EXPECT_TRUE(tag.ok()) << tag.status().ToString();
    return tag.ok() ? *tag : Tag();
  }
  // What beginning a read of the first byte comes to.
  Code Try(const Tag& tag, const Requester& who = kPeer, uint64_t operation = 1, MonotonicNs now = kNow) {
    return table_->Begin(tag, who, Access::kRead, 0, 1, operation, now).status().code();
  }
  Result<TagTable::Use> Begin(const Tag& tag, uint64_t offset, uint64_t length, uint64_t operation = 1,
                              Access access = Access::kRead) {
    return table_->Begin(tag, kPeer, access, offset, length, operation, kNow);
  }
  using Ended = std::vector<std::pair<uint64_t, Code>>;

  RandomSource random_;
  MemoryPool pool_{{}};
  BufferRef buffer_;
  std::optional<TagTable> table_;
  Ended ended_;
};

}  // namespace splitplane
