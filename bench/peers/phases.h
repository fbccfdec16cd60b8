// What the minimal C programs have in common: the phases of a measurement, which the process that holds the
// clock moves from warm-up to measuring to done and its fork follows; CPU time; and the line of JSON that is
// printed. Each program includes it once; it knows nothing of how bytes move.
#ifndef SPLITPLANE_BENCH_PHASES_H_
#define SPLITPLANE_BENCH_PHASES_H_

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kRoundTripsMax = 1 << 22,  // Round trips that are recorded; later ones are not.
};

enum Phase { kWarmUp, kMeasuring, kDone };

// Shared by both processes.
struct Shared {
  _Atomic int phase;
  double fork_cpu_seconds;  // Written by the fork before it exits, read after waitpid.
};

static struct Shared* shared;

// Round trips in nanoseconds, recorded by the process that holds the clock.
static uint32_t* round_trips;
static size_t round_trip_count, operation_count;

_Noreturn static void Fail(const char* what) {
  perror(what);
  exit(1);
}

static void StayOn(const char* core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(atoi(core), &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) Fail("sched_setaffinity");
}

static double CpuSeconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int64_t NowNs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// The fork's part of the measured interval: it sees the phase a moment late, which does not matter over a
// second.
struct ForkClock {
  int phase;
  double cpu_at_begin;
};

static void FollowPhase(struct ForkClock* clock) {
  int phase = atomic_load_explicit(&shared->phase, memory_order_relaxed);
  if (phase == clock->phase) return;
  if (phase == kMeasuring) clock->cpu_at_begin = CpuSeconds();
  if (phase == kDone) shared->fork_cpu_seconds = CpuSeconds() - clock->cpu_at_begin;
  clock->phase = phase;
}

// The clock of the process that holds it.
struct Clock {
  int64_t warm_up_end_ns, measure_ns, begin_ns, end_ns;
  double cpu_at_begin, cpu_seconds;
};

static int Advance(struct Clock* clock, int64_t now) {
  int phase = atomic_load_explicit(&shared->phase, memory_order_relaxed);
  if (phase == kWarmUp && now >= clock->warm_up_end_ns) {
    clock->cpu_at_begin = CpuSeconds();
    clock->begin_ns = NowNs();
    phase = kMeasuring;
    atomic_store(&shared->phase, phase);
  } else if (phase == kMeasuring && now >= clock->begin_ns + clock->measure_ns) {
    clock->cpu_seconds = CpuSeconds() - clock->cpu_at_begin;
    clock->end_ns = now;
    phase = kDone;
    atomic_store(&shared->phase, phase);
  }
  return phase;
}

static double Elapsed(const struct Clock* clock) { return (double)(clock->end_ns - clock->begin_ns) / 1e9; }

static char* Buffer(size_t length) {
  char* buffer =
      mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (buffer == MAP_FAILED) Fail("mmap");
  return buffer;
}

static int CompareU32(const void* left, const void* right) {
  uint32_t a = *(const uint32_t*)left, b = *(const uint32_t*)right;
  return (a > b) - (a < b);
}

static double QuantileUs(const uint32_t* sorted, size_t count, double fraction) {
  size_t index = (size_t)(fraction * (double)count);
  return sorted[index < count ? index : count - 1] / 1e3;
}

static void FinishFork(pid_t fork_pid) {
  int status;
  if (waitpid(fork_pid, &status, 0) != fork_pid || status != 0) {
    fprintf(stderr, "the forked half failed\n");
    exit(1);
  }
}

static void Record(int phase, int64_t begin, int64_t end) {
  if (phase != kMeasuring) return;
  operation_count++;
  if (round_trip_count < kRoundTripsMax) round_trips[round_trip_count++] = (uint32_t)(end - begin);
}

static void PrintRoundTrips(const struct Clock* clock) {
  if (round_trip_count == 0) {
    fprintf(stderr, "no round trip was measured\n");
    exit(1);
  }
  qsort(round_trips, round_trip_count, sizeof(uint32_t), CompareU32);
  printf("{\"median\":%.4f,\"p99\":%.4f,\"p999\":%.4f,\"operations\":%zu,\"cpuSeconds\":%.6f}\n",
         QuantileUs(round_trips, round_trip_count, 0.5), QuantileUs(round_trips, round_trip_count, 0.99),
         QuantileUs(round_trips, round_trip_count, 0.999), operation_count,
         clock->cpu_seconds + shared->fork_cpu_seconds);
}

static void PrintRate(const struct Clock* clock, double operations) {
  printf("{\"perSecond\":%.4f,\"operations\":%.4f,\"cpuSeconds\":%.6f}\n", operations / Elapsed(clock),
         operations, clock->cpu_seconds + shared->fork_cpu_seconds);
}

// Memory that both processes see when it is mapped before the fork, touched.
static void* SharedMemory(size_t length) {
  void* memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) Fail("mmap");
  return memory;
}

// Forks, and answers as fork() does. The fork ends with its parent; both stay on their cores.
static pid_t ForkOn(const char* core, const char* fork_core) {
  shared = SharedMemory(sizeof *shared);
  pid_t parent = getpid();
  pid_t fork_pid = fork();
  if (fork_pid < 0) Fail("fork");
  if (fork_pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    StayOn(fork_core);
    return 0;
  }
  StayOn(core);
  round_trips = (uint32_t*)Buffer(kRoundTripsMax * sizeof(uint32_t));
  return fork_pid;
}

static struct Clock StartClock(const char* warm_up_ms, const char* measure_ms) {
  return (struct Clock){.warm_up_end_ns = NowNs() + strtoll(warm_up_ms, NULL, 10) * 1000000,
                        .measure_ns = strtoll(measure_ms, NULL, 10) * 1000000};
}

#endif  // SPLITPLANE_BENCH_PHASES_H_
