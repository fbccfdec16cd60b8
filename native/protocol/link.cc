// Posting on links, and letting them go: an endpoint is destroyed only where none of its callbacks can be
// running. Knows nothing of what the frames say.
#include "native/protocol/link.h"

#include <algorithm>

namespace splitplane {

Link& LinkTable::Add(std::unique_ptr<Endpoint> endpoint, Transport& transport) {
  auto link = std::make_unique<Link>(timers_, owner_, std::move(endpoint), transport);
  link->place = links_.size();
  links_.push_back(std::move(link));
  StartTimerSoon(*links_.back());
  return *links_.back();
}

void LinkTable::StartTimerSoon(Link& link) {
  link.SetTimer(kNever);
  untimed_.push_back(&link);
}

bool LinkTable::Post(Link& link, std::span<const ConstBytes> pieces) {
  if (link.blocked || !link.failing.ok()) return false;
  Status status = link.endpoint->PostSend(pieces);
  if (status.ok()) return true;
  if (status.no_resource()) {
    link.blocked = true;
  } else {
    Fail(link, std::move(status));
  }
  return false;
}

void LinkTable::Fail(Link& link, Status why) {
  if (!link.failing.ok()) return;
  link.failing = std::move(why);
  failing_.push_back(&link);
}

void LinkTable::Leave(Link& link) {
  if (!link.failing.ok()) return Drop(link, link.failing);
  link.session = nullptr;
  link.phase = Link::Phase::kLeaving;
  link.endpoint->Close({});
  StartTimerSoon(link);
}

void LinkTable::Drop(Link& link, Status why) {
  if (link.phase == Link::Phase::kGone) return;
  link.session = nullptr;
  link.phase = Link::Phase::kGone;
  link.SetTimer(kNever);
  link.endpoint->Close(std::move(why));
  gone_.push_back(&link);
}

std::vector<Link*> LinkTable::TakeFailing() {
  std::vector<Link*> failing;
  std::swap(failing, failing_);
  return failing;
}

void LinkTable::Reap() {
  if (gone_.empty()) return;
  const auto is_gone = [](const Link* link) { return link->phase == Link::Phase::kGone; };
  std::erase_if(untimed_, is_gone);
  std::erase_if(failing_, is_gone);
  // An endpoint that goes may let go of the user's memory: this may not run over a list that could change.
  std::vector<Link*> gone;
  std::swap(gone, gone_);
  for (Link* link : gone) {
    const size_t place = link->place;
    std::unique_ptr<Link> owned = std::move(links_[place]);
    if (place + 1 != links_.size()) {
      links_[place] = std::move(links_.back());
      links_[place]->place = place;
    }
    links_.pop_back();
  }
}

void LinkTable::Clear() {
  untimed_.clear();
  failing_.clear();
  gone_.clear();
  links_.clear();
}

}  // namespace splitplane
