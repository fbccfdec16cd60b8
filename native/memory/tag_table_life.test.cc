// How tags end, whom that tells, and what is left of them: nothing. What a live tag allows is in
// tag_table.test.cc.
#include <algorithm>
#include <random>

#include "native/memory/tag_table_fixture.h"

namespace splitplane {
namespace {

// Goal: revoking ends the right of a use in progress, not its memory, and not the next tag's right. Method:
// hold a use over revocation and reuse of the place.
TEST_F(TagTableTest, RevocationInFlight) {
  const Tag tag = Export(Options());
  TagTable::Use use = Begin(tag, 0, 1000).value();
  BufferRef held = std::exchange(buffer_, *pool_.Allocate(4096));
  Buffer* const buffer = held.get();
  held.Reset();
  table_->Revoke(tag);
  EXPECT_TRUE(use.revoked(kNow));
  EXPECT_EQ(buffer->holders(), 1u);
  EXPECT_EQ(use.slices()[0].buffer.get(), buffer);
  const Tag next = Export(Options());
  TagTable::Use other = Begin(next, 0, 1).value();
  EXPECT_EQ(other.index(), use.index());
  EXPECT_TRUE(use.revoked(kNow));
  EXPECT_FALSE(other.revoked(kNow));
  const uint64_t count = pool_.stats().buffer_count;
  use = std::move(other);
  EXPECT_EQ(pool_.stats().buffer_count, count - 1) << "the memory of the revoked use";
  EXPECT_FALSE(use.revoked(kNow));
}

// Goal: uses outlive the table. Method: destroy it, then look and let go.
TEST_F(TagTableTest, UsesOutliveTheTable) {
  TagTable::Use use = Begin(Export(Options()), 0, 10).value();
  table_.reset();
  EXPECT_TRUE(use.revoked(kNow));
  EXPECT_EQ(use.slices().size(), 1u);
  EXPECT_EQ(buffer_->holders(), 2u);
  use = {};
  EXPECT_EQ(buffer_->holders(), 1u);
  EXPECT_TRUE(use.revoked(kNow));
  EXPECT_TRUE(ended_.empty());
}

// Goal: a tag holds its memory until it ended, used up or not. Method: count the holders.
TEST_F(TagTableTest, TagsHoldTheirMemory) {
  const Tag tag = Export(Options());
  EXPECT_EQ(buffer_->holders(), 2u);
  EXPECT_EQ(Try(tag, kPeer, 1), Code::kOk);
  EXPECT_EQ(Try(tag, kPeer, 2), Code::kTagExhausted);
  EXPECT_EQ(buffer_->holders(), 2u);
  table_->RevokeBy(tag, kPeer);
  EXPECT_EQ(buffer_->holders(), 1u);
}

// Goal: who ended a tag is told, once per tag. Method: every way to end one, some of them twice.
TEST_F(TagTableTest, TheObserverHearsOnceAndWhy) {
  const auto export_with = [this](uint64_t cookie, MonotonicNs expires_at) {
    TagOptions options = Options();
    options.cookie = cookie;
    options.expires_at = expires_at;
    return Export(options);
  };
  const Tag revoked = export_with(1, kNever), returned = export_with(2, kNever);
  export_with(3, kNow);
  export_with(4, kNever);
  EXPECT_EQ(table_->CookieAt(1), std::optional<uint64_t>(2));
  table_->Revoke(revoked);
  table_->Revoke(revoked);
  table_->RevokeBy(returned, {.session = 8, .principal = "alice"});
  EXPECT_EQ(table_->CookieAt(1), std::optional<uint64_t>(2)) << "a stranger gave it back";
  table_->RevokeBy(returned, kPeer);
  table_->RevokeBy(returned, kPeer);
  EXPECT_EQ(table_->CookieAt(1), std::nullopt);
  EXPECT_EQ(table_->CookieAt(1000), std::nullopt);
  table_->Expire(kNow);
  table_->Expire(kNow);
  table_->RevokeAll();
  table_->RevokeAll();
  EXPECT_EQ(ended_,
            (Ended{{1, Code::kTagRevoked}, {2, Code::kOk}, {3, Code::kTagExpired}, {4, Code::kTagRevoked}}));
  EXPECT_EQ(table_->stats().live, 0u);
  EXPECT_EQ(table_->stats().exported, 4u);
}

// Goal: the end of a session ends its tags and no others. Method: two sessions, a principal with the
// session's number, a bearer.
TEST_F(TagTableTest, RevokeSessionEndsThatSessionsTags) {
  std::vector<Tag> tags;
  for (int i = 0; i < 20; i++) {
    TagOptions options = Options();
    options.cookie = uint64_t(i);
    options.audience.session = i % 2 ? 7 : 8;
    if (i >= 16) options.audience.kind = Audience::Kind::kPrincipal;
    if (i >= 18) options.audience.kind = Audience::Kind::kBearer;
    options.audience.principal = "alice";
    tags.push_back(Export(options));
  }
  table_->RevokeSession(7);
  table_->RevokeSession(9);
  EXPECT_EQ(ended_.size(), 8u);
  for (const auto& [cookie, why] : ended_) {
    EXPECT_EQ(cookie % 2, 1u);
    EXPECT_EQ(why, Code::kTagRevoked);
  }
  EXPECT_EQ(table_->stats().live, 12u);
  EXPECT_EQ(Try(tags[16]), Code::kOk);
  EXPECT_EQ(Try(tags[19]), Code::kOk);
}

// Goal: the observer may come back into the table. Method: at every end it exports a new tag and revokes
// another; each end is told once, and what it exported lives on.
TEST_F(TagTableTest, TheObserverMayExportAndRevoke) {
  std::vector<Tag> old, fresh;
  for (uint64_t i = 0; i < 10; i++) {
    TagOptions options = Options();
    options.cookie = i;
    options.expires_at = kNow + i;
    old.push_back(Export(options));
  }
  const auto observe = [&](uint64_t cookie, Code why) {
    ended_.emplace_back(cookie, why);
    if (cookie >= 100) return;
    TagOptions options = Options();
    options.cookie = 100 + cookie;
    fresh.push_back(Export(options));
    table_->Revoke(old[(cookie + 5) % 10]);
  };
  table_->set_observer(observe);
  table_->RevokeSession(kPeer.session);
  EXPECT_EQ(ended_.size(), 10u);
  EXPECT_EQ(table_->stats().live, 10u);
  for (const Tag& tag : fresh) EXPECT_EQ(Try(tag), Code::kOk);
  table_->RevokeAll();
  EXPECT_EQ(ended_.size(), 20u);
  std::sort(ended_.begin(), ended_.end());
  EXPECT_EQ(std::adjacent_find(ended_.begin(), ended_.end()), ended_.end());
}

// Goal: Expire returns, although the observer exports what has expired already. Method: it does, each time.
TEST_F(TagTableTest, ExpireEndsAlthoughTheObserverGoesOn) {
  TagOptions options = Options();
  options.expires_at = kNow;
  for (int i = 0; i < 5; i++) Export(options);
  int ends = 0;
  table_->set_observer([&](uint64_t, Code) {
    ends++;
    Export(options);
  });
  table_->Expire(kNow);
  EXPECT_EQ(ends, 5);
  EXPECT_EQ(table_->stats().live, 5u);
}

// Goal: the callback that runs when user memory is let go may come back into the table, and finds the tag
// gone.
TEST_F(TagTableTest, LettingGoOfUserMemoryMayComeBack) {
  uint8_t memory[64];
  TagOptions options = Options();
  Tag tag;
  int ended = 0;
  options.slices = {{*pool_.RegisterUser(memory, sizeof(memory), nullptr,
                                         [&] {
                                           ended++;
                                           EXPECT_EQ(Try(tag), Code::kTagUnknown);
                                           Export(Options());
                                         }),
                     0, sizeof(memory)}};
  tag = Export(std::move(options));
  table_->Revoke(tag);
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(table_->stats().live, 1u);
}

// Goal: the table is bounded, says so, and recovers. Method: fill it.
TEST_F(TagTableTest, RefusesMoreTagsThanItsLimit) {
  std::vector<Tag> tags;
  for (int i = 0; i < 64; i++) tags.push_back(Export(Options()));
  const Status refused = table_->Export(Options()).status();
  EXPECT_EQ(refused.code(), Code::kLimitExceeded);
  EXPECT_NE(refused.detail().find("64"), std::string_view::npos);
  table_->Revoke(tags[3]);
  EXPECT_EQ(Try(Export(Options())), Code::kOk);
  EXPECT_EQ(table_->stats().live, 64u);
}

// Goal: what makes no sense is refused when it is exported, by our own side. Method: each mistake there is.
TEST_F(TagTableTest, RefusesBadExports) {
  const auto refused = [this](auto change) {
    TagOptions options = Options();
    change(options);
    const Status status = table_->Export(std::move(options)).status();
    EXPECT_FALSE(status.detail().empty());
    return status.code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices.clear(); }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices.resize(kSlicesPerTagMax + 1, o.slices[0]); }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices.push_back({}); }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices[0].length = 0; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices[0].length = 4001; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices[0].offset = 4096; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices[0] = {o.slices[0].buffer, UINT64_MAX, 2}; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.slices[0].length = UINT64_MAX; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.uses = 0; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.uses = kCountedUsesMax + 1; }));
  EXPECT_TRUE(refused([](TagOptions& o) { o.access = Access(0); }));
  EXPECT_TRUE(refused([](TagOptions& o) {
    o.access = Access::kAtomic;
    o.slices[0].offset = 97;
  }));
  EXPECT_TRUE(refused([](TagOptions& o) {
    o.access = Access::kAtomic;
    o.slices[0].length = 7;
  }));
  EXPECT_TRUE(refused([](TagOptions& o) {
    o.access = Access::kAtomic;
    o.slices.push_back(o.slices[0]);
  }));
  EXPECT_EQ(table_->stats().live, 0u);
  EXPECT_EQ(buffer_->holders(), 1u);
  TagOptions most = Options();
  most.slices.resize(kSlicesPerTagMax, most.slices[0]);
  EXPECT_EQ(Begin(Export(std::move(most)), 0, 1000 * kSlicesPerTagMax).value().slices().size(),
            kSlicesPerTagMax);
}

// Goal: whoever gave a device access to the memory of a tag hears of the end before the call that ended it
// returns, while the memory is still held. Method: a watcher that looks at the use and the holders, for every
// way to end a tag.
TEST_F(TagTableTest, WatchersHearAtOnce) {
  struct Watcher : TagWatcher {
    void OnTagEnded(uint32_t index) override {
      EXPECT_TRUE(use->revoked(kNow));
      EXPECT_EQ(use->index(), index);
      EXPECT_GT(use->slices()[0].buffer->holders(), 1u);
      *use = TagTable::Use();
      ended++;
    }
    std::optional<TagTable::Use> use;
    int ended = 0;
  } watcher;
  table_->AddWatcher(watcher);
  const auto end_with = [&](auto end) {
    TagOptions options = Options();
    options.expires_at = kNow + 1;
    const Tag tag = Export(std::move(options));
    watcher.use = Begin(tag, 0, 10).value();
    const int before = watcher.ended;
    end(tag);
    EXPECT_EQ(watcher.ended, before + 1);
    EXPECT_EQ(buffer_->holders(), 1u);
  };
  end_with([&](const Tag& tag) { table_->Revoke(tag); });
  end_with([&](const Tag& tag) { table_->RevokeBy(tag, kPeer); });
  end_with([&](const Tag&) { table_->RevokeSession(kPeer.session); });
  end_with([&](const Tag&) { table_->RevokeAll(); });
  table_->RemoveWatcher(watcher);
  table_->Revoke(Export(Options()));
  EXPECT_EQ(watcher.ended, 4);
}

// Goal: nothing is left behind by a million tags. Method: export, use, revoke, with an expiry far away; the
// places stay few and the memory's holders return to one.
TEST_F(TagTableTest, AMillionTagsAreFlat) {
  uint32_t highest = 0;
  for (uint64_t i = 0; i < 1'000'000; i++) {
    TagOptions options = Options();
    options.expires_at = kNow + 1'000'000'000 + i;
    const Result<Tag> tag = table_->Export(std::move(options));
    ASSERT_TRUE(tag.ok());
    highest = std::max(highest, LoadLittle<uint32_t>(tag.value().bytes.data() + Tag::kIndexAt));
    ASSERT_TRUE(Begin(tag.value(), 0, 1000, i).ok());
    table_->RevokeBy(tag.value(), kPeer);
    ended_.clear();
  }
  EXPECT_EQ(highest, 0u);
  EXPECT_EQ(table_->next_expiry(), kNever);
  EXPECT_EQ(buffer_->holders(), 1u);
  EXPECT_EQ(table_->stats().exported, 1'000'000u);
}

}  // namespace
}  // namespace splitplane
