// The floor of shared memory: what two processes reach through memory that both see, polling, with nothing
// above it. `rtt`: a message is written behind a number, the other side waits for the number, and answers in
// the same way; up to a cache line it is what the processor takes to move lines. `rate`: a ring of messages
// with one writer and one reader. `pull`: one side copies what the other has written. Prints one line of
// JSON.
//
//   cmemory rtt|rate|pull  SIZE  WARMUP_MS  MEASURE_MS  CORE  FORK_CORE
#define _GNU_SOURCE
#include <string.h>

#include "phases.h"

enum {
  kLineBytes = 64,
  kRingSlots = 4096,      // Of a message each; a power of two.
  kMessagesPerStep = 64,  // Between two looks at the clock and at the other side.
  kSizeMax = 1 << 28,
};

// What one side writes and the other one reads.
struct Line {
  _Alignas(kLineBytes) _Atomic uint64_t sequence;
};

struct Channel {
  struct Line there, back;
};

static void Wait(struct Line* line, uint64_t wanted) {
  // Without a pause: it costs as much as the line takes, and each side has a core of its own.
  while (atomic_load_explicit(&line->sequence, memory_order_acquire) < wanted) continue;
}

static void Publish(struct Line* line, uint64_t sequence) {
  atomic_store_explicit(&line->sequence, sequence, memory_order_release);
}

// A round trip of `size` bytes: written to `from` on one side, read from there on the other.
static void Echo(struct Channel* channel, char* there, char* back, size_t size) {
  struct ForkClock clock = {0};
  char* own = Buffer(size);
  for (uint64_t round = 1; clock.phase != kDone; round++) {
    Wait(&channel->there, round);
    memcpy(own, there, size);
    memcpy(back, own, size);
    FollowPhase(&clock);
    Publish(&channel->back, round);
  }
}

static void Ping(struct Channel* channel, char* there, char* back, size_t size, struct Clock* clock) {
  char* own = Buffer(size);
  int phase = kWarmUp;
  for (uint64_t round = 1; phase != kDone; round++) {
    int64_t begin = NowNs();
    memcpy(there, own, size);
    // The last one is answered by a fork that has seen that it is the last.
    if (begin >= clock->begin_ns + clock->measure_ns && phase == kMeasuring) phase = Advance(clock, begin);
    Publish(&channel->there, round);
    Wait(&channel->back, round);
    memcpy(own, back, size);
    int64_t end = NowNs();
    Record(phase, begin, end);
    if (phase == kWarmUp) phase = Advance(clock, end);
  }
}

// Publishes how much is written, and waits where the reader is a ring behind.
static void Write(struct Channel* channel, char* ring, size_t size) {
  struct ForkClock clock = {0};
  for (uint64_t written = 0; clock.phase != kDone; FollowPhase(&clock)) {
    uint64_t read = atomic_load_explicit(&channel->back.sequence, memory_order_acquire);
    if (written - read > kRingSlots - kMessagesPerStep) continue;
    for (int i = 0; i < kMessagesPerStep; i++) {
      written++;
      memcpy(ring + (written % kRingSlots) * size, &written, sizeof written);
    }
    Publish(&channel->there, written);
  }
}

static uint64_t Read(struct Channel* channel, const char* ring, size_t size, struct Clock* clock) {
  uint64_t read = 0, measured = 0;
  int phase = kWarmUp;
  while (phase != kDone) {
    uint64_t written = atomic_load_explicit(&channel->there.sequence, memory_order_acquire);
    if (phase == kMeasuring) measured += written - read;
    while (read < written) {
      uint64_t sequence;
      read++;
      memcpy(&sequence, ring + (read % kRingSlots) * size, sizeof sequence);
      if (sequence != read) Fail("a message is out of order");
    }
    Publish(&channel->back, read);
    phase = Advance(clock, NowNs());
  }
  return measured;
}

static uint64_t Copy(const char* from, size_t size, struct Clock* clock) {
  char* own = Buffer(size);
  uint64_t copies = 0;
  int phase = kWarmUp;
  while (phase != kDone) {
    memcpy(own, from, size);
    // Else the compiler might see that nobody reads the copy.
    __asm__ volatile("" : : "r"(own) : "memory");
    if (phase == kMeasuring) copies++;
    phase = Advance(clock, NowNs());
  }
  return copies;
}

static void FollowUntilDone(void) {
  struct ForkClock clock = {0};
  while (clock.phase != kDone) {
    usleep(1000);
    FollowPhase(&clock);
  }
}

int main(int argc, char** argv) {
  size_t size = argc == 7 ? strtoull(argv[2], NULL, 10) : 0;
  if (size < sizeof(uint64_t) || size > kSizeMax) {
    fprintf(stderr, "usage: cmemory rtt|rate|pull SIZE WARMUP_MS MEASURE_MS CORE FORK_CORE\n");
    return 64;
  }
  const char* what = argv[1];
  int is_rate = strcmp(what, "rate") == 0;
  struct Channel* channel = SharedMemory(sizeof *channel);
  char* there = SharedMemory(is_rate ? size * kRingSlots : size);
  char* back = SharedMemory(size);
  memset(there, 1, size);
  pid_t fork_pid = ForkOn(argv[5], argv[6]);
  if (fork_pid == 0) {
    if (strcmp(what, "rtt") == 0)
      Echo(channel, there, back, size);
    else if (is_rate)
      Write(channel, there, size);
    else
      FollowUntilDone();
    return 0;
  }
  struct Clock clock = StartClock(argv[3], argv[4]);
  uint64_t operations = 0;
  if (strcmp(what, "rtt") == 0)
    Ping(channel, there, back, size, &clock);
  else
    operations = is_rate ? Read(channel, there, size, &clock) : Copy(there, size, &clock);
  FinishFork(fork_pid);
  if (operations == 0)
    PrintRoundTrips(&clock);
  else
    PrintRate(&clock, (double)operations);
  return 0;
}
