// The checks behind every tag, and what keeps them cheap: entries, their vectors and the vectors of uses are
// reused, so that in steady state nothing is allocated.
#include "native/memory/tag_table.h"

#include <algorithm>
#include <cstring>

#include "native/base/check.h"

namespace splitplane {
namespace {

constexpr size_t kSecretSize = Tag::kSize - Tag::kSecretAt;
static_assert(kSecretSize == 16);

// A use with more slices than this gives its vector back to the allocator instead of keeping it for the next.
constexpr size_t kSpareSlicesMax = 16;

constexpr uint64_t kAtomicBytes = 8;

bool SameSecret(const uint8_t* a, const uint8_t* b) {
  uint64_t difference = (LoadLittle<uint64_t>(a) ^ LoadLittle<uint64_t>(b)) |
                        (LoadLittle<uint64_t>(a + 8) ^ LoadLittle<uint64_t>(b + 8));
  // Both halves are compared before anything depends on either: the compiler may not see through this.
  asm volatile("" : "+r"(difference));
  return difference == 0;
}

Status Invalid(std::string detail) {
  return Status::Error(Code::kInvalidArgument, "export", std::move(detail));
}

// One text for every reason, so that asking with a tag tells nothing about tags.
Status Unknown() {
  return Status::Error(
      Code::kTagUnknown, "use tag",
      "no such tag for this peer: it never was, was revoked, or is meant for another; ask its "
      "owner for a new one");
}

Status Refused(Code code, const char* detail) { return Status::Error(code, "use tag", detail); }

Status ValidateSlices(const TagOptions& options, uint64_t& total) {
  if (options.slices.empty() || options.slices.size() > kSlicesPerTagMax) {
    return Invalid("a tag stands for 1 to " + std::to_string(kSlicesPerTagMax) + " slices, not " +
                   std::to_string(options.slices.size()));
  }
  total = 0;
  for (const Slice& slice : options.slices) {
    if (!slice.buffer) return Invalid("a slice without a buffer cannot be exported");
    const uint64_t within = slice.buffer->length();
    if (slice.length == 0 || slice.offset > within || slice.length > within - slice.offset) {
      return Invalid("a slice of " + std::to_string(slice.length) + " bytes from " +
                     std::to_string(slice.offset) + " is empty or not within its buffer of " +
                     std::to_string(within) + " bytes");
    }
    if (options.access != Access::kRead && (!slice.data() || !slice.buffer->region().writable())) {
      return Invalid(
          "a registered file, or a view of a peer's memory, can only be read; export it with read access");
    }
    if (slice.length > UINT64_MAX - total) return Invalid("the slices together pass 2^64 bytes");
    total += slice.length;
  }
  return {};
}

Status ValidateRights(const TagOptions& options) {
  switch (options.access) {
    case Access::kRead:
    case Access::kWrite:
      break;
    case Access::kAtomic:
      if (options.slices.size() != 1 || options.slices[0].length < kAtomicBytes ||
          reinterpret_cast<uintptr_t>(options.slices[0].data()) % kAtomicBytes != 0) {
        return Invalid(
            "an atomic tag stands for one slice of at least 8 bytes that begins at a multiple of 8");
      }
      break;
    default:
      return Invalid("access is read, write or atomic");
  }
  if (options.uses != kUnlimitedUses && (options.uses == 0 || options.uses > kCountedUsesMax)) {
    return Invalid("a tag has 1 to " + std::to_string(kCountedUsesMax) + " uses, or no bound");
  }
  // An empty name is what a peer has that nobody authenticated.
  if (options.audience.kind == Audience::Kind::kPrincipal && options.audience.principal.empty()) {
    return Invalid("a tag for a principal needs its name");
  }
  return {};
}

// Appends the part of `slices` from `offset` on, `length` bytes, which is known to be within.
void Select(const std::vector<Slice>& slices, uint64_t offset, uint64_t length, std::vector<Slice>& out) {
  for (const Slice& slice : slices) {
    if (length == 0) return;
    if (offset >= slice.length) {
      offset -= slice.length;
      continue;
    }
    const uint64_t taken = std::min(length, slice.length - offset);
    out.push_back({slice.buffer, slice.offset + offset, taken});
    offset = 0;
    length -= taken;
  }
}

}  // namespace

struct TagTable::Entry {
  // An operation is named within its session.
  struct Operation {
    uint64_t session;
    uint64_t id;
    uint32_t link;  // on which it began last
  };

  bool Includes(const Requester& who) const {
    switch (audience.kind) {
      case Audience::Kind::kSession:
        return audience.session == who.session;
      case Audience::Kind::kPrincipal:
        return audience.principal == who.principal;
      case Audience::Kind::kBearer:
        return true;
    }
    return false;
  }
  // What `operation` is if it is driven again because its link was lost, or null.
  Operation* Interrupted(const Operation& operation) {
    // The peer drives no atomic again: it may have been applied.
    if (uses == kUnlimitedUses || access == Access::kAtomic) return nullptr;
    const auto found = std::find_if(operations.begin(), operations.end(), [&](const Operation& begun) {
      return begun.session == operation.session && begun.id == operation.id && begun.link != operation.link;
    });
    return found == operations.end() ? nullptr : &*found;
  }

  uint32_t index = 0;
  uint32_t generation = 0;  // of the live tag, or of the next one; a tag that ended has an older one
  bool live = false;
  Access access = Access::kRead;
  uint32_t uses = 0;
  std::array<uint8_t, kSecretSize> secret{};
  MonotonicNs expires_at = kNever;
  uint64_t length = 0;
  uint64_t cookie = 0;
  Audience audience;
  std::vector<Slice> slices;
  std::vector<Operation> operations;  // that used this tag, when uses are counted
  std::vector<Slice> spare;           // empty: room for the slices of the next use
};

Tag Tag::From(ConstBytes from) {
  SPLITPLANE_CHECK(from.size() == kSize);
  Tag tag;
  std::memcpy(tag.bytes.data(), from.data(), kSize);
  return tag;
}

TagTable::Use::Use(Use&&) noexcept = default;

TagTable::Use& TagTable::Use::operator=(Use&& other) noexcept {
  if (this != &other) {
    End();
    entry_ = std::move(other.entry_);
    generation_ = other.generation_;
    slices_ = std::move(other.slices_);
  }
  return *this;
}

TagTable::Use::~Use() { End(); }

void TagTable::Use::End() {
  if (!entry_) return;
  const std::shared_ptr<Entry> entry = std::move(entry_);
  std::vector<Slice> slices = std::move(slices_);
  slices.clear();  // may run callbacks of those whose memory it was
  if (slices.capacity() <= kSpareSlicesMax) entry->spare = std::move(slices);
}

bool TagTable::Use::revoked(MonotonicNs now) const {
  return !entry_ || entry_->generation != generation_ || now >= entry_->expires_at;
}

bool TagTable::Use::standing() const {
  SPLITPLANE_CHECK(entry_);
  return entry_->uses == kUnlimitedUses && entry_->expires_at == kNever;
}

uint64_t TagTable::Use::tag_length() const {
  SPLITPLANE_CHECK(entry_);
  return entry_->length;
}

uint32_t TagTable::Use::index() const {
  SPLITPLANE_CHECK(entry_);
  return entry_->index;
}

TagTable::TagTable(std::array<uint8_t, 8> owner, size_t tags_max, RandomSource& random)
    : owner_(owner), tags_max_(tags_max), random_(random) {
  SPLITPLANE_CHECK(tags_max < UINT32_MAX);
}

TagTable::~TagTable() {
  observer_ = nullptr;
  RevokeAll();
}

Result<Tag> TagTable::Export(TagOptions options) {
  uint64_t total = 0;
  if (Status valid = ValidateSlices(options, total); !valid.ok()) return valid;
  if (Status valid = ValidateRights(options); !valid.ok()) return valid;
  if (stats_.live >= tags_max_) {
    return Status::Error(Code::kLimitExceeded, "export",
                         "all " + std::to_string(tags_max_) +
                             " tags are in use; release some, or let them expire, before exporting more");
  }

  Entry& entry = TakeEntry();
  entry.live = true;
  entry.access = options.access;
  entry.uses = options.uses;
  entry.expires_at = options.expires_at;
  entry.length = total;
  entry.cookie = options.cookie;
  random_.Fill(entry.secret.data(), entry.secret.size());
  sessions_[entry.index] = options.audience.session;
  if (entry.expires_at != kNever) expiries_.Add(entry.index, entry.expires_at);
  stats_.live++;
  stats_.exported++;

  Tag tag;
  std::memcpy(tag.bytes.data() + Tag::kOwnerAt, owner_.data(), owner_.size());
  StoreLittle(tag.bytes.data() + Tag::kIndexAt, entry.index);
  StoreLittle(tag.bytes.data() + Tag::kGenerationAt, entry.generation);
  std::memcpy(tag.bytes.data() + Tag::kSecretAt, entry.secret.data(), entry.secret.size());
  for (TagWatcher* watcher : watchers_) watcher->OnTagExported(tag, options);
  entry.audience = std::move(options.audience);
  entry.slices = std::move(options.slices);
  return tag;
}

TagTable::Entry& TagTable::TakeEntry() {
  if (free_.empty()) {
    auto entry = std::make_shared<Entry>();
    entry->index = uint32_t(entries_.size());
    entries_.push_back(std::move(entry));
    sessions_.push_back(0);
    return *entries_.back();
  }
  Entry& entry = *entries_[free_.back()];
  free_.pop_back();
  return entry;
}

TagTable::Entry* TagTable::Find(const Tag& tag) const {
  if (std::memcmp(tag.bytes.data() + Tag::kOwnerAt, owner_.data(), owner_.size()) != 0) return nullptr;
  const uint32_t index = LoadLittle<uint32_t>(tag.bytes.data() + Tag::kIndexAt);
  if (index >= entries_.size()) return nullptr;
  Entry& entry = *entries_[index];
  const bool same_secret = SameSecret(tag.bytes.data() + Tag::kSecretAt, entry.secret.data());
  const bool current = entry.generation == LoadLittle<uint32_t>(tag.bytes.data() + Tag::kGenerationAt);
  return entry.live && current && same_secret ? &entry : nullptr;
}

Result<TagTable::Use> TagTable::Begin(const Tag& tag, const Requester& who, Access access, uint64_t offset,
                                      uint64_t length, uint64_t operation, MonotonicNs now) {
  Entry* entry = Find(tag);
  if (!entry) {
    stats_.refused_unknown++;
    return Unknown();
  }
  if (!entry->Includes(who)) {
    stats_.refused_foreign++;
    return Unknown();
  }
  if (now >= entry->expires_at) {
    stats_.refused_expired++;
    return Refused(Code::kTagExpired, "the tag has expired; ask its owner for a new one");
  }
  const Entry::Operation named{who.session, operation, who.link};
  const bool counted = entry->uses != kUnlimitedUses;
  Entry::Operation* again = entry->Interrupted(named);
  if (counted && !again && entry->operations.size() >= entry->uses) {
    stats_.refused_exhausted++;
    return Refused(Code::kTagExhausted,
                   "the tag was used as often as it may be; ask its owner for a new one");
  }
  if (access != entry->access) {
    stats_.refused_direction++;
    return Refused(Code::kTagDirection, "the tag was not exported for this kind of access");
  }
  const bool within = length > 0 && offset <= entry->length && length <= entry->length - offset;
  const bool whole_word = access != Access::kAtomic || (length == kAtomicBytes && offset % kAtomicBytes == 0);
  if (!within || !whole_word) {
    stats_.refused_bounds++;
    return Refused(
        Code::kTagBounds,
        "the range is empty, not within what the tag stands for, or no aligned word of 8 bytes for an "
        "atomic operation");
  }

  // Only what is granted counts as a use.
  if (again) {
    again->link = who.link;
  } else if (counted) {
    entry->operations.push_back(named);
  }
  Use use;
  use.entry_ = entries_[entry->index];
  use.generation_ = entry->generation;
  use.slices_ = std::move(entry->spare);
  Select(entry->slices, offset, length, use.slices_);
  return use;
}

void TagTable::Revoke(const Tag& tag) {
  if (const Entry* entry = Find(tag)) End(entry->index, Code::kTagRevoked);
}

void TagTable::RevokeBy(const Tag& tag, const Requester& who) {
  const Entry* entry = Find(tag);
  if (entry && entry->Includes(who)) End(entry->index, Code::kOk);
}

void TagTable::RevokeSession(uint64_t session) {
  std::vector<Live> tags;
  for (uint32_t index = 0; index < sessions_.size(); index++) {
    if (sessions_[index] != session) continue;
    const Entry& entry = *entries_[index];
    if (entry.live && entry.audience.kind == Audience::Kind::kSession)
      tags.push_back({index, entry.generation});
  }
  EndAll(tags);
}

void TagTable::RevokeAll() {
  std::vector<Live> tags;
  for (const std::shared_ptr<Entry>& entry : entries_) {
    if (entry->live) tags.push_back({entry->index, entry->generation});
  }
  EndAll(tags);
}

void TagTable::EndAll(const std::vector<Live>& tags) {
  for (const Live& tag : tags) {
    const Entry& entry = *entries_[tag.index];
    if (entry.live && entry.generation == tag.generation) End(tag.index, Code::kTagRevoked);
  }
}

void TagTable::Expire(MonotonicNs now) {
  // As many as there are now at most: an observer that exports what has expired already is not served
  // forever.
  for (uint64_t left = stats_.live; left > 0 && expiries_.next() <= now && !expiries_.empty(); left--) {
    End(expiries_.next_index(), Code::kTagExpired);
  }
}

MonotonicNs TagTable::next_expiry() const { return expiries_.next(); }

std::optional<uint64_t> TagTable::CookieAt(uint32_t index) const {
  if (index >= entries_.size() || !entries_[index]->live) return std::nullopt;
  return entries_[index]->cookie;
}

// Everything is settled before anybody is told: letting the memory go and the observer both may come back
// here.
void TagTable::End(uint32_t index, Code why) {
  Entry& entry = *entries_[index];
  const uint64_t cookie = entry.cookie;
  std::vector<Slice> slices = std::move(entry.slices);
  entry.slices.clear();
  entry.operations.clear();
  entry.live = false;
  entry.generation++;
  expiries_.Remove(index);
  free_.push_back(index);
  stats_.live--;

  for (TagWatcher* watcher : watchers_) watcher->OnTagEnded(index);
  slices.clear();
  if (observer_) observer_(cookie, why);
}

}  // namespace splitplane
