// The floor: what two processes reach over a connection within a host, TCP on loopback or a unix socket, with
// plain sockets and nothing above them. One process pings, or receives; its fork echoes, or sends. The first
// holds the clock. Prints one line of JSON. One case per run, single threaded.
//
//   cpair rtt|fetch|push|pull|rate  SIZE  event|busy  WARMUP_MS  MEASURE_MS  CORE  FORK_CORE  tcp|unix
//
// The two cores keep the halves apart, as on two hosts; see `placement` in children.ts.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "phases.h"

enum {
  kReadBytes = 64 * 1024,   // Reads of this size, placed one after the other, beat one large read.
  kBatchBytes = 64 * 1024,  // Small messages leave in writes of this size.
  kPullsInFlight = 4,       // Enough that the sender never waits for a request.
  kSizeMax = 1 << 28,
};

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

static void Echo(int fd, size_t request, size_t answer, int spin) {
  struct ForkClock clock = {0};
  char* buffer = Buffer(request > answer ? request : answer);
  while (ReceiveAll(fd, buffer, request, spin)) {
    FollowPhase(&clock);
    if (!SendAll(fd, buffer, answer)) break;
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

static void Ping(int fd, size_t request, size_t answer, int spin, struct Clock* clock, pid_t fork_pid) {
  char* buffer = Buffer(request > answer ? request : answer);
  int phase = kWarmUp;
  while (phase != kDone) {
    int64_t begin = NowNs();
    if (!SendAll(fd, buffer, request) || !ReceiveAll(fd, buffer, answer, spin)) Fail("the echo is gone");
    int64_t end = NowNs();
    Record(phase, begin, end);
    phase = Advance(clock, end);
  }
  shutdown(fd, SHUT_WR);
  FinishFork(fork_pid);
  PrintRoundTrips(clock);
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

static int Listen(int family, struct sockaddr_storage* address, socklen_t* length) {
  int listener = socket(family, SOCK_STREAM, 0);
  *length = sizeof(struct sockaddr_in);
  if (family == AF_UNIX) {
    // A name of its own that no file has: the kernel makes one up and forgets it with the socket.
    *length = sizeof(sa_family_t);
    ((struct sockaddr_un*)address)->sun_family = AF_UNIX;
  } else {
    *(struct sockaddr_in*)address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  }
  if (listener < 0 || bind(listener, (struct sockaddr*)address, *length) != 0 || listen(listener, 1) != 0) {
    Fail("listen");
  }
  *length = sizeof *address;
  if (getsockname(listener, (struct sockaddr*)address, length) != 0) Fail("getsockname");
  return listener;
}

static int WithoutDelay(int family, int fd) {
  int one = 1;
  if (fd < 0) Fail("connect");
  if (family == AF_INET && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
    Fail("setsockopt");
  return fd;
}

int main(int argc, char** argv) {
  size_t size = argc == 9 ? strtoull(argv[2], NULL, 10) : 0;
  if (size < sizeof(uint64_t) || size > kSizeMax) {
    fprintf(stderr,
            "usage: cpair rtt|fetch|push|pull|rate SIZE event|busy WARMUP_MS MEASURE_MS CORE FORK_CORE "
            "tcp|unix\n");
    return 64;
  }
  const char* what = argv[1];
  int spin = strcmp(argv[3], "busy") == 0;
  int family = strcmp(argv[8], "unix") == 0 ? AF_UNIX : AF_INET;
  int is_fetch = strcmp(what, "fetch") == 0;
  int is_round_trip = is_fetch || strcmp(what, "rtt") == 0;
  size_t request = is_fetch ? 1 : size;

  struct sockaddr_storage address;
  socklen_t length;
  int listener = Listen(family, &address, &length);
  pid_t fork_pid = ForkOn(argv[6], argv[7]);
  if (fork_pid == 0) {
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr*)&address, length) != 0) Fail("connect");
    WithoutDelay(family, fd);
    if (is_round_trip)
      Echo(fd, request, size, spin);
    else if (strcmp(what, "rate") == 0)
      SendMessages(fd, size);
    else
      Send(fd, size, strcmp(what, "pull") == 0);
    return 0;
  }
  int fd = WithoutDelay(family, accept(listener, NULL, NULL));
  struct Clock clock = StartClock(argv[4], argv[5]);
  if (is_round_trip)
    Ping(fd, request, size, spin, &clock, fork_pid);
  else if (strcmp(what, "rate") == 0)
    ReceiveMessages(fd, size, &clock, fork_pid);
  else
    ReceiveStream(fd, size, strcmp(what, "pull") == 0, &clock, fork_pid);
  return 0;
}
