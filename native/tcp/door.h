// A listening socket and the sockets that came in by it but do not belong to an endpoint yet: each says in
// its first record which endpoint it is of, and when all of an endpoint's sockets are there, the endpoint is
// handed over. Bounded in number and time, so that strangers cost little. The Listener that the user owns is
// a handle on this.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "native/base/fd.h"
#include "native/tcp/reactor.h"
#include "native/tcp/record.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

// Sockets that have not become part of an endpoint. One more pushes the oldest out: whoever is honest joins
// within a round trip. Room for some hundred peers that connect at the same moment with their data sockets.
inline constexpr size_t kUnjoinedMax = 1024;
inline constexpr MonotonicNs kUnjoinedTimeoutNs = 10'000'000'000;
// How long no connection is accepted when the process has no descriptors left. They wait in the backlog.
inline constexpr MonotonicNs kAcceptPauseNs = 100'000'000;

class Door final : public Watched {
 public:
  static Result<std::shared_ptr<Door>> Open(Reactor& reactor, const std::string& address,
                                            ListenOptions options);
  Door(Reactor& reactor, Fd socket, ListenOptions options);
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  void set_handle(Listener* handle) { handle_ = handle; }
  // The handle goes, or the transport does: stops listening.
  void Close();
  const std::string& address() const { return address_; }

  void OnReady(uint32_t events) override;
  void Settle();
  // Settle() has nothing to do.
  bool resting() const { return guests_.empty() && gone_.empty() && paused_until_ == 0; }
  MonotonicNs deadline() const;
  size_t socket_count() const { return 1 + guests_.size(); }

 private:
  // An accepted socket that has not joined, or waits for the others of its endpoint.
  struct Guest final : Watched {
    explicit Guest(Door& door) : owner(door) {}
    void OnReady(uint32_t) override { owner.OnGuestReady(*this); }

    Door& owner;
    Fd socket;
    MonotonicNs deadline = 0;
    std::array<uint8_t, kHeadBytes + kJoinExtensionBytes> bytes;
    size_t have = 0;
    bool joined = false;
    Join join;
  };

  void Accept();
  void Admit(Fd socket);
  void OnGuestReady(Guest& guest);
  void OnJoin(Guest& guest);
  void Complete(const Join& join);
  void Refuse(Guest& guest, Code why);
  void Sweep();

  Reactor& reactor_;
  Fd socket_;
  const ListenOptions options_;
  std::string address_;
  std::string unlink_path_;  // of a unix socket, while the file is ours
  uint64_t unlink_inode_ = 0;
  Listener* handle_ = nullptr;
  std::vector<std::unique_ptr<Guest>> guests_;  // oldest first; null: gone, swept by Settle
  std::vector<std::unique_ptr<Guest>> gone_;    // events may still name them until Poll is over
  std::shared_ptr<uint32_t> open_count_ = std::make_shared<uint32_t>(0);
  MonotonicNs paused_until_ = 0;
};

}  // namespace splitplane::tcp
