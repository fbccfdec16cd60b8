// A socket that processes of this host connect to, and those who did and have not said anything yet. Who is
// not of this user, or lives in a namespace of its own, is told so and let go. The Listener that the user
// owns is a handle on this.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "native/shm/reactor.h"
#include "native/shm/socket.h"

namespace splitplane::shm {

// Whoever is honest greets at once; one more pushes the oldest out.
inline constexpr size_t kGuestsMax = 256;
inline constexpr MonotonicNs kGuestTimeoutNs = 10'000'000'000;
// How long nobody is accepted when the process has no descriptors left.
inline constexpr MonotonicNs kAcceptPauseNs = 100'000'000;

class Door final : public Watched {
 public:
  static Result<std::shared_ptr<Door>> Open(Reactor& reactor, const std::string& address,
                                            ListenOptions options);
  Door(Reactor& reactor, Fd socket, std::string address, ListenOptions options)
      : reactor_(reactor), socket_(std::move(socket)), address_(std::move(address)), options_(options) {}
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  void set_handle(Listener* handle) { handle_ = handle; }
  // The handle goes, or the transport does: stops listening.
  void Close();
  const std::string& address() const { return address_; }

  void OnReady() override;
  void Settle();
  // Settle() has nothing to do.
  bool resting() const { return guests_.empty() && gone_.empty() && paused_until_ == 0; }
  MonotonicNs deadline() const;

 private:
  struct Guest final : Watched {
    explicit Guest(Door& door) : owner(door) {}
    void OnReady() override { owner.OnGuestReady(*this); }

    Door& owner;
    Fd socket;
    Peer peer;
    MonotonicNs deadline = 0;
  };

  void Admit(Fd socket);
  void OnGuestReady(Guest& guest);
  void Refuse(Fd& socket, Code why);
  void Sweep();

  Reactor& reactor_;
  Fd socket_;
  const std::string address_;
  const ListenOptions options_;
  Listener* handle_ = nullptr;
  std::vector<std::unique_ptr<Guest>> guests_;  // oldest first
  std::vector<std::unique_ptr<Guest>> gone_;    // events may still name them until Poll is over
  std::shared_ptr<uint32_t> open_count_ = std::make_shared<uint32_t>(0);
  MonotonicNs paused_until_ = 0;
};

}  // namespace splitplane::shm
