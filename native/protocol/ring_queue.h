// A queue in one block of memory that is addressed by place and grows by doubling: in steady state nothing is
// allocated. Knows nothing of what waits in it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace splitplane {

template <typename T>
class RingQueue {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  // The oldest has place 0.
  T& operator[](size_t place) { return items_[(first_ + place) & (items_.size() - 1)]; }
  T& front() { return items_[first_]; }
  T& back() { return (*this)[count_ - 1]; }

  void push_back(T item) {
    if (count_ == items_.size()) Grow();
    count_++;
    back() = std::move(item);
  }
  void pop_front() {
    first_ = (first_ + 1) & (items_.size() - 1);
    count_--;
  }

 private:
  static constexpr size_t kFirstCapacity = 8;

  void Grow() {
    std::vector<T> larger(items_.empty() ? kFirstCapacity : items_.size() * 2);
    for (size_t i = 0; i < count_; i++) larger[i] = std::move((*this)[i]);
    items_ = std::move(larger);
    first_ = 0;
  }

  std::vector<T> items_;  // a power of two
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace splitplane
