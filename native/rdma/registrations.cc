// Registering, and what goes when there is too much.
#include "native/rdma/registrations.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>

#include "native/base/check.h"

namespace splitplane::rdma {
namespace {

// Regions are never numbered twice in an engine.
uint64_t KeyOf(const Region& region, uint64_t chunk) { return uint64_t{region.id()} << 32 | chunk; }

}  // namespace

Registrations::Registrations(std::shared_ptr<ProtectionDomain> domain, int access)
    : domain_(std::move(domain)), access_(access) {
  domain_->library().keepers.push_back(this);
}

Registrations::~Registrations() { std::erase(domain_->library().keepers, this); }

Result<Registrations::Lease> Registrations::Reach(const Region& region, uint64_t offset) {
  const uint64_t index = offset / kChunkBytes;
  const uint64_t key = KeyOf(region, index);
  if (const auto found = chunks_.find(key); found != chunks_.end()) {
    used_.splice(used_.end(), used_, found->second.place);
    return Lease(&found->second);
  }
  const uint64_t begin = index * kChunkBytes;
  const uint64_t length = std::min(kChunkBytes, region.length() - begin);
  Result<std::unique_ptr<Registration>> made = Register(region.data() + begin, length, access_);
  if (!made.ok()) return made.status();
  Chunk& chunk = chunks_[key];
  chunk.key = key;
  chunk.registration = std::move(*made);
  chunk.end = begin + length;
  chunk.place = used_.insert(used_.end(), &chunk);
  bytes_ += length;
  Lease lease(&chunk);
  Trim(kKeptBytesMax);
  return lease;
}

Result<std::unique_ptr<Registration>> Registrations::Register(void* data, uint64_t length, int access) {
  return Registration::Make(domain_, data, length, access);
}

bool Registrations::Trim(uint64_t bytes_max) {
  const uint64_t before = bytes_;
  for (auto at = used_.begin(); bytes_ > bytes_max && at != used_.end();) {
    Chunk& chunk = **at;
    if (chunk.users > 0) {
      ++at;
      continue;
    }
    at = used_.erase(at);
    bytes_ -= chunk.registration->get()->length;
    chunks_.erase(chunk.key);
  }
  return bytes_ < before;
}

void Registrations::Forget(const Region& region) {
  for (auto at = used_.begin(); at != used_.end();) {
    Chunk& chunk = **at;
    if (chunk.key >> 32 != region.id()) {
      ++at;
      continue;
    }
    SPLITPLANE_CHECK(chunk.users == 0);
    at = used_.erase(at);
    bytes_ -= chunk.registration->get()->length;
    chunks_.erase(chunk.key);
  }
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS
