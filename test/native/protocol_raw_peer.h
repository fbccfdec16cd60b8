// A peer without an engine: says whatever a test makes it say, over the fake transport. Every frame it builds
// can be damaged before it is sent.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "native/base/crc32c.h"
#include "native/protocol/hello.h"
#include "test/native/fake_transport.h"

namespace splitplane {

class RawPeer final : private TransportEvents {
 public:
  using Bytes_ = std::vector<uint8_t>;

  explicit RawPeer(FakeNetwork& network)
      : pool_({}), tags_({9, 9, 9}, 16, random_), transport_(network, {tags_, pool_, random_, 15'000}) {
    hello.message_bytes_max = 1 << 20;
    hello.window_messages = 1024;
    hello.window_bytes = 8 << 20;
    hello.node_id = {'r', 'a', 'w'};
    hello.identity = "raw";
    hello.encodings = {"xml"};
  }

  void Dial(const std::string& address) {
    closed = false;
    frames.clear();
    endpoint_ = std::move(transport_.Connect(address, {})).value();
  }
  void Listen(const std::string& address) { listener_ = std::move(transport_.Listen(address, {})).value(); }
  bool Poll(MonotonicNs now) { return transport_.Poll(*this, now, UINT64_MAX); }
  void Post(const Bytes_& frame) {
    const ConstBytes pieces[] = {frame};
    (void)endpoint_->PostSend(pieces);
  }
  void PostRead(const Tag& tag) {
    (void)endpoint_->PostRead(1, {.grant = tag.span(), .offset = 0, .length = 8},
                              {{*pool_.Allocate(8), 0, 8}}, {});
  }

  // Good frames. `acknowledged` of all of them is `heard`.
  Bytes_ MakeHello(FrameType type = FrameType::kHello) { return EncodeHello(type, hello, heard); }
  Bytes_ MakeStart(Secret secret = {5}) { return Sealed(EncodeStart(secret), FrameType::kStart); }
  Bytes_ MakeMessage(uint64_t sequence, MessageId id, const std::string& envelope, uint32_t total = 0,
                     uint32_t offset = 0) {
    MessageHead head;
    head.sequence = sequence;
    head.message = id;
    head.total = total != 0 ? total : uint32_t(envelope.size());
    head.offset = offset;
    head.envelope_bytes = head.total;
    auto bytes = EncodeMessageHead(head);
    Bytes_ frame(bytes.begin(), bytes.end());
    frame.insert(frame.end(), envelope.begin(), envelope.end());
    return Sealed(frame, FrameType::kMessage);
  }
  Bytes_ MakeBatch(uint64_t sequence, MessageId id, uint32_t count, const Bytes_& content, uint32_t total = 0,
                   uint32_t offset = 0) {
    MessageHead head;
    head.sequence = sequence;
    head.message = id;
    head.total = total != 0 ? total : uint32_t(content.size());
    head.offset = offset;
    head.batch_count = count;
    auto bytes = EncodeBatchHead(head);
    Bytes_ frame(bytes.begin(), bytes.end());
    frame.insert(frame.end(), content.begin(), content.end());
    return Sealed(frame, FrameType::kBatch);
  }
  Bytes_ MakeAck(uint64_t messages, uint64_t bytes) {
    return Sealed(EncodeAck(messages, bytes), FrameType::kAck);
  }
  Bytes_ MakeCancel(uint64_t sequence, MessageId id) {
    return Sealed(EncodeCancel(sequence, id), FrameType::kCancel);
  }
  Bytes_ MakeRelease(uint64_t sequence, uint32_t count, uint32_t tags) {
    auto head = EncodeReleaseHead(sequence, count);
    Bytes_ frame(head.begin(), head.end());
    frame.resize(frame.size() + tags * Tag::kSize);
    return Sealed(frame, FrameType::kRelease);
  }
  Bytes_ MakeBare(FrameType type) { return Sealed(Bytes_(kFrameHeadBytes), type); }

  template <typename Container>
  Bytes_ Sealed(const Container& container, FrameType type) {
    Bytes_ frame(container.begin(), container.end());
    SealFrame(frame, type, heard);
    return frame;
  }

  // The last frame of this type that came, or nothing.
  const Bytes_* Last(FrameType type) const {
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
      if (FrameType((*frame)[kFrameTypeAt]) == type) return &*frame;
    }
    return nullptr;
  }
  // What it was told when it was thrown out.
  Code RejectedWith() const {
    const Bytes_* reject = Last(FrameType::kReject);
    return reject ? CodeFromWire(LoadLittle<uint16_t>(reject->data() + kRejectCodeAt)) : Code::kOk;
  }

  Hello hello;
  uint64_t heard = 0;
  std::vector<Bytes_> frames;
  bool closed = false;

 private:
  void OnAccepted(Listener&, std::unique_ptr<Endpoint> endpoint) override { endpoint_ = std::move(endpoint); }
  void OnConnected(Endpoint&) override {}
  void OnFrame(Endpoint&, ConstBytes frame) override { frames.emplace_back(frame.begin(), frame.end()); }
  void OnCompletion(Endpoint&, Completion) override {}
  void OnNotified(Endpoint&, uint32_t) override {}
  void OnWritable(Endpoint&) override {}
  void OnClosed(Endpoint&, Status) override { closed = true; }

  RandomSource random_;
  MemoryPool pool_;
  TagTable tags_;
  FakeTransport transport_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Endpoint> endpoint_;
};

}  // namespace splitplane
