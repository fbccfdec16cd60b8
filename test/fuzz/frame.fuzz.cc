// Feeds the frame decoder and a listening engine with whatever a peer might send. The first byte of the input
// chooses how far the greeting has come; the rest is frames, each after two bytes of length, whose checksums
// are made right (or not, one in eight) so that the fuzzer gets behind them. Checks what must hold whatever
// comes: a message or a batch is delivered with an id greater than the last, its parts lie within limits, and
// the engine comes to rest.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "native/base/check.h"
#include "native/protocol/hello.h"

namespace splitplane {
namespace {

constexpr uint32_t kMessageBytesMax = 4096;
constexpr uint32_t kSendBytesMax = 64 * 1024;

// One peer, whose frames arrive as soon as they are there; what is posted to it goes nowhere.
class OnePeer final : public Transport {
 public:
  class Side final : public Endpoint {
   public:
    Status PostSend(std::span<const ConstBytes>) override { return {}; }
    Status PostRead(uint64_t, const RemoteSlice&, std::vector<Slice>, TransferOptions) override {
      return Refused();
    }
    Status PostWrite(uint64_t, std::vector<Slice>, const RemoteSlice&, TransferOptions) override {
      return Refused();
    }
    Status PostAtomic(uint64_t, const RemoteSlice&, AtomicRequest) override { return Refused(); }
    void Cancel(uint64_t) override {}
    void Bind(Requester) override {}
    void Close(Status) override { closed_ = true; }
    const EndpointInfo& info() const override { return info_; }
    bool closed() const { return closed_; }

   private:
    static Status Refused() { return Status::Error(Code::kUnsupported, "fuzz", "no operations"); }
    EndpointInfo info_;
    bool closed_ = false;
  };
  class Ear final : public Listener {
   public:
    const std::string& address() const override { return address_; }

   private:
    std::string address_ = "fuzz";
  };

  OnePeer() { capabilities_.send_bytes_max = kSendBytesMax; }
  const char* name() const override { return "fuzz"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  const TransportStats& stats() const override { return stats_; }
  Result<std::unique_ptr<Listener>> Listen(const std::string&, ListenOptions) override {
    auto ear = std::make_unique<Ear>();
    ear_ = ear.get();
    return Result<std::unique_ptr<Listener>>(std::move(ear));
  }
  Result<std::unique_ptr<Endpoint>> Connect(const std::string&, ConnectOptions) override {
    return Status::Error(Code::kConnectionRefused, "connect", "nobody is there");
  }
  Status AddRegion(Region&) override { return {}; }
  void RemoveRegion(Region&) override {}
  bool Poll(TransportEvents& events, MonotonicNs, uint64_t) override {
    if (!side_) {
      auto side = std::make_unique<Side>();
      side_ = side.get();
      events.OnAccepted(*ear_, std::move(side));
    }
    for (const std::vector<uint8_t>& frame : arriving) {
      if (gone_) break;  // the engine has let go of it since
      events.OnFrame(*side_, frame);
      gone_ = side_->closed();
      if (gone_) events.OnClosed(*side_, Status::Error(Code::kClosed, "fuzz", "closed"));
    }
    const bool any = !arriving.empty();
    arriving.clear();
    return any;
  }
  bool Arm() override { return arriving.empty(); }
  int event_fd() const override { return -1; }
  MonotonicNs next_timeout() const override { return kNever; }

  std::vector<std::vector<uint8_t>> arriving;

 private:
  Capabilities capabilities_;
  TransportStats stats_;
  Ear* ear_ = nullptr;
  Side* side_ = nullptr;
  bool gone_ = false;
};

OnePeer* g_transport = nullptr;

class User final : public EngineEvents {
 public:
  void OnHello(SessionId session, const PeerHello&) override {
    SPLITPLANE_CHECK(engine->Accept(session, "x").ok());
  }
  void OnOpen(SessionId) override {}
  void OnMessage(SessionId session, const IncomingMessage& message) override {
    SPLITPLANE_CHECK(message.id > last_);
    last_ = message.id;
    uint64_t bytes = message.envelope.size();
    uint8_t sum = 0;  // every byte is touched, so that the sanitizer sees it
    for (uint8_t byte : message.envelope) sum ^= byte;
    for (const IncomingAttachment& attachment : message.attachments) {
      for (uint8_t byte : attachment.bytes) sum ^= byte;
      if (attachment.is_inline) bytes += attachment.bytes.size();
    }
    SPLITPLANE_CHECK(bytes <= kMessageBytesMax && message.attachments.size() <= kAttachmentsMax);
    if ((sum & 1) != 0) engine->Consume(session, 1, bytes);
  }
  void OnBatch(SessionId session, const IncomingBatch& batch) override {
    SPLITPLANE_CHECK(batch.id > last_);
    last_ = batch.id;
    SPLITPLANE_CHECK(batch.count > 0 && batch.count <= kBatchMessagesMax);
    uint64_t at = uint64_t{batch.count} * kBatchedLengthBytes;
    SPLITPLANE_CHECK(batch.content.size() <= kMessageBytesMax && at <= batch.content.size());
    uint8_t sum = 0;
    for (uint32_t i = 0; i < batch.count; i++) {
      const uint16_t length = LoadLittle<uint16_t>(batch.content.data() + i * kBatchedLengthBytes);
      for (uint8_t byte : batch.content.subspan(at, length)) sum ^= byte;
      at += length;
    }
    SPLITPLANE_CHECK(at == batch.content.size());
    if ((sum & 1) != 0) engine->Consume(session, 1, batch.content.size());
  }
  void OnMessageCanceled(SessionId, MessageId message) override { SPLITPLANE_CHECK(message <= last_); }
  void OnDelivered(SessionId, MessageId) override {}
  void OnWritable(SessionId) override {}
  void OnOperation(OperationId, const Status&, uint64_t) override {}
  void OnNotified(uint64_t) override {}
  void OnTagEnded(uint64_t, Code) override {}
  void OnRegionGone(uint32_t) override {}
  void OnInterrupted(SessionId, const Status&) override {}
  void OnResumed(SessionId) override {}
  void OnClosed(SessionId, const Status& why) override { SPLITPLANE_CHECK(!why.ok()); }

  std::unique_ptr<Engine> engine;

 private:
  MessageId last_ = 0;
};

std::vector<uint8_t> GoodHello() {
  Hello hello;
  hello.message_bytes_max = hello.window_bytes = 4096;
  hello.window_messages = 16;
  hello.node_id = {1};
  hello.encodings = {"xml"};
  return EncodeHello(FrameType::kHello, hello, 0);
}

std::vector<uint8_t> GoodStart() {
  auto start = EncodeStart({});
  SealFrame(start, FrameType::kStart, 0);
  return {start.begin(), start.end()};
}

std::vector<std::vector<uint8_t>> Cut(ConstBytes input) {
  std::vector<std::vector<uint8_t>> frames;
  while (input.size() > 2) {
    const uint16_t head = LoadLittle<uint16_t>(input.data());
    const size_t length = std::min<size_t>(head & 0x1fff, input.size() - 2);
    std::vector<uint8_t> frame(input.begin() + 2, input.begin() + 2 + long(length));
    input = input.subspan(2 + length);
    const bool seal = (head >> 13) != 7 && frame.size() >= kFrameHeadBytes;
    if (seal) {
      SealFrame(frame, FrameType(frame[kFrameTypeAt]),
                LoadLittle<uint64_t>(frame.data() + kFrameAcknowledgedAt));
    }
    if (!frame.empty()) frames.push_back(std::move(frame));
  }
  return frames;
}

void Run(ConstBytes input) {
  User user;
  EngineOptions options;
  options.node_id = {2};
  options.encodings = {"xml"};
  options.message_bytes_max = kMessageBytesMax;
  options.window_bytes = 2 * kMessageBytesMax;
  options.window_messages = 8;
  options.resume_ms = (input[0] & 4) != 0 ? 1000 : 0;
  const TransportEntry entries[] = {{"fuzz", [](TransportContext) -> Result<std::unique_ptr<Transport>> {
                                       auto transport = std::make_unique<OnePeer>();
                                       g_transport = transport.get();
                                       return Result<std::unique_ptr<Transport>>(std::move(transport));
                                     }}};
  auto engine = Engine::Make(std::move(options), entries, user);
  SPLITPLANE_CHECK(engine.ok());
  user.engine = std::move(engine).value();
  SPLITPLANE_CHECK(user.engine->Listen("fuzz", "fuzz", {}).ok());
  MonotonicNs now = 1;
  const auto settle = [&] {
    for (int round = 0; user.engine->Poll(now, UINT64_MAX) || !user.engine->Arm(); round++) {
      SPLITPLANE_CHECK(round < 1000);
    }
  };
  if ((input[0] & 3) > 0) g_transport->arriving.push_back(GoodHello());
  settle();
  if ((input[0] & 3) > 1) g_transport->arriving.push_back(GoodStart());
  settle();
  for (std::vector<uint8_t>& frame : Cut(input.subspan(1))) {
    g_transport->arriving.push_back(std::move(frame));
    settle();
  }
  now += 60'000'000'000;  // a minute, for every timer
  settle();
}

}  // namespace
}  // namespace splitplane

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) splitplane::Run({data, size});
  return 0;
}
