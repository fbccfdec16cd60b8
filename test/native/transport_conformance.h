// Two engines' worth of transports in one process, for tests that hold every transport to the contract of
// native/transport/transport.h. Both are polled in turn; when neither has anything to do, the test sleeps on
// their event descriptors as a real engine does, so that a lost wake-up shows as a test that hangs (and then
// fails).
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/memory/pool.h"
#include "native/memory/tag_table.h"
#include "native/transport/transport.h"

namespace splitplane::conformance {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;

// One transport over one kind of address. The next transport joins by adding a line to Kinds().
struct Kind {
  std::string name;
  std::function<Result<std::unique_ptr<Transport>>(TransportContext)> make;
  // An address to listen on, different at each call where that matters.
  std::function<std::string()> address;
  uint32_t data_channels = 1;
  // How often the processor of either side copies a byte of bulk data; of a write, that of the receiver.
  uint32_t copies = 0;
  // What each side declares of the other.
  bool listener_trusts = false, dialer_trusts = false;
};
const std::vector<Kind>& Kinds();
// The name of the one over verbs without a device (rdma_fake_verbs.h).
inline constexpr char kFakeDevice[] = "fake_verbs";

// Where to listen on an RDMA device of this host (SPLITPLANE_RDMA_ADDRESS, an IP address). Nobody says: there
// is none, or it is not to be used.
std::optional<std::string> RdmaAddress();

// An engine: memory, tags, a transport, and what it was told.
class Side final : public TransportEvents {
 public:
  Side(const Kind& kind, uint64_t number);
  ~Side() override;

  BufferRef Buffer(uint64_t bytes);                 // contents zero
  BufferRef Filled(uint64_t bytes, uint64_t seed);  // contents from Pattern
  Tag Export(Access access, std::vector<Slice> slices, uint32_t uses = kUnlimitedUses);

  void OnAccepted(Listener&, std::unique_ptr<Endpoint> endpoint) override;
  void OnConnected(Endpoint&) override { connected++; }
  void OnFrame(Endpoint&, ConstBytes frame) override;
  void OnCompletion(Endpoint&, Completion completion) override;
  void OnNotified(Endpoint&, uint32_t tag_index) override { notified.push_back(tag_index); }
  void OnWritable(Endpoint&) override { writable++; }
  void OnClosed(Endpoint& endpoint, Status why) override;

  RandomSource random;
  MemoryPool pool{PoolOptions{}};
  TagTable tags;
  std::unique_ptr<Transport> transport;
  std::vector<std::unique_ptr<Endpoint>> accepted;
  int connected = 0;
  int writable = 0;
  std::vector<std::vector<uint8_t>> frames;
  std::map<uint64_t, Completion> completions;
  std::vector<uint32_t> notified;
  std::map<Endpoint*, Status> closed;
  // Called after recording.
  std::function<void(Endpoint&)> on_accepted;
  std::function<void(Endpoint&)> on_frame;
  std::function<void(Endpoint&)> on_completion;
  uint64_t budget = UINT64_MAX;
};

// The bytes that a buffer filled with `seed` has.
uint8_t Pattern(uint64_t seed, uint64_t at);
std::vector<uint8_t> Contents(const BufferRef& buffer);
std::vector<uint8_t> PatternBytes(uint64_t seed, uint64_t offset, uint64_t length);
Slice Whole(const BufferRef& buffer);
ConstBytes AsBytes(const std::string& text);

// Polls both until `done`, sleeping on their descriptors when there is nothing to do. False after half a
// minute in which `done` stayed false.
[[nodiscard]] bool RunUntil(Side& a, Side& b, const std::function<bool()>& done);

class TransportTest : public testing::TestWithParam<Kind> {
 protected:
  // Connects `client` to `server`, both bound.
  void Connect();
  // Of what Connect() made, and what was told of it, nothing is left: it may be called again.
  void Forget();
  uint64_t Read(const Tag& tag, uint64_t offset, std::vector<Slice> into, TransferOptions options = {});
  uint64_t Write(const Tag& tag, uint64_t offset, std::vector<Slice> from, TransferOptions options = {});
  // Runs until the operation has ended, and says how.
  Completion End(uint64_t operation);
  bool Run(const std::function<bool()>& done) { return RunUntil(client, server, done); }

  Side client{GetParam(), 1};
  Side server{GetParam(), 2};
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Endpoint> endpoint;  // of the client
  Endpoint* remote = nullptr;          // of the server
  uint64_t next_operation = 1;
};

}  // namespace splitplane::conformance
