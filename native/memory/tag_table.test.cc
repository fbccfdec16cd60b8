// TagTable is the boundary of what a peer can do to this process's memory. Each test is one way to get at it
// that must not work, or one that must. How tags end is in tag_table_life.test.cc.
#include <algorithm>
#include <cstring>
#include <random>

#include "native/memory/tag_table_fixture.h"

namespace splitplane {
namespace {

// Goal: the tag looks as the wire protocol says, and two are never alike. Method: its parts.
TEST_F(TagTableTest, TagsHaveTheirParts) {
  const Tag first = Export(Options());
  const Tag second = Export(Options());
  EXPECT_TRUE(std::equal(kOwner.begin(), kOwner.end(), first.bytes.begin()));
  EXPECT_EQ(LoadLittle<uint32_t>(first.bytes.data() + Tag::kIndexAt), 0u);
  EXPECT_EQ(LoadLittle<uint32_t>(second.bytes.data() + Tag::kIndexAt), 1u);
  EXPECT_NE(std::memcmp(first.bytes.data() + Tag::kSecretAt, second.bytes.data() + Tag::kSecretAt, 16), 0);
  EXPECT_EQ(Tag::From(first.span()).bytes, first.bytes);
}

// Goal: the audience gets exactly the bytes it asked for. Method: a range in the middle of the slice.
TEST_F(TagTableTest, GivesTheRangeThatWasAskedFor) {
  const Tag tag = Export(Options());
  const Result<TagTable::Use> use = Begin(tag, 10, 20);
  ASSERT_TRUE(use.ok());
  ASSERT_EQ(use.value().slices().size(), 1u);
  EXPECT_EQ(use.value().slices()[0].data(), buffer_->data() + 106);
  EXPECT_EQ(use.value().slices()[0].length, 20u);
  EXPECT_EQ(use.value().index(), 0u);
  EXPECT_FALSE(use.value().revoked(kNow));
}

// Goal: a range may cross slices and comes in order. Method: three slices, every range, compared byte by
// byte.
TEST_F(TagTableTest, RangesCrossSlices) {
  TagOptions options = Options();
  options.slices = {{buffer_, 100, 3}, {buffer_, 50, 1}, {buffer_, 200, 4}};
  options.uses = kUnlimitedUses;
  const Tag tag = Export(std::move(options));
  const std::vector<size_t> bytes = {100, 101, 102, 50, 200, 201, 202, 203};
  for (size_t from = 0; from < bytes.size(); from++) {
    for (size_t length = 1; from + length <= bytes.size(); length++) {
      const Result<TagTable::Use> use = Begin(tag, from, length);
      ASSERT_TRUE(use.ok());
      std::vector<size_t> got;
      for (const Slice& slice : use.value().slices()) {
        ASSERT_GT(slice.length, 0u);
        for (uint64_t i = 0; i < slice.length; i++) got.push_back(size_t(slice.data() + i - buffer_->data()));
      }
      ASSERT_EQ(got, std::vector<size_t>(bytes.begin() + from, bytes.begin() + from + length));
    }
  }
}

// Goal: a session's tag is for that session alone, and a stranger learns nothing, not even that it exists.
// Method: the right tag from another session with the same principal; the refusal is that of a tag that never
// was.
TEST_F(TagTableTest, RefusesAForeignSession) {
  const Tag tag = Export(Options());
  const Status foreign =
      table_->Begin(tag, {.session = 8, .principal = kPeer.principal}, Access::kRead, 0, 1, 1, kNow).status();
  EXPECT_EQ(table_->stats().refused_foreign, 1u);
  const Status unknown = table_->Begin(Tag(), kPeer, Access::kRead, 0, 1, 1, kNow).status();
  EXPECT_EQ(table_->stats().refused_unknown, 1u);
  EXPECT_EQ(foreign.code(), Code::kTagUnknown);
  EXPECT_EQ(foreign.ToString(), unknown.ToString());
  EXPECT_EQ(Try(tag), Code::kOk) << "a stranger's attempt is no use";
}

// Goal: nothing about a tag leaks to a stranger through another refusal. Method: a foreign session asks for
// an expired tag, the wrong direction, out of bounds, an exhausted one.
TEST_F(TagTableTest, ForeignComesBeforeEveryOtherRefusal) {
  TagOptions options = Options();
  options.expires_at = kNow + 10;
  const Tag tag = Export(options);
  EXPECT_EQ(Try(tag), Code::kOk);
  const Requester stranger{.session = 8, .principal = "eve"};
  EXPECT_EQ(table_->Begin(tag, stranger, Access::kRead, 0, 1, 2, kNow).status().code(), Code::kTagUnknown);
  EXPECT_EQ(table_->Begin(tag, stranger, Access::kRead, 0, 1, 1, kNow + 10).status().code(),
            Code::kTagUnknown);
  EXPECT_EQ(table_->Begin(tag, stranger, Access::kWrite, 0, 1, 1, kNow).status().code(), Code::kTagUnknown);
  EXPECT_EQ(table_->Begin(tag, stranger, Access::kRead, 5000, 1, 1, kNow).status().code(), Code::kTagUnknown);
  EXPECT_EQ(table_->stats().refused_foreign, 4u);
}

// Goal: a principal's tag is for every session of that principal and nobody else, least of all for who has no
// name.
TEST_F(TagTableTest, PrincipalTags) {
  TagOptions options = Options();
  options.audience = {.kind = Audience::Kind::kPrincipal, .session = 7, .principal = "alice"};
  options.uses = kUnlimitedUses;
  const Tag tag = Export(options);
  EXPECT_EQ(Try(tag, {.session = 1, .principal = "alice"}), Code::kOk);
  EXPECT_EQ(Try(tag, {.session = 2, .principal = "alice"}), Code::kOk);
  EXPECT_EQ(Try(tag, {.session = 7, .principal = "eve"}), Code::kTagUnknown);
  EXPECT_EQ(Try(tag, {.session = 7, .principal = "alice2"}), Code::kTagUnknown);
  EXPECT_EQ(Try(tag, {.session = 7, .principal = ""}), Code::kTagUnknown);
  EXPECT_EQ(table_->stats().refused_foreign, 3u);
  options.audience.principal = "";
  EXPECT_EQ(table_->Export(options).status().code(), Code::kInvalidArgument);
}

// Goal: a bearer's tag can be forwarded to anybody. Method: strangers use it.
TEST_F(TagTableTest, BearerTags) {
  TagOptions options = Options();
  options.audience.kind = Audience::Kind::kBearer;
  options.uses = 2;
  const Tag tag = Export(options);
  EXPECT_EQ(Try(tag, {.session = 100, .principal = ""}), Code::kOk);
  EXPECT_EQ(Try(tag, {.session = 200, .principal = "eve"}), Code::kOk)
      << "the same number in another session";
  EXPECT_EQ(Try(tag, {.session = 300, .principal = ""}), Code::kTagExhausted);
}

// Goal: expiry ends the right to the nanosecond, also of a use in progress, without anybody calling Expire.
TEST_F(TagTableTest, Expires) {
  TagOptions options = Options();
  options.expires_at = kNow + 10;
  options.cookie = 5;
  const Tag tag = Export(options);
  EXPECT_EQ(table_->next_expiry(), kNow + 10);
  Result<TagTable::Use> use = table_->Begin(tag, kPeer, Access::kRead, 0, 1, 1, kNow + 9);
  ASSERT_TRUE(use.ok());
  EXPECT_FALSE(use.value().revoked(kNow + 9));
  EXPECT_TRUE(use.value().revoked(kNow + 10));
  EXPECT_EQ(Try(tag, kPeer, 1, kNow + 10), Code::kTagExpired);
  EXPECT_EQ(table_->stats().refused_expired, 1u);
  table_->Expire(kNow + 9);
  EXPECT_TRUE(ended_.empty());
  table_->Expire(kNow + 10);
  EXPECT_EQ(ended_, (Ended{{5, Code::kTagExpired}}));
  EXPECT_EQ(table_->next_expiry(), kNever);
  EXPECT_EQ(Try(tag), Code::kTagUnknown);
}

// Goal: Expire drops all that is due and nothing else, however many. Method: random times, some revoked
// before.
TEST_F(TagTableTest, ExpiresExactlyWhatIsDue) {
  std::mt19937 generator(5);
  std::vector<std::pair<MonotonicNs, Tag>> tags;
  for (int i = 0; i < 60; i++) {
    TagOptions options = Options();
    options.expires_at = kNow + 1 + generator() % 100;
    options.uses = kUnlimitedUses;
    tags.emplace_back(options.expires_at, Export(options));
  }
  for (int i = 0; i < 20; i++) {
    table_->Revoke(tags.back().second);
    tags.pop_back();
  }
  for (MonotonicNs now = kNow; now <= kNow + 101; now += 7) {
    table_->Expire(now);
    MonotonicNs next = kNever;
    for (const auto& [at, tag] : tags) {
      ASSERT_EQ(Try(tag), at <= now ? Code::kTagUnknown : Code::kOk);
      if (at > now) next = std::min(next, at);
    }
    ASSERT_EQ(table_->next_expiry(), next);
  }
  EXPECT_EQ(table_->stats().live, 0u);
}

// Goal: a replay is refused, the same operation driven again over the next link is not. Method: one use, then
// several.
TEST_F(TagTableTest, CountsDistinctOperations) {
  const Requester next = OverLink(1);
  const Tag once = Export(Options());
  EXPECT_EQ(Try(once, kPeer, 1), Code::kOk);
  EXPECT_EQ(Try(once, kPeer, 1), Code::kTagExhausted);
  EXPECT_EQ(Try(once, kPeer, 2), Code::kTagExhausted);
  EXPECT_EQ(Try(once, next, 2), Code::kTagExhausted);
  EXPECT_EQ(Try(once, next, 1), Code::kOk);
  EXPECT_EQ(Try(once, next, 1), Code::kTagExhausted);
  EXPECT_EQ(table_->stats().refused_exhausted, 4u);
  EXPECT_EQ(Try(once, OverLink(3), 1), Code::kOk);

  TagOptions options = Options();
  options.uses = 2;
  const Tag twice = Export(options);
  EXPECT_EQ(Try(twice, kPeer, 1), Code::kOk);
  EXPECT_EQ(Try(twice, next, 1), Code::kOk);
  EXPECT_EQ(Try(twice, next, 2), Code::kOk) << "driving 1 again spent the use of 2";

  options.uses = kCountedUsesMax;
  const Tag many = Export(options);
  for (uint64_t operation = 0; operation < kCountedUsesMax; operation++) {
    EXPECT_EQ(Try(many, kPeer, operation), Code::kOk);
  }
  EXPECT_EQ(Try(many, kPeer, kCountedUsesMax), Code::kTagExhausted);
  for (uint64_t operation = 0; operation < kCountedUsesMax; operation++) {
    EXPECT_EQ(Try(many, next, operation), Code::kOk);
  }
}

// Goal: a number that comes twice over one link is two uses, and each of them can be driven again once.
TEST_F(TagTableTest, CountsANumberThatComesTwice) {
  TagOptions options = Options();
  options.uses = 2;
  const Tag tag = Export(options);
  for (uint32_t link = 0; link < 3; link++) {
    EXPECT_EQ(Try(tag, OverLink(link)), Code::kOk);
    EXPECT_EQ(Try(tag, OverLink(link)), Code::kOk);
    EXPECT_EQ(Try(tag, OverLink(link)), Code::kTagExhausted);
  }
}

// Goal: an atomic is applied as often as the tag has uses, over whatever links it comes.
TEST_F(TagTableTest, CountsEveryAtomic) {
  TagOptions options = Options();
  options.access = Access::kAtomic;
  const Tag tag = Export(options);
  const auto apply = [&](uint32_t link) {
    return table_->Begin(tag, OverLink(link), Access::kAtomic, 0, 8, 1, kNow).status().code();
  };
  EXPECT_EQ(apply(0), Code::kOk);
  EXPECT_EQ(apply(1), Code::kTagExhausted);
}

// Goal: what was refused is no use. Method: every refusal that comes after the audience, then the one use
// there is.
TEST_F(TagTableTest, ARefusalIsNoUse) {
  const Tag tag = Export(Options());
  EXPECT_EQ(Begin(tag, 0, 1, 1, Access::kWrite).status().code(), Code::kTagDirection);
  EXPECT_EQ(Begin(tag, 1000, 1, 2).status().code(), Code::kTagBounds);
  EXPECT_EQ(Try(tag, kPeer, 3), Code::kOk);
}

// Goal: a tag without a bound is never exhausted and remembers nothing. Method: more operations than any
// bound.
TEST_F(TagTableTest, UnlimitedUses) {
  TagOptions options = Options();
  options.uses = kUnlimitedUses;
  const Tag tag = Export(options);
  for (uint64_t operation = 0; operation < 10'000; operation++) {
    ASSERT_EQ(Try(tag, kPeer, operation), Code::kOk);
  }
}

// Goal: one direction per tag. Method: every access to every kind of tag.
TEST_F(TagTableTest, RefusesTheWrongDirection) {
  for (Access granted : {Access::kRead, Access::kWrite, Access::kAtomic}) {
    TagOptions options = Options();
    options.access = granted;
    options.uses = kUnlimitedUses;
    const Tag tag = Export(options);
    for (Access asked : {Access::kRead, Access::kWrite, Access::kAtomic, Access(0), Access(4), Access(255)}) {
      EXPECT_EQ(Begin(tag, 0, 8, 1, asked).status().code(),
                asked == granted ? Code::kOk : Code::kTagDirection)
          << int(granted) << ", " << int(asked);
    }
  }
  EXPECT_EQ(table_->stats().refused_direction, 15u);
}

// Goal: not one byte outside. Method: ranges at the edges and around 2^64, where offset + length wraps.
TEST_F(TagTableTest, RefusesWhatIsOutOfBounds) {
  TagOptions options = Options();
  options.uses = kUnlimitedUses;
  const Tag tag = Export(options);
  const std::pair<uint64_t, uint64_t> inside[] = {{0, 1000}, {999, 1}, {0, 1}, {500, 500}};
  for (const auto& [offset, length] : inside) EXPECT_TRUE(Begin(tag, offset, length).ok());
  const std::pair<uint64_t, uint64_t> outside[] = {
      {0, 1001},
      {1, 1000},
      {1000, 1},
      {1001, 1},
      {0, 0},
      {1000, 0},
      {0, UINT64_MAX},
      {UINT64_MAX, 1},
      {UINT64_MAX, 2},
      {1, UINT64_MAX},
      {999, UINT64_MAX},
      {UINT64_MAX - 999, 1000},
      {UINT64_MAX, UINT64_MAX},
      {uint64_t{1} << 63, uint64_t{1} << 63},
      {UINT64_MAX - 9, 20},
  };
  for (const auto& [offset, length] : outside) {
    EXPECT_EQ(Begin(tag, offset, length).status().code(), Code::kTagBounds) << offset << ", " << length;
  }
  EXPECT_EQ(table_->stats().refused_bounds, std::size(outside));
}

// Goal: atomic operations are on aligned words of 8 bytes. Method: offsets and lengths around them.
TEST_F(TagTableTest, AtomicsAreOnWords) {
  TagOptions options = Options();
  options.access = Access::kAtomic;
  options.uses = kUnlimitedUses;
  options.slices = {{buffer_, 96, 20}};
  const Tag tag = Export(options);
  EXPECT_TRUE(Begin(tag, 0, 8, 1, Access::kAtomic).ok());
  EXPECT_TRUE(Begin(tag, 8, 8, 1, Access::kAtomic).ok());
  const std::pair<uint64_t, uint64_t> refused[] = {{1, 8}, {4, 8},  {16, 8},
                                                   {0, 4}, {0, 16}, {UINT64_MAX - 7, 8}};
  for (const auto& [offset, length] : refused) {
    EXPECT_EQ(Begin(tag, offset, length, 1, Access::kAtomic).status().code(), Code::kTagBounds) << offset;
  }
}

// Goal: the locator alone gives nothing. Method: a right locator with each bit of the secret flipped, with
// another tag's secret, with none.
TEST_F(TagTableTest, RefusesAWrongSecret) {
  const Tag tag = Export(Options());
  const Tag other = Export(Options());
  for (size_t bit = 0; bit < 128; bit++) {
    Tag wrong = tag;
    wrong.bytes[Tag::kSecretAt + bit / 8] ^= uint8_t(1 << (bit % 8));
    ASSERT_EQ(Try(wrong), Code::kTagUnknown) << bit;
  }
  Tag mixed = tag;
  std::copy_n(other.bytes.begin() + Tag::kSecretAt, 16, mixed.bytes.begin() + Tag::kSecretAt);
  EXPECT_EQ(Try(mixed), Code::kTagUnknown);
  std::fill_n(mixed.bytes.begin() + Tag::kSecretAt, 16, 0);
  EXPECT_EQ(Try(mixed), Code::kTagUnknown);
  EXPECT_EQ(table_->stats().refused_unknown, 130u);
  EXPECT_EQ(Try(tag), Code::kOk);
}

// Goal: every byte of a tag matters. Method: flip each bit.
TEST_F(TagTableTest, EveryBitOfATagCounts) {
  const Tag tag = Export(Options());
  Export(Options());
  for (size_t bit = 0; bit < Tag::kSize * 8; bit++) {
    Tag wrong = tag;
    wrong.bytes[bit / 8] ^= uint8_t(1 << (bit % 8));
    ASSERT_EQ(Try(wrong), Code::kTagUnknown) << bit;
  }
}

// Goal: whatever bytes a peer sends, the answer is a refusal. Method: random tags, half of them with a
// plausible locator.
TEST_F(TagTableTest, RandomBytesAreRefused) {
  for (int i = 0; i < 10; i++) Export(Options());
  std::mt19937 generator(9);
  for (int i = 0; i < 100'000; i++) {
    Tag tag;
    for (uint8_t& byte : tag.bytes) byte = uint8_t(generator());
    if (i % 2 == 0) {
      std::copy(kOwner.begin(), kOwner.end(), tag.bytes.begin());
      StoreLittle<uint32_t>(tag.bytes.data() + Tag::kIndexAt, generator() % 12);
      StoreLittle<uint32_t>(tag.bytes.data() + Tag::kGenerationAt, 0);
    }
    ASSERT_EQ(Try(tag), Code::kTagUnknown);
    table_->Revoke(tag);
    table_->RevokeBy(tag, kPeer);
  }
  EXPECT_EQ(table_->stats().live, 10u);
  EXPECT_TRUE(ended_.empty());
}

// Goal: a tag that ended is dead although its place is used again, even with its secret known. Method:
// revoke, export into the same place; the old locator, and the old generation with the new secret.
TEST_F(TagTableTest, RefusesAStaleGeneration) {
  const Tag old = Export(Options());
  table_->Revoke(old);
  const Tag now = Export(Options());
  ASSERT_EQ(LoadLittle<uint32_t>(old.bytes.data() + Tag::kIndexAt),
            LoadLittle<uint32_t>(now.bytes.data() + Tag::kIndexAt));
  EXPECT_EQ(Try(old), Code::kTagUnknown);
  Tag mixed = now;
  std::copy_n(old.bytes.begin() + Tag::kGenerationAt, 4, mixed.bytes.begin() + Tag::kGenerationAt);
  EXPECT_EQ(Try(mixed), Code::kTagUnknown);
  table_->Revoke(old);
  EXPECT_EQ(Try(now), Code::kOk);
}

// Goal: who held a tag cannot guess its way into what comes after it. Method: revoke, then ask with the
// secret it knows under the next generations, while the place is free and when it has a new tag.
TEST_F(TagTableTest, RefusesAGuessedGeneration) {
  const Tag old = Export(Options());
  table_->Revoke(old);
  const auto guess = [&] {
    for (uint32_t generation = 0; generation < 10; generation++) {
      Tag guessed = old;
      StoreLittle(guessed.bytes.data() + Tag::kGenerationAt, generation);
      EXPECT_EQ(Try(guessed), Code::kTagUnknown) << generation;
    }
  };
  guess();
  Export(Options());
  guess();
}

// Goal: a new tag begins clean: nothing of the one that had its place before. Method: exhaust a tag, revoke,
// export again.
TEST_F(TagTableTest, AReusedPlaceForgets) {
  TagOptions options = Options();
  options.expires_at = kNow + 5;
  const Tag old = Export(options);
  EXPECT_EQ(Try(old, kPeer, 1), Code::kOk);
  table_->Revoke(old);
  const Tag now = Export(Options());
  EXPECT_EQ(Try(now, kPeer, 2, kNow + 100), Code::kOk);
  EXPECT_EQ(Try(now, kPeer, 1), Code::kTagExhausted) << "operation 1 was remembered from the tag before";
  EXPECT_EQ(table_->next_expiry(), kNever);
}

}  // namespace
}  // namespace splitplane
