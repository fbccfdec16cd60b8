// What a transport costs without JavaScript and without the protocol: two processes, each with an engine's
// worth of pool, tag table and transport, play ping-pong by polling. `write`: each writes into the other's
// memory and looks at its own, as ib_write_lat does. `frame`: each posts a frame when one has come, as
// ib_send_lat does. It uses native/transport/transport.h and knows no transport; it must not know the
// harness, which reads one line of JSON.
//
//   pair TRANSPORT listen ADDRESS              prints "listening ADDRESS", serves one peer, ends with it
//   pair TRANSPORT connect ADDRESS write|frame BYTES WARMUP_MS MEASURE_MS
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "native/base/clock.h"
#include "native/memory/pool.h"
#include "native/memory/tag_table.h"
#include "native/rdma/rdma_transport.h"
#include "native/tcp/tcp_transport.h"
#include "native/transport/transport.h"

namespace splitplane {
namespace {

constexpr uint64_t kBytesMin = sizeof(uint64_t);
constexpr uint64_t kBytesMax = 4096;
constexpr uint64_t kPollBudget = uint64_t{1} << 20;
constexpr size_t kSamplesMax = size_t{1} << 20;
constexpr MonotonicNs kNsPerMs = 1'000'000;
// Looking at memory is cheap, and looking at a transport's queues is not: so often the one for each of the
// other. Frames and the answers of a transport that has no hardware to place bytes come by the other alone.
constexpr int kLooksPerPoll = 16;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

template <typename T>
T Must(Result<T> result, const char* what) {
  if (!result.ok()) Fail(std::string(what) + ": " + result.status().ToString());
  return std::move(*result);
}

void Must(const Status& status, const char* what) {
  if (!status.ok()) Fail(std::string(what) + ": " + status.ToString());
}

// A round's number ends the bytes, and is read as one word.
bool IsPlayable(uint64_t bytes) {
  return bytes >= kBytesMin && bytes <= kBytesMax && bytes % sizeof(uint64_t) == 0;
}

// What the one who connects tells first; the other answers with its own. Both are programs of one build.
struct Hello {
  uint64_t bytes = 0;
  uint64_t frames = 0;  // 1: ping-pong of frames, 0: of writes
  Tag landing;
};

class Player final : public TransportEvents {
 public:
  explicit Player(const std::string& transport_name) : tags_({uint8_t(1)}, 16, random_) {
    TransportContext context{tags_, pool_, random_};
    transport_ = Must(transport_name == "rdma" ? MakeRdmaTransport(context) : MakeTcpTransport(context),
                      transport_name.c_str());
    pool_.set_observer([this](Region& region, RegionChange change) {
      if (change != RegionChange::kAdded) transport_->RemoveRegion(region);
      if (change != RegionChange::kRemoved) Must(transport_->AddRegion(region), "region");
    });
  }
  ~Player() override {
    endpoint_.reset();
    listener_.reset();
    landing_.Reset();
    source_.Reset();
    pool_.set_observer({});
  }

  void Serve(const std::string& address) {
    listener_ = Must(transport_->Listen(address, {}), "listen");
    std::printf("listening %s\n", listener_->address().c_str());
    std::fflush(stdout);
    PollUntil([this] { return greeted_; });
    SendHello();
    for (uint64_t round = 1; Await(round); round++) Strike(round);
  }

  void Play(const std::string& address, const Hello& hello, MonotonicNs warmup, MonotonicNs measure) {
    hello_ = hello;
    endpoint_ = Must(transport_->Connect(address, {}), "connect");
    PollUntil([this] { return connected_; });
    Bind();
    MakeBuffers();
    SendHello();
    PollUntil([this] { return greeted_; });
    std::vector<uint64_t> samples;
    samples.reserve(kSamplesMax);
    const MonotonicNs begin = NowNs() + warmup;
    MonotonicNs now = NowNs();
    for (uint64_t round = 1; now < begin + measure && samples.size() < kSamplesMax; round++) {
      const MonotonicNs struck = now;
      Strike(round);
      if (!Await(round)) Fail("the peer has gone");
      now = NowNs();
      if (struck >= begin) samples.push_back(now - struck);
    }
    Report(samples);
    endpoint_->Close(Status());
    PollUntil([this] { return closed_; });
  }

  void OnAccepted(Listener&, std::unique_ptr<Endpoint> endpoint) override {
    if (endpoint_) return;
    endpoint_ = std::move(endpoint);
    Bind();
  }
  void OnConnected(Endpoint&) override { connected_ = true; }
  void OnFrame(Endpoint&, ConstBytes frame) override {
    if (greeted_) {
      frames_received_++;
      return;
    }
    if (frame.size() != sizeof(Hello)) Fail("the peer is another program");
    Hello peer;
    std::memcpy(&peer, frame.data(), sizeof(peer));
    if (!IsPlayable(peer.bytes)) Fail("the peer wants what was not agreed");
    peer_landing_ = peer.landing;
    if (listener_) {
      hello_ = peer;
      MakeBuffers();
    }
    greeted_ = true;
  }
  void OnCompletion(Endpoint&, Completion completion) override {
    Must(completion.status, "write");
    writes_completed_++;
  }
  void OnNotified(Endpoint&, uint32_t) override {}
  void OnWritable(Endpoint&) override {}
  void OnClosed(Endpoint&, Status why) override {
    closed_ = true;
    if (!listener_ && why.code() != Code::kClosed) Must(why, "connection");
  }

 private:
  void Bind() { endpoint_->Bind({.session = 1, .principal = "bench"}); }

  void MakeBuffers() {
    landing_ = Must(pool_.Allocate(hello_.bytes), "memory");
    source_ = Must(pool_.Allocate(hello_.bytes), "memory");
    std::memset(landing_->data(), 0, hello_.bytes);
    std::memset(source_->data(), 0, hello_.bytes);
    TagOptions options;
    options.audience.kind = Audience::Kind::kBearer;
    options.access = Access::kWrite;
    options.slices = {{landing_, 0, hello_.bytes}};
    options.uses = kUnlimitedUses;
    hello_.landing = Must(tags_.Export(std::move(options)), "tag");
  }

  void SendHello() {
    const ConstBytes piece(reinterpret_cast<const uint8_t*>(&hello_), sizeof(hello_));
    Must(endpoint_->PostSend({&piece, 1}), "hello");
  }

  // The bytes of a round end with its number, which is therefore the last that the peer sees.
  void Strike(uint64_t round) {
    std::memcpy(source_->data() + hello_.bytes - sizeof(round), &round, sizeof(round));
    if (hello_.frames != 0) {
      const ConstBytes piece(source_->data(), hello_.bytes);
      Must(endpoint_->PostSend({&piece, 1}), "frame");
      return;
    }
    const TransferOptions options{.checksum = false, .notify = false};
    Must(endpoint_->PostWrite(round, {{source_, 0, hello_.bytes}}, {peer_landing_.span(), 0, hello_.bytes},
                              options),
         "write");
    writes_posted_++;
  }

  // Until the peer's blow of this round is here, and the last of ours is over; false when the peer has gone.
  bool Await(uint64_t round) {
    for (int looks = 0; !Arrived(round) || writes_completed_ < writes_posted_; looks++) {
      if (closed_) return false;
      if (hello_.frames != 0 || looks % kLooksPerPoll == 0) transport_->Poll(*this, NowNs(), kPollBudget);
    }
    return true;
  }

  bool Arrived(uint64_t round) const {
    if (hello_.frames != 0) return frames_received_ >= round;
    // The device, or the transport in Poll, writes here; a slot of the pool begins on a multiple of 64.
    uint8_t* last = landing_->data() + hello_.bytes - sizeof(uint64_t);
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(last)).load(std::memory_order_acquire) >=
           round;
  }

  template <typename Done>
  void PollUntil(Done done) {
    while (!done()) transport_->Poll(*this, NowNs(), kPollBudget);
  }

  static void Report(std::vector<uint64_t>& samples) {
    if (samples.empty()) Fail("not one round trip ended in time");
    std::sort(samples.begin(), samples.end());
    const auto us = [&](double fraction) {
      const size_t rank = size_t(fraction * double(samples.size() - 1) + 0.5);
      return double(samples[rank]) / 1000;
    };
    std::printf("{\"count\":%zu,\"median\":%.3f,\"p99\":%.3f,\"p999\":%.3f}\n", samples.size(), us(0.5),
                us(0.99), us(0.999));
  }

  RandomSource random_;
  MemoryPool pool_{PoolOptions{}};
  TagTable tags_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Endpoint> endpoint_;
  Hello hello_;
  Tag peer_landing_;
  BufferRef landing_, source_;
  bool connected_ = false, greeted_ = false, closed_ = false;
  uint64_t frames_received_ = 0, writes_posted_ = 0, writes_completed_ = 0;
};

int Main(int argc, char** argv) {
  const std::string verb = argc > 2 ? argv[2] : "";
  if (verb == "listen" && argc == 4) {
    Player(argv[1]).Serve(argv[3]);
    return 0;
  }
  if (verb != "connect" || argc != 8) Fail("usage: see the head of bench/native/pair.cc");
  Hello hello;
  hello.bytes = std::strtoull(argv[5], nullptr, 10);
  if (!IsPlayable(hello.bytes)) Fail("BYTES is a multiple of 8 up to 4096");
  hello.frames = std::string(argv[4]) == "frame" ? 1 : 0;
  Player(argv[1]).Play(argv[3], hello, std::strtoull(argv[6], nullptr, 10) * kNsPerMs,
                       std::strtoull(argv[7], nullptr, 10) * kNsPerMs);
  return 0;
}

}  // namespace
}  // namespace splitplane

int main(int argc, char** argv) { return splitplane::Main(argc, argv); }
