// The order of attempts and the words for what they came to.
#include "native/protocol/routes.h"

#include <algorithm>
#include <numeric>

namespace splitplane {

Routes::Routes(std::vector<Entry> entries) : entries_(std::move(entries)), order_(entries_.size()) {
  BeginRound();
}

void Routes::BeginRound() {
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::stable_partition(order_.begin(), order_.end(),
                        [this](size_t index) { return entries_[index].unproven < kUnprovenMax; });
  next_ = 0;
}

const Routes::Entry* Routes::Next() {
  if (next_ == order_.size()) return nullptr;
  current_ = order_[next_++];
  return &entries_[current_];
}

bool Routes::HasMore() const {
  return std::any_of(order_.begin() + ptrdiff_t(next_), order_.end(),
                     [this](size_t index) { return entries_[index].transport != nullptr; });
}

void Routes::PassOver(Status why) { entries_[current_].why = std::move(why); }

void Routes::Carries() { entries_[current_].why = {}; }

void Routes::Lost(Status why, MonotonicNs lived) {
  Entry& lost = entries_[current_];
  lost.why = std::move(why);
  lost.unproven = lived < kProvenNs ? lost.unproven + 1 : 0;
}

Status Routes::Failure() const {
  // What is not available here is worth a word only where nothing else was there to be tried.
  const bool tried = std::any_of(entries_.begin(), entries_.end(),
                                 [](const Entry& entry) { return entry.transport != nullptr; });
  const Entry* last = nullptr;
  std::string others;
  for (const Entry& entry : entries_) {
    if (tried && !entry.transport) continue;
    if (last) others += "over " + last->name + ": " + last->why.ToString() + "; ";
    last = &entry;
  }
  const Status& why = last->why;
  if (others.empty()) return why;
  return Status::Error(why.code(), why.operation(),
                       others + "over " + last->name + ": " + std::string(why.detail()), why.system_errno());
}

std::vector<PassedOver> Routes::passed_over() const {
  std::vector<PassedOver> better;
  for (size_t i = 0; i < current_; i++) better.push_back({entries_[i].name, entries_[i].why});
  return better;
}

}  // namespace splitplane
