// PollPolicy: polls where that is shorter, long enough for what is to come, and not for a peer that it keeps
// from running.
#include "native/addon/poll_policy.h"

#include <gtest/gtest.h>

namespace splitplane::addon {
namespace {

constexpr MonotonicNs kWakeNs = 60'000;

class PollPolicyTest : public ::testing::Test {
 protected:
  // Waits once for what comes after `ns`; whoever sleeps hears of it later. True when it was awake for it.
  bool Wait(MonotonicNs ns) {
    const MonotonicNs polls = policy_.Wait(now_);
    now_ += polls >= ns ? ns : ns + kWakeNs;
    policy_.Arrived(now_);
    return polls >= ns;
  }

  PollPolicy policy_{PollMode::kAdaptive};
  MonotonicNs now_ = 1'000'000;
};

// Goal: bulk, one transfer at a time, is waited for awake. Method: many short waits within a transfer, two
// long ones between two.
TEST_F(PollPolicyTest, StaysAwakeForLongWaitsBetweenShortOnes) {
  int asleep = 0;
  for (int transfer = 0; transfer < 2000; transfer++) {
    for (int piece = 0; piece < 8; piece++) asleep += Wait(5'000) ? 0 : 1;
    for (int side = 0; side < 2; side++) asleep += Wait(240'000) ? 0 : 1;
  }
  // The trials, and the first long wait, which nobody could know of.
  EXPECT_LE(asleep, 2000 * 10 / int(PollPolicy::kTrySleepingEvery) + 3);
}

// Goal: rare long waits do not end polling. Method: one collection of garbage in a hundred waits.
TEST_F(PollPolicyTest, IsNotMisledByOutliers) {
  int asleep = 0;
  for (int i = 1; i <= 10'000; i++) asleep += Wait(i % 100 == 0 ? 1'900'000 : 8'000) ? 0 : 1;
  EXPECT_LE(asleep, 100 + 10'000 / int(PollPolicy::kTrySleepingEvery) + 1);
}

// Goal: a peer on this very processor gets it. Method: polling lasts until the scheduler steps in; asleep the
// answer comes at once. Then the peer moves away.
TEST_F(PollPolicyTest, SleepsForAPeerThatNeedsThisProcessorAndPollsAgainAfterwards) {
  int awake = 0;
  for (int i = 0; i < 2000; i++) {
    if (policy_.Wait(now_) > 0) {
      awake += i < 200 ? 0 : 1;
      policy_.Preempted();
      now_ += 4'000'000;
    } else {
      now_ += 20'000;
    }
    policy_.Arrived(now_);
  }
  EXPECT_LE(awake, 1800 / int(PollPolicy::kTryPollingEvery) + 1);
  int asleep = 0;
  for (int i = 0; i < 4000; i++) asleep += !Wait(8'000) && i >= 3000 ? 1 : 0;
  EXPECT_LE(asleep, 1000 / int(PollPolicy::kTrySleepingEvery) + 1);
}

// Goal: who waits for long does not burn the processor meanwhile. Method: waits longer than polling ever
// lasts.
TEST_F(PollPolicyTest, DoesNotPollForWhatIsFar) {
  for (int i = 0; i < 200; i++) Wait(1'500'000);
  int polled = 0;
  for (int i = 0; i < 3200; i++) {
    polled += policy_.Wait(now_) > 0 ? 1 : 0;
    now_ += 1'500'000;
    policy_.Arrived(now_);
  }
  EXPECT_LE(polled, 3200 / int(PollPolicy::kTryPollingEvery) + 1);
}

// Goal: the modes that do not adapt. Method: ask them.
TEST(PollPolicyModes, EventNeverPollsAndBusyAlwaysDoes) {
  PollPolicy event(PollMode::kEvent);
  PollPolicy busy(PollMode::kBusy);
  for (MonotonicNs now = 1; now < 1000; now++) {
    EXPECT_EQ(event.Wait(now), 0);
    EXPECT_GT(busy.Wait(now), 0);
  }
}

}  // namespace
}  // namespace splitplane::addon
