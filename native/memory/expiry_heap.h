// Which of many numbered things expires next. Every thing has its place in the heap on record, so that
// removing one that never expired leaves nothing behind. Knows nothing of what expires.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/base/check.h"
#include "native/base/clock.h"

namespace splitplane {

class ExpiryHeap {
 public:
  // `index` is not in the heap yet. Indexes are dense: memory is taken for the highest.
  void Add(uint32_t index, MonotonicNs at) {
    if (index >= places_.size()) places_.resize(size_t{index} + 1, kNowhere);
    SPLITPLANE_CHECK(places_[index] == kNowhere);
    heap_.push_back({at, index});
    RiseFrom(heap_.size() - 1, {at, index});
  }

  // Takes `index` out; nothing happens if it is not in.
  void Remove(uint32_t index) {
    if (index >= places_.size() || places_[index] == kNowhere) return;
    const size_t place = places_[index];
    places_[index] = kNowhere;
    const Item last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    if (place > 0 && last.at < heap_[ParentOf(place)].at) {
      RiseFrom(place, last);
    } else {
      SinkFrom(place, last);
    }
  }

  bool empty() const { return heap_.empty(); }
  // kNever when empty.
  MonotonicNs next() const { return heap_.empty() ? kNever : heap_.front().at; }
  // Of what expires next; not when empty.
  uint32_t next_index() const { return heap_.front().index; }

 private:
  struct Item {
    MonotonicNs at;
    uint32_t index;
  };
  static constexpr uint32_t kNowhere = UINT32_MAX;
  // Four children: half the levels of two, and siblings share a cache line.
  static constexpr size_t kFanOut = 4;
  static size_t ParentOf(size_t place) { return (place - 1) / kFanOut; }

  void Put(size_t place, Item item) {
    heap_[place] = item;
    places_[item.index] = uint32_t(place);
  }

  void RiseFrom(size_t place, Item item) {
    while (place > 0 && item.at < heap_[ParentOf(place)].at) {
      Put(place, heap_[ParentOf(place)]);
      place = ParentOf(place);
    }
    Put(place, item);
  }

  void SinkFrom(size_t place, Item item) {
    for (;;) {
      const size_t first = place * kFanOut + 1;
      if (first >= heap_.size()) break;
      size_t least = first;
      for (size_t child = first + 1; child < first + kFanOut && child < heap_.size(); child++) {
        if (heap_[child].at < heap_[least].at) least = child;
      }
      if (item.at <= heap_[least].at) break;
      Put(place, heap_[least]);
      place = least;
    }
    Put(place, item);
  }

  std::vector<Item> heap_;
  std::vector<uint32_t> places_;  // by index
};

}  // namespace splitplane
