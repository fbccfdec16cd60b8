// The table of exported tags: which slices of this engine's memory a peer may reach, how, how often and until
// when. A tag is a capability (docs/ARCHITECTURE.md, "Tags"): nothing moves before this table said yes. It is
// asked by transports that serve remote operations themselves (TCP), and told by the protocol. Engine's
// thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/clock.h"
#include "native/base/random.h"
#include "native/memory/expiry_heap.h"
#include "native/memory/region.h"

namespace splitplane {

// owner (8 bytes, the first half of the owner's node identity) | locator (u32 index, u32 generation in the
// owner's table) | secret (16 random bytes, compared in constant time). Carries no address and no key.
struct Tag {
  static constexpr size_t kSize = 32;
  static constexpr size_t kOwnerAt = 0;
  static constexpr size_t kIndexAt = 8;
  static constexpr size_t kGenerationAt = 12;
  static constexpr size_t kSecretAt = 16;
  std::array<uint8_t, kSize> bytes{};

  static Tag From(ConstBytes from);  // exactly kSize bytes
  ConstBytes span() const { return bytes; }
};

// One direction per tag (docs/ARCHITECTURE.md says why): what the holder may do.
enum class Access : uint8_t { kRead = 1, kWrite = 2, kAtomic = 3 };

// Who may use a tag: one session, one authenticated principal, or whoever bears it.
struct Audience {
  enum class Kind : uint8_t { kSession = 1, kPrincipal = 2, kBearer = 3 };
  Kind kind = Kind::kSession;
  uint64_t session = 0;
  std::string principal;
};

// Who asks, and over which of the session's links: no two of those have the same number. A transport gets it
// from Endpoint::Bind once the peer is authenticated.
struct Requester {
  uint64_t session = 0;
  std::string principal;
  uint32_t link = 0;
};

inline constexpr uint32_t kUnlimitedUses = UINT32_MAX;
// A tag with a bound counts operations and remembers each, so that one driven again after a reconnect is not
// a second use. Whether the peer has had the end of an operation is not known here, so this holds for all of
// them: a peer can have one again for every link that is lost, until the tag ends. Over the same link it
// cannot.
inline constexpr uint32_t kCountedUsesMax = 64;
inline constexpr size_t kSlicesPerTagMax = 1024;

struct TagOptions {
  Audience audience;
  Access access = Access::kRead;
  std::vector<Slice>
      slices;  // in order, as one range of bytes; an atomic tag has exactly one, in memory, 8-aligned
  MonotonicNs expires_at = kNever;
  uint32_t uses = 1;    // 1..kCountedUsesMax or kUnlimitedUses
  uint64_t cookie = 0;  // given back to the observer
};

struct TagStats {
  uint64_t live = 0;
  uint64_t exported = 0;
  uint64_t refused_unknown = 0, refused_foreign = 0, refused_expired = 0, refused_exhausted = 0;
  uint64_t refused_direction = 0, refused_bounds = 0;
};

// Who must hear of tags at once, and above all of their end, whoever ended them: a transport whose peers
// reach memory without asking again takes that back before the call that ended the tag returns.
class TagWatcher {
 public:
  // There is a new tag at this index, for these.
  virtual void OnTagExported(const Tag&, const TagOptions&) {}
  // The uses of the tag at this index that are under way see revoked() from now on. May let go of them; may
  // not call the table.
  virtual void OnTagEnded(uint32_t index) = 0;

 protected:
  ~TagWatcher() = default;
};

class TagTable {
  struct Entry;

 public:
  // A use in progress: keeps the memory, though not the right, until it goes. Move only.
  class Use {
   public:
    Use() = default;
    Use(Use&&) noexcept;
    Use& operator=(Use&&) noexcept;
    ~Use();
    // The slices of the range that was asked for, in order.
    const std::vector<Slice>& slices() const { return slices_; }
    // True once the tag was revoked or expired while this use runs: stop before the next byte.
    bool revoked(MonotonicNs now) const;
    // Number that a notification about this tag carries: its locator's index.
    uint32_t index() const;
    // The tag may be used again and again, until somebody ends it.
    bool standing() const;
    // Of all that the tag stands for.
    uint64_t tag_length() const;

   private:
    friend class TagTable;
    void End();

    // The entry may have been given to another tag since: what it says holds only under this generation.
    std::shared_ptr<Entry> entry_;
    uint32_t generation_ = 0;
    std::vector<Slice> slices_;
  };

  // `owner` goes into every tag; `tags_max` bounds the table (kLimitExceeded).
  TagTable(std::array<uint8_t, 8> owner, size_t tags_max, RandomSource& random);
  // Ends every right without telling the observer; uses in progress stay valid and see revoked().
  ~TagTable();
  TagTable(const TagTable&) = delete;
  TagTable& operator=(const TagTable&) = delete;

  Result<Tag> Export(TagOptions options);

  // Asks to begin operation `operation` (an id that is unique in the requester's session) on `length` bytes
  // from `offset`. Refusals: kTagUnknown (also for a foreign audience, so that nothing is learned),
  // kTagExpired, kTagExhausted, kTagDirection, kTagBounds. A read or a write may begin again over another
  // link than the last time: that is not a second use.
  Result<Use> Begin(const Tag& tag, const Requester& who, Access access, uint64_t offset, uint64_t length,
                    uint64_t operation, MonotonicNs now);

  // Ends the right at once; uses in progress see revoked(). Unknown tags are ignored (a peer may send any);
  // with `who` only if the tag's audience includes it.
  void Revoke(const Tag& tag);
  void RevokeBy(const Tag& tag, const Requester& who);
  void RevokeSession(uint64_t session);
  void RevokeAll();
  // Drops what has expired; the next time one will is next_expiry().
  void Expire(MonotonicNs now);
  MonotonicNs next_expiry() const;

  // The cookie of the live tag at a locator index (of a notification); nullopt if it is gone.
  std::optional<uint64_t> CookieAt(uint32_t index) const;

  // Runs once for every tag that ended, whatever ended it: kTagRevoked, kTagExpired; kOk when the holder gave
  // it back.
  void set_observer(std::function<void(uint64_t cookie, Code why)> observer) {
    observer_ = std::move(observer);
  }
  void AddWatcher(TagWatcher& watcher) { watchers_.push_back(&watcher); }
  void RemoveWatcher(TagWatcher& watcher) { std::erase(watchers_, &watcher); }
  const TagStats& stats() const { return stats_; }

 private:
  // A tag at one moment, for ending many: the observer may end and export others in between.
  struct Live {
    uint32_t index;
    uint32_t generation;
  };

  Entry& TakeEntry();
  Entry* Find(const Tag& tag) const;
  void EndAll(const std::vector<Live>& tags);
  void End(uint32_t index, Code why);

  std::array<uint8_t, 8> owner_;
  size_t tags_max_;
  RandomSource& random_;
  std::vector<std::shared_ptr<Entry>> entries_;
  // By entry, the session of its audience if it is one: RevokeSession reads this in one sweep. Stale for
  // entries that are free.
  std::vector<uint64_t> sessions_;
  std::vector<uint32_t> free_;  // the last freed is the next used: its memory is warm
  ExpiryHeap expiries_;
  std::function<void(uint64_t, Code)> observer_;
  std::vector<TagWatcher*> watchers_;
  TagStats stats_;
};

}  // namespace splitplane
