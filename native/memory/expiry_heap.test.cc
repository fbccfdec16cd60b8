// ExpiryHeap: always gives what expires next, and nothing of what was removed.
#include "native/memory/expiry_heap.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace splitplane {
namespace {

// Goal: the order is right whatever is added and removed. Method: 200,000 random steps beside a sorted map.
TEST(ExpiryHeapTest, AgreesWithASortedMap) {
  ExpiryHeap heap;
  std::multimap<MonotonicNs, uint32_t> sorted;
  std::map<uint32_t, std::multimap<MonotonicNs, uint32_t>::iterator> placed;
  std::mt19937 generator(3);
  for (int step = 0; step < 200'000; step++) {
    const uint32_t index = generator() % 1000;
    if (auto found = placed.find(index); found != placed.end()) {
      sorted.erase(found->second);
      placed.erase(found);
      heap.Remove(index);
    } else {
      const MonotonicNs at = generator() % 500;  // many at the same time
      placed[index] = sorted.insert({at, index});
      heap.Add(index, at);
    }
    ASSERT_EQ(heap.empty(), sorted.empty());
    if (sorted.empty()) {
      ASSERT_EQ(heap.next(), kNever);
      continue;
    }
    ASSERT_EQ(heap.next(), sorted.begin()->first);
    ASSERT_EQ(placed.at(heap.next_index())->first, heap.next());
  }
}

// Goal: removing what is not there does nothing. Method: an index never added, one far beyond, one removed
// twice.
TEST(ExpiryHeapTest, RemovingNothing) {
  ExpiryHeap heap;
  heap.Remove(7);
  heap.Add(1, 10);
  heap.Remove(0);
  heap.Remove(1000);
  EXPECT_EQ(heap.next(), 10u);
  heap.Remove(1);
  heap.Remove(1);
  EXPECT_TRUE(heap.empty());
}

}  // namespace
}  // namespace splitplane
