// The floor: what two processes reach over a loopback TCP connection with plain sockets and nothing above
// them. One process pings, or receives; its fork echoes, or sends. The first holds the clock: it moves the
// shared phase from warm-up to measuring to done, and both take their CPU time when they see it move. Prints
// one line of JSON. One case per run, single threaded.
//
//   cpair rtt|push|pull|rate  SIZE  event|busy  WARMUP_MS  MEASURE_MS  CORE  FORK_CORE
//
// The two cores keep the halves apart, as on two hosts; see `placement` in children.ts.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kReadBytes = 64 * 1024,    // Reads of this size, placed one after the other, beat one large read.
  kBatchBytes = 64 * 1024,   // Small messages leave in writes of this size.
  kPullsInFlight = 4,        // Enough that the sender never waits for a request.
  kRoundTripsMax = 1 << 22,  // Round trips that are recorded; later ones are not.
  kSizeMax = 1 << 28,
};

enum Phase { kWarmUp, kMeasuring, kDone };

// Shared by both processes.
struct Shared {
  _Atomic int phase;
  double fork_cpu_seconds;  // Written by the fork before it exits, read after waitpid.
};

static struct Shared* shared;

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

// Answers with the bytes read, or 0 at the end of the stream.
static size_t Receive(int fd, char* into, size_t length, int spin) {
  for (;;) {
    ssize_t count = recv(fd, into, length, spin ? MSG_DONTWAIT : 0);
    if (count >= 0) return (size_t)count;
    if (errno == ECONNRESET) return 0;
    if (errno != EAGAIN && errno != EINTR) Fail("recv");
  }
}

static int ReceiveAll(int fd, char* into, size_t length, int spin) {
  for (size_t done = 0; done < length;) {
    size_t count = Receive(fd, into + done, length - done, spin);
    if (count == 0) return 0;
    done += count;
  }
  return 1;
}

// Answers with 0 when the other side is gone.
static int SendAll(int fd, const char* from, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t count = send(fd, from + done, length - done, MSG_NOSIGNAL);
    if (count >= 0) {
      done += (size_t)count;
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return 0;
    } else if (errno != EINTR) {
      Fail("send");
    }
  }
  return 1;
}

static char* Buffer(size_t length) {
  char* buffer =
      mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (buffer == MAP_FAILED) Fail("mmap");
  return buffer;
}

static void Echo(int fd, size_t size, int spin) {
  struct ForkClock clock = {0};
  char* buffer = Buffer(size);
  while (ReceiveAll(fd, buffer, size, spin)) {
    FollowPhase(&clock);
    if (!SendAll(fd, buffer, size)) break;
  }
  FollowPhase(&clock);
}

static void Send(int fd, size_t size, int on_request) {
  struct ForkClock clock = {0};
  char* buffer = Buffer(size);
  while (clock.phase != kDone) {
    char request;
    if (on_request && !ReceiveAll(fd, &request, 1, 0)) break;
    if (!SendAll(fd, buffer, size)) break;
    FollowPhase(&clock);
  }
}

static void SendMessages(int fd, size_t size) {
  struct ForkClock clock = {0};
  size_t batch_bytes = kBatchBytes - kBatchBytes % size;
  char* batch = Buffer(kBatchBytes);
  uint64_t sequence = 0;
  while (clock.phase != kDone) {
    for (size_t at = 0; at < batch_bytes; at += size) {
      sequence++;
      memcpy(batch + at, &sequence, sizeof sequence);
    }
    if (!SendAll(fd, batch, batch_bytes)) break;
    FollowPhase(&clock);
  }
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

static void Ping(int fd, size_t size, int spin, struct Clock* clock, pid_t fork_pid) {
  uint32_t* round_trips = (uint32_t*)Buffer(kRoundTripsMax * sizeof(uint32_t));
  char* buffer = Buffer(size);
  size_t count = 0, operations = 0;
  int phase = kWarmUp;
  while (phase != kDone) {
    int64_t begin = NowNs();
    if (!SendAll(fd, buffer, size) || !ReceiveAll(fd, buffer, size, spin)) Fail("the echo is gone");
    int64_t end = NowNs();
    if (phase == kMeasuring) {
      operations++;
      if (count < kRoundTripsMax) round_trips[count++] = (uint32_t)(end - begin);
    }
    phase = Advance(clock, end);
  }
  shutdown(fd, SHUT_WR);
  FinishFork(fork_pid);
  if (count == 0) Fail("no round trip was measured");
  qsort(round_trips, count, sizeof(uint32_t), CompareU32);
  printf("{\"median\":%.4f,\"p99\":%.4f,\"p999\":%.4f,\"operations\":%zu,\"cpuSeconds\":%.6f}\n",
         QuantileUs(round_trips, count, 0.5), QuantileUs(round_trips, count, 0.99),
         QuantileUs(round_trips, count, 0.999), operations, clock->cpu_seconds + shared->fork_cpu_seconds);
}

static void PrintRate(const struct Clock* clock, double operations) {
  printf("{\"perSecond\":%.4f,\"operations\":%.4f,\"cpuSeconds\":%.6f}\n", operations / Elapsed(clock),
         operations, clock->cpu_seconds + shared->fork_cpu_seconds);
}

static void ReceiveStream(int fd, size_t size, int send_requests, struct Clock* clock, pid_t fork_pid) {
  char* buffer = Buffer(size);
  char requests[kPullsInFlight] = {0};
  if (send_requests) SendAll(fd, requests, sizeof requests);
  size_t at = 0;
  uint64_t measured_bytes = 0;
  int phase = kWarmUp;
  for (;;) {
    size_t wanted = size - at < kReadBytes ? size - at : kReadBytes;
    size_t count = Receive(fd, buffer + at, wanted, 0);
    if (count == 0) break;
    at += count;
    if (phase == kMeasuring) measured_bytes += count;
    if (at == size) {
      at = 0;
      if (send_requests && phase != kDone && !SendAll(fd, requests, 1)) break;
    }
    phase = Advance(clock, NowNs());
    if (phase == kDone && send_requests) shutdown(fd, SHUT_WR);
  }
  FinishFork(fork_pid);
  PrintRate(clock, (double)measured_bytes / (double)size);
}

static void ReceiveMessages(int fd, size_t size, struct Clock* clock, pid_t fork_pid) {
  char* buffer = Buffer(kReadBytes + size);
  size_t held = 0;
  uint64_t messages = 0, sequence = 0, expected = 1;
  int phase = kWarmUp;
  for (;;) {
    size_t count = Receive(fd, buffer + held, kReadBytes, 0);
    if (count == 0) break;
    held += count;
    size_t at = 0;
    for (; held - at >= size; at += size) {
      memcpy(&sequence, buffer + at, sizeof sequence);
      if (sequence != expected++) Fail("a message is out of order");
      messages += phase == kMeasuring;
    }
    held -= at;
    memmove(buffer, buffer + at, held);
    phase = Advance(clock, NowNs());
  }
  FinishFork(fork_pid);
  PrintRate(clock, (double)messages);
}

static int Listen(struct sockaddr_in* address) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t length = sizeof *address;
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (listener < 0 || bind(listener, (struct sockaddr*)address, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, (struct sockaddr*)address, &length) != 0) {
    Fail("listen");
  }
  return listener;
}

static int WithoutDelay(int fd) {
  int one = 1;
  if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) Fail("connect");
  return fd;
}

int main(int argc, char** argv) {
  size_t size = argc == 8 ? strtoull(argv[2], NULL, 10) : 0;
  if (size < sizeof(uint64_t) || size > kSizeMax) {
    fprintf(stderr, "usage: cpair rtt|push|pull|rate SIZE event|busy WARMUP_MS MEASURE_MS CORE FORK_CORE\n");
    return 64;
  }
  const char* what = argv[1];
  int spin = strcmp(argv[3], "busy") == 0;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) Fail("mmap");

  struct sockaddr_in address;
  int listener = Listen(&address);
  pid_t parent = getpid();
  pid_t fork_pid = fork();
  if (fork_pid < 0) Fail("fork");
  if (fork_pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) return 1;
    StayOn(argv[7]);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof address) != 0) Fail("connect");
    WithoutDelay(fd);
    if (strcmp(what, "rtt") == 0)
      Echo(fd, size, spin);
    else if (strcmp(what, "rate") == 0)
      SendMessages(fd, size);
    else
      Send(fd, size, strcmp(what, "pull") == 0);
    return 0;
  }
  StayOn(argv[6]);
  int fd = WithoutDelay(accept(listener, NULL, NULL));
  struct Clock clock = {.warm_up_end_ns = NowNs() + strtoll(argv[4], NULL, 10) * 1000000,
                        .measure_ns = strtoll(argv[5], NULL, 10) * 1000000};
  if (strcmp(what, "rtt") == 0)
    Ping(fd, size, spin, &clock, fork_pid);
  else if (strcmp(what, "rate") == 0)
    ReceiveMessages(fd, size, &clock, fork_pid);
  else
    ReceiveStream(fd, size, strcmp(what, "pull") == 0, &clock, fork_pid);
  return 0;
}
