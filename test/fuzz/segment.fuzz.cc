// Fuzzes what a process may say to another one that shares memory with it. Method: one side is the real
// transport; the input plays the peer (segment_peer.h), while the side's own user lends, reads, writes, looks
// and closes. The code of the transport is compiled to tell of its loads (test/native/CMakeLists.txt), so
// that the peer can also change a word between two looks at it, at the same place in every run. Whatever
// comes, the side comes to rest, ends each operation once, touches no memory but what it named, and keeps
// nothing.
#include <poll.h>

#include <map>

#include "native/base/clock.h"
#include "native/memory/pool.h"
#include "native/shm/shm_transport.h"
#include "test/fuzz/segment_peer.h"

namespace splitplane::shm {
namespace {

constexpr uint64_t kSession = 7;
// Memory that is named to the peer lies between two fences that nobody may touch.
constexpr uint64_t kFenceBytes = 64;
constexpr uint8_t kUntouched = 0x5a;
constexpr size_t kPiecesMax = 16;
constexpr size_t kViewsMax = 8;
constexpr int kCommandsMax = 256;
// Of a side that nobody gives anything new; it needs a few hundred at most.
constexpr int kRoundsMax = 20'000;

Watch* g_watch = nullptr;  // while the side runs

}  // namespace

// Before a load. What is changed here is seen by it, and was not by the one before.
__attribute__((no_sanitize("coverage"))) void OnLoad(const void* from) {
  Watch* const watch = g_watch;
  if (!watch) return;
  g_watch = nullptr;  // what is called here loads as well
  watch->OnLoad(reinterpret_cast<uintptr_t>(from));
  g_watch = watch;
}

namespace {

class Side final : public TransportEvents {
 public:
  explicit Side(Input& input, uint64_t budget) : input_(input), budget_(budget) {
    Result<std::unique_ptr<Transport>> made = MakeShmTransport({tags_, pool_, random_});
    SPLITPLANE_CHECK(made.ok());
    transport_ = std::move(*made);
    pool_.set_observer([this](Region& region, RegionChange change) {
      if (change != RegionChange::kAdded) transport_->RemoveRegion(region);
      if (change != RegionChange::kRemoved) (void)transport_->AddRegion(region);
    });
  }
  ~Side() override { pool_.set_observer(nullptr); }

  std::string Listen() {
    Result<std::unique_ptr<Listener>> listening = transport_->Listen("127.0.0.1:0", {});
    SPLITPLANE_CHECK(listening.ok());
    listener_ = std::move(*listening);
    return listener_->address();
  }
  void Connect(const std::string& to) {
    Result<std::unique_ptr<Endpoint>> connecting = transport_->Connect(to, {});
    SPLITPLANE_CHECK(connecting.ok());
    endpoint_ = std::move(*connecting);
  }
  void Bind() {
    if (endpoint_) endpoint_->Bind({.session = kSession, .principal = "peer"});
  }
  bool Settle() {
    g_watch = &watch;
    int rounds = 0;
    while (transport_->Poll(*this, NowNs(), budget_) || !transport_->Arm() || IsReady()) {
      SPLITPLANE_CHECK(++rounds < kRoundsMax);
    }
    g_watch = nullptr;
    return endpoint_ != nullptr;
  }
  const std::vector<Tag>& tags() const { return exported_; }

  // -- what its user does

  void Export() {
    if (pieces_.size() >= kPiecesMax) return;
    const uint8_t how = input_.Byte();
    TagOptions options;
    options.access = Access(how % 3 + 1);
    if ((how & 4) == 0) options.audience = {Audience::Kind::kSession, kSession, {}};
    if ((how & 4) != 0) options.audience.kind = Audience::Kind::kBearer;
    const BufferRef buffer = MakePiece((how & 8) != 0 ? kNoAudience : kSession);
    options.slices = {{buffer, kFenceBytes, kNamedBytes}};
    options.uses = (how & 16) != 0 ? kUnlimitedUses : uint32_t(input_.Byte() % kCountedUsesMax + 1);
    Result<Tag> tag = tags_.Export(std::move(options));
    SPLITPLANE_CHECK(tag.ok());
    exported_.push_back(*tag);
  }
  void Revoke() {
    if (!exported_.empty()) tags_.Revoke(exported_[input_.Byte() % exported_.size()]);
  }
  void Use() {
    const uint8_t how = input_.Byte();
    Tag tag;
    tag.bytes.fill(uint8_t(how / 8 % 8));
    const RemoteSlice remote{tag.span(), input_.Number(), input_.Number() % kNamedBytes + 1};
    if (how % 8 == 0) return endpoint_->Forget(tag);
    if (how % 8 == 1) return Look(remote);
    if (how % 8 == 2) {
      const AtomicRequest request{AtomicOperation(input_.Byte() % 2 + 1), input_.Number(), input_.Number()};
      return Began(endpoint_->PostAtomic(next_, {remote.grant, remote.offset, sizeof(uint64_t)}, request),
                   {});
    }
    if (pieces_.size() >= kPiecesMax) return;
    const BufferRef piece = MakePiece(kNoAudience);
    const uint64_t cut = remote.length / 2;
    std::vector<Slice> local{{piece, kFenceBytes, remote.length - cut}};
    if (cut > 0) local.push_back({piece, kFenceBytes + remote.length - cut, cut});
    if (how % 8 == 3) {
      (void)endpoint_->ReadNow(remote, local);
    } else if (how % 8 < 6) {
      Began(endpoint_->PostRead(next_, remote, std::move(local), {}), piece);
    } else {
      Began(endpoint_->PostWrite(next_, std::move(local), remote, {.notify = (how & 128) != 0}), {});
    }
  }
  void Send() {
    const std::vector<uint8_t> frame(input_.Number() % (kBodyBytesMax + 2), 0xf5);
    const ConstBytes pieces[] = {frame};
    (void)endpoint_->PostSend(pieces);
  }
  void Cancel() { endpoint_->Cancel(input_.Number()); }
  void Release() {
    if (!views_.empty()) views_.erase(views_.begin() + input_.Byte() % long(views_.size()));
  }
  void Close() {
    endpoint_->Close((input_.Byte() & 1) != 0 ? Status() : Status::Error(Code::kClosed, "close", "enough"));
  }

  // The peer has hung up. Nothing is left of it but what is looked at, and that goes when told to.
  void End(uint8_t how) {
    Settle();
    SPLITPLANE_CHECK(!endpoint_ || closed_);
    SPLITPLANE_CHECK(outstanding_.empty());
    for (const Piece& piece : pieces_) Judge(piece);
    if ((how & 1) != 0) views_.clear();
    pieces_.clear();
    tags_.RevokeAll();
    if ((how & 2) != 0) Settle();
    SPLITPLANE_CHECK(pool_.stats().buffer_count == views_.size());
    endpoint_.reset();
    listener_.reset();
    pool_.set_observer(nullptr);
    transport_.reset();
    for (const BufferRef& view : views_) Touch({view->data(), view->length()});
    views_.clear();
    SPLITPLANE_CHECK(pool_.stats().buffer_count == 0);
  }

  void OnAccepted(Listener&, std::unique_ptr<Endpoint> endpoint) override {
    SPLITPLANE_CHECK(!endpoint_);
    endpoint_ = std::move(endpoint);
  }
  void OnConnected(Endpoint&) override { SPLITPLANE_CHECK(!closed_); }
  void OnFrame(Endpoint&, ConstBytes frame) override {
    SPLITPLANE_CHECK(!closed_ && !frame.empty() && frame.size() <= kBodyBytesMax);
    Touch(frame);
  }
  void OnCompletion(Endpoint&, Completion completion) override {
    const auto at = outstanding_.find(completion.operation);
    SPLITPLANE_CHECK(!closed_ && at != outstanding_.end());
    // From here on nobody writes to it.
    for (Piece& piece : pieces_) {
      if (at->second && piece.buffer.get() == at->second.get()) piece.final = Contents(piece.buffer);
    }
    outstanding_.erase(at);
  }
  void OnNotified(Endpoint&, uint32_t) override {}
  void OnWritable(Endpoint&) override {}
  void OnClosed(Endpoint&, Status why) override {
    SPLITPLANE_CHECK(!closed_ && !why.ok() && !why.detail().empty());
    closed_ = true;
  }

  Watch watch;

 private:
  struct Piece {
    BufferRef buffer;
    std::vector<uint8_t> final;  // nothing yet: still in use
  };

  static std::vector<uint8_t> Contents(const BufferRef& buffer) {
    return {buffer->data(), buffer->data() + buffer->length()};
  }
  static void Judge(const Piece& piece) {
    const uint8_t* bytes = piece.buffer->data();
    for (uint64_t i = 0; i < kFenceBytes; i++) {
      SPLITPLANE_CHECK(bytes[i] == kUntouched && bytes[kFenceBytes + kNamedBytes + i] == kUntouched);
    }
    SPLITPLANE_CHECK(piece.final.empty() || piece.final == Contents(piece.buffer));
  }
  static void Touch(ConstBytes bytes) {
    static volatile uint8_t sum;
    for (uint8_t byte : bytes) sum = uint8_t(sum ^ byte);
  }

  bool IsReady() const {
    pollfd descriptor{transport_->event_fd(), POLLIN, 0};
    return poll(&descriptor, 1, 0) > 0;
  }
  BufferRef MakePiece(AudienceId audience) {
    Result<BufferRef> buffer = pool_.Allocate(kNamedBytes + 2 * kFenceBytes, audience);
    SPLITPLANE_CHECK(buffer.ok());
    std::memset((*buffer)->data(), kUntouched, (*buffer)->length());
    pieces_.push_back({*buffer, {}});
    return *buffer;
  }
  void Look(const RemoteSlice& remote) {
    if (views_.size() >= kViewsMax) return;
    Result<BufferRef> view = endpoint_->View(remote);
    if (!view.ok()) return;
    SPLITPLANE_CHECK((*view)->length() == remote.length);
    Touch({(*view)->data(), (*view)->length()});
    views_.push_back(std::move(*view));
  }
  void Began(const Status& posted, BufferRef filled) {
    if (posted.ok()) outstanding_.emplace(next_++, std::move(filled));
  }

  Input& input_;
  const uint64_t budget_;
  RandomSource random_;
  MemoryPool pool_{PoolOptions{}};
  TagTable tags_{{1}, 100, random_};
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Endpoint> endpoint_;
  bool closed_ = false;
  uint64_t next_ = 1;
  std::map<uint64_t, BufferRef> outstanding_;  // and what a read fills
  std::vector<Piece> pieces_;
  std::vector<BufferRef> views_;
  std::vector<Tag> exported_;
};

void Command(uint8_t command, Side& side, FuzzPeer& peer) {
  switch (command % 16) {
    case 0:
    case 1:
    case 2:
      return peer.Say(side.tags());
    case 3:
      return peer.StoreWord();
    case 4:
      return peer.Scribble();
    case 5:
      return peer.PlanChange(side.watch);
    case 6:
      return peer.SendPacketOfAnyKind();
    case 7:
      (void)peer.Hear();
      return;
    case 8:
      return side.Export();
    case 9:
      return side.Revoke();
    case 10:
    case 11:
      return side.Use();
    case 12:
      return side.Send();
    case 13:
      return (command & 16) != 0 ? side.Cancel() : side.Release();
    case 14:
      if (command == 14) return side.Close();
      if (command == 30) return peer.HangUp();
      [[fallthrough]];
    default:
      (void)side.Settle();
  }
}

void Run(ConstBytes bytes) {
  Input input(bytes);
  const uint8_t how = input.Byte();
  FuzzPeer peer(input);
  Side side(input, (how & 1) != 0 ? UINT64_MAX : 1000);
  if ((how & 2) != 0) {
    Result<Address> address = ParseAddress("127.0.0.1:0");
    Result<Fd> door = ListenOn(*address);
    SPLITPLANE_CHECK(door.ok());
    side.Connect(address->ToString());
    peer.Accept(*door);
  } else {
    peer.Dial(side.Listen());
  }
  peer.Greet((how & 12) != 0);
  if (side.Settle() && peer.Hear()) {
    if ((how & 48) != 0) side.Bind();
    for (int i = 0; i < kCommandsMax && !input.empty(); i++) Command(input.Byte(), side, peer);
  }
  side.Settle();
  peer.HangUp();
  side.End(how / 64);
}

// The number that the next descriptor gets: what was not closed would be in its place.
int NextDescriptor() { return Fd(dup(STDERR_FILENO)).get(); }

}  // namespace
}  // namespace splitplane::shm

// Called by what is compiled with -fsanitize-coverage=trace-loads.
extern "C" {
void __sanitizer_cov_load1(uint8_t* from) { splitplane::shm::OnLoad(from); }
void __sanitizer_cov_load2(uint16_t* from) { splitplane::shm::OnLoad(from); }
void __sanitizer_cov_load4(uint32_t* from) { splitplane::shm::OnLoad(from); }
void __sanitizer_cov_load8(uint64_t* from) { splitplane::shm::OnLoad(from); }
void __sanitizer_cov_load16(__uint128_t* from) { splitplane::shm::OnLoad(from); }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using splitplane::shm::NextDescriptor;
  using splitplane::shm::Run;
  static const bool warm = (Run({}), true);  // whatever is made once is there from now on
  const int before = NextDescriptor();
  if (warm) Run({data, size});
  SPLITPLANE_CHECK(NextDescriptor() == before);
  return 0;
}
